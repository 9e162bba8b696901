"""BentoML: a service with one typed API."""

from __future__ import annotations

import os
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime
from pydantic import Field

_Size = Annotated[int, Field(ge=1, le=2**63 - 1)]


@bentoml.service(
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Gemm:
    """One model in onnxruntime."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self._names = [node.name for node in self._session.get_outputs()]

    # The model takes less time than handing it to a thread would: a plain `def` is slower.
    @bentoml.api  # type: ignore[untyped-decorator]
    async def predict(
        self,
        gpu: str,
        dtype: str,
        m: _Size,
        n: _Size,
        k: _Size,
        framework: str = "",
        framework_version: str = "",
    ) -> dict[str, float]:
        """One row."""
        question = {
            "gpu": gpu,
            "framework": framework,
            "framework_version": framework_version,
            "dtype": dtype,
            "m": m,
            "n": n,
            "k": k,
        }
        feeds = {
            name: np.array([value], dtype=object if isinstance(value, str) else np.int64)
            for name, value in question.items()
        }
        values = self._session.run(self._names, feeds)
        return {name: array.item() for name, array in zip(self._names, values, strict=True)}
