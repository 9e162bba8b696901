"""The tasks perfcast knows: what may be asked, in which columns and units."""

from __future__ import annotations

from perfcast.errors import UnknownTask
from perfcast.features.hardware import GPUS
from perfcast.task import Input, Output, Task

__all__ = ["GEMM", "TASKS", "task"]

DTYPES = ("bfloat16", "fp8", "fp8_block", "nvfp4", "int8_wo", "int4_wo", "sq")
FRAMEWORKS = ("sglang", "trtllm", "vllm")

GEMM = Task(
    name="gemm",
    title="Run time and power of one dense matrix multiplication C[m,n] = A[m,k] B[k,n]",
    inputs=(
        Input(
            name="gpu", kind="category", allowed=tuple(GPUS), example="h200_sxm",
            description="GPU model",
        ),
        Input(
            name="framework", kind="category", allowed=FRAMEWORKS, example="vllm", required=False,
            description="serving framework whose linear layer runs the multiplication",
            default_note="vllm; where vllm was not measured for the GPU and dtype, trtllm, sglang",
        ),
        Input(
            name="framework_version", kind="text", example="0.24.0", required=False,
            description="version of the framework",
            default_note="the newest version measured on the GPU",
        ),
        Input(
            name="dtype", kind="category", allowed=DTYPES, example="fp8",
            description="number format: bfloat16; fp8 (per tensor), fp8_block (128x128 scales); "
            "nvfp4; int8_wo, int4_wo (weight only); sq (SmoothQuant int8)",
        ),
        Input(name="m", kind="integer", example=4096, description="rows of A and C (tokens)"),
        Input(name="n", kind="integer", example=4096, description="columns of B and C"),
        Input(name="k", kind="integer", example=8192, description="columns of A, rows of B"),
    ),
    outputs=(
        Output(name="latency_ms", unit="ms", description="time of one call, back to back"),
        Output(name="power_w", unit="W", description="mean power of the GPU while repeating it"),
        Output(
            name="energy_mj", unit="mJ", interval=False,
            description="energy of one call: latency_ms x power_w",
        ),
        Output(
            name="tflops", unit="TFLOP/s", interval=False, derived_from=("latency_ms",),
            description="achieved rate: 2 m n k / latency",
        ),
    ),
)  # fmt: skip

TASKS = {GEMM.name: GEMM}


def task(name: str) -> Task:
    """The task called `name`. Raises `UnknownTask`."""
    if name not in TASKS:
        raise UnknownTask(name, TASKS)
    return TASKS[name]
