"""MLServer: a custom runtime, decoding and encoding with MLServer's own codecs."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Gemm(MLModel):  # type: ignore[misc]  # mlserver is not installed where types are checked
    """One model in onnxruntime."""

    async def load(self) -> bool:
        """Open the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self._names = [node.name for node in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Any number of rows."""
        feeds = {
            tensor.name: np.array(StringCodec.decode_input(tensor), dtype=object)
            if tensor.datatype == "BYTES"
            else NumpyCodec.decode_input(tensor)
            for tensor in payload.inputs
        }
        values = self._session.run(self._names, feeds)
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                NumpyCodec.encode_output(name, array)
                for name, array in zip(self._names, values, strict=True)
            ],
        )
