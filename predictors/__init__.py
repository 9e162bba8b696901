"""Surrogates: what is fitted to measurements, its intervals, and its way into ONNX.

For GEMMs, `floor`, `kriging` and `boosting` are the layers, which `latency` and `power` put
together; `transfer` reaches GPUs that were never measured; `assemble` and `gemm` turn the result
into tables and the function that reads them; `export` writes that function as ONNX, past a gate.
"""
