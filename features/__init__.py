"""What a question means in numbers: the tasks, the hardware table, and each task's physics.

Feature functions are written once against the Python array API: numpy runs them in training, ndonnx
traces them into the exported model.
"""
