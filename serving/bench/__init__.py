"""Measurements of the service and of the Python API, each a command or called by one.

`in_process` is what `perfcast bench` runs; the others are commands of their own:
`python -m perfcast.serving.bench.NAME`.
"""
