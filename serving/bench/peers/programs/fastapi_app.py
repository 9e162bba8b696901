"""FastAPI: an empty route, and one that validates a question with pydantic and runs the model."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel, Field

_LARGEST = 2**63 - 1


class Question(BaseModel):
    """One matrix multiplication on one deployment."""

    gpu: str
    framework: str = ""
    framework_version: str = ""
    dtype: str
    m: int = Field(ge=1, le=_LARGEST)
    n: int = Field(ge=1, le=_LARGEST)
    k: int = Field(ge=1, le=_LARGEST)


class Answer(BaseModel):
    """What the model says of it."""

    latency_ms: float
    latency_ms_low: float
    latency_ms_high: float
    power_w: float
    power_w_low: float
    power_w_high: float
    energy_mj: float
    tflops: float
    latency_ms_status: int
    power_w_status: int
    reasons: int


def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
    )


app = FastAPI()
session = _session()
names = [node.name for node in session.get_outputs()]


@app.get("/empty")
async def empty() -> dict[str, int]:
    """Nothing: what a request costs before anything is done with it."""
    return {}


# The model takes less time than handing it to a thread would: a plain `def` is slower.
@app.post("/predict")
async def predict(question: Question) -> Answer:
    """One row."""
    feeds = {
        name: np.array([value], dtype=object if isinstance(value, str) else np.int64)
        for name, value in question
    }
    values = session.run(names, feeds)
    return Answer(**{name: array.item() for name, array in zip(names, values, strict=True)})
