"""The Open Inference Protocol, version 2 (`/v2`): JSON and binary tensors, for the clients that
already speak it. A plain ASGI application, because a question of one row takes about as long as a
web framework does.

`app` routes, `body` reads and bounds, `plan` understands a request's header, `strings` the binary
form of text, `inputs` makes a task's columns of both, `answer` writes what the model said, and
`about` describes a model. Whether a value is acceptable is the Task's decision, as at every door.

An answer never contains NaN: rows of which a requested output is withheld are refused with their
reasons, unless the request's parameter `{"withheld": "nan"}` asks for NaN (binary) or null (JSON).
"""
