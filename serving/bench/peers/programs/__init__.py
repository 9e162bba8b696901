"""Programs of the peers: each serves one ONNX file in its framework's recommended way.

They run in environments of their own, where perfcast is not installed, started by file; what they
serve is named by the environment variable BENCH_MODEL. One thread for each model run, as in
perfcast.
"""
