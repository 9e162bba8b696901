"""A stand-in for the shipped GEMM bundle: a roofline that keeps the whole model contract.

It is small, exact to reason about and needs no training, so every door can be tested against it:
rows in the domain, extrapolated rows, withheld rows, power withheld alone, defaults and reasons.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import spox.opset.ai.onnx.ml.v4 as ml
import spox.opset.ai.onnx.v21 as op
from numpy.typing import NDArray
from spox import Tensor, Var, argument, build

from perfcast.bundle import Bundle, write_bundle
from perfcast.features.hardware import GPUS

UNSUPPORTED_DTYPE = "the GPU has no arithmetic for this dtype"
UNKNOWN_VERSION = "this framework version was not measured"
NO_POWER = "power was never measured on this GPU"
BEYOND = "n or k lies beyond the measured range (65536)"
REASONS = (UNSUPPORTED_DTYPE, UNKNOWN_VERSION, NO_POWER, BEYOND)

NO_POWER_GPU = "l40s"
VERSIONS = ("0.24.0", "1.0.0")
SPEEDUP = {
    "bfloat16": 1.0, "fp8": 1.9, "fp8_block": 1.8, "nvfp4": 3.5,
    "int8_wo": 1.0, "int4_wo": 1.1, "sq": 1.9,
}  # fmt: skip
FRAMEWORK = {"": 1.0, "vllm": 1.0, "trtllm": 0.9, "sglang": 1.05}
LAUNCH_MS = 0.004


def write_standin(
    models_dir: Path,
    *,
    version: str = "standin",
    place: str = "gemm",
    slower: float = 1.0,
    created: str | None = None,
) -> Bundle:
    """Write the stand-in as `models_dir/place`; its latencies are `slower` times the formula's."""
    card = standin_card(version)
    if created is not None:
        card["created"] = created
    return write_bundle(models_dir / place, standin_model(slower), card)


def standin_card(version: str = "standin") -> dict[str, object]:
    deployments = [
        {"gpu": gpu, "framework": framework, "dtype": dtype, "framework_version": "0.24.0"}
        for gpu in ("h100_sxm", "h200_sxm", "b200_sxm")
        for framework in ("vllm", "trtllm")
        for dtype in ("bfloat16", "fp8")
    ]
    return {
        "task": "gemm",
        "version": version,
        "coverage": 0.9,
        "reasons": list(REASONS),
        "deployments": deployments,
        "summary": {"median_error_percent": 1.0},
    }


def latency_ms(*, gpu: str, framework: str = "", dtype: str, m: int, n: int, k: int) -> float:
    """The stand-in's formula, in plain Python, for tests to compare with."""
    facts = GPUS[gpu]
    compute = 2.0 * m * n * k / (facts.peak_bf16_tflops * SPEEDUP[dtype] * 1e9)
    memory = 2.0 * (m * k + k * n + m * n) / (facts.memory_bandwidth_gb_per_s * 1e6)
    return (max(compute, memory) + LAUNCH_MS) * FRAMEWORK[framework]


@functools.cache
def standin_model(slower: float = 1.0) -> bytes:
    """The model; its latencies are `slower` times `latency_ms`."""
    text = Tensor(np.str_, ("N",))
    whole = Tensor(np.int64, ("N",))
    names = ("gpu", "framework", "framework_version", "dtype")
    inputs = {name: argument(text) for name in names}
    inputs |= {name: argument(whole) for name in ("m", "n", "k")}
    gpu, dtype = inputs["gpu"], inputs["dtype"]
    m, n, k = (op.cast(inputs[name], to=np.float64) for name in ("m", "n", "k"))

    peak = _lookup(gpu, {name: facts.peak_bf16_tflops for name, facts in GPUS.items()})
    bandwidth = _lookup(
        gpu, {name: facts.memory_bandwidth_gb_per_s for name, facts in GPUS.items()}
    )
    tdp = _lookup(gpu, {name: facts.tdp_w for name, facts in GPUS.items()})
    flops = op.mul(op.mul(op.mul(m, n), k), _const(2.0))
    rate = op.mul(op.mul(peak, _lookup(dtype, SPEEDUP)), _const(1e9))
    elements = op.add(op.add(op.mul(m, k), op.mul(k, n)), op.mul(m, n))
    memory = op.div(op.mul(elements, _const(2.0)), op.mul(bandwidth, _const(1e6)))
    floor = op.add(op.max([op.div(flops, rate), memory]), _const(LAUNCH_MS))
    factor = op.mul(_lookup(inputs["framework"], FRAMEWORK), _const(float(slower)))
    latency = op.mul(floor, factor)
    power = op.mul(
        tdp, op.sub(_const(1.0), op.div(_const(LAUNCH_MS), op.mul(latency, _const(2.0))))
    )

    no_fp4 = _flag(gpu, {name: facts.peak_fp4_tflops is None for name, facts in GPUS.items()})
    unsupported = op.and_(no_fp4, _flag(dtype, {"nvfp4": True}))
    measured = _flag(inputs["framework_version"], dict.fromkeys(("", *VERSIONS), True))
    no_power = _flag(gpu, {NO_POWER_GPU: True})
    beyond = op.greater(op.max([n, k]), _const(65536.0))
    extrapolated = op.or_(op.not_(measured), beyond)

    nan = _const(np.nan)
    latency = op.where(unsupported, nan, latency)
    power = op.where(op.or_(unsupported, no_power), nan, power)
    width = op.where(extrapolated, _const(1.5), _const(1.1))
    level = op.where(extrapolated, _const(1), _const(0))
    outputs: dict[str, Var] = {}
    for name, value, withheld in (
        ("latency_ms", latency, unsupported),
        ("power_w", power, op.or_(unsupported, no_power)),
    ):
        outputs[name] = _float32(value)
        outputs[f"{name}_low"] = _float32(op.div(value, width))
        outputs[f"{name}_high"] = _float32(op.mul(value, width))
        outputs[f"{name}_status"] = op.where(withheld, _const(2), level)
    outputs["energy_mj"] = _float32(op.mul(latency, power))
    outputs["tflops"] = _float32(op.div(flops, op.mul(latency, _const(1e9))))
    outputs["reasons"] = _bits([unsupported, op.not_(measured), no_power, beyond])
    return bytes(build(inputs, outputs).SerializeToString())


def _const(value: float) -> Var:
    return op.const(np.array(value, np.int64 if isinstance(value, int) else np.float64))


def _float32(value: Var) -> Var:
    return op.cast(value, to=np.float32)


def _lookup(keys: Var, table: dict[str, float]) -> Var:
    found = ml.label_encoder(
        keys,
        keys_strings=list(table),
        values_floats=list(table.values()),
        default_float=float("nan"),
    )
    return op.cast(found, to=np.float64)


def _flag(keys: Var, table: dict[str, bool]) -> Var:
    found = ml.label_encoder(
        keys,
        keys_strings=list(table),
        values_int64s=[int(value) for value in table.values()],
        default_int64=0,
    )
    return op.cast(found, to=np.bool_)


def _bits(flags: list[Var]) -> Var:
    total = op.cast(flags[0], to=np.int64)
    for bit, flag in enumerate(flags[1:], start=1):
        total = op.add(total, op.mul(op.cast(flag, to=np.int64), _const(2**bit)))
    return total


def questions(rows: int, seed: int = 0) -> dict[str, NDArray[np.object_] | NDArray[np.int64]]:
    """`rows` distinct, valid GEMM questions, [rows] each."""
    rng = np.random.default_rng(seed)
    gpus = np.array(list(GPUS), dtype=object)
    dtypes = np.array(list(SPEEDUP), dtype=object)
    frameworks = np.array(("vllm", "trtllm", "sglang"), dtype=object)
    return {
        "gpu": gpus[rng.integers(0, len(gpus), rows)],
        "framework": frameworks[rng.integers(0, len(frameworks), rows)],
        "dtype": dtypes[rng.integers(0, len(dtypes), rows)],
        "m": rng.integers(1, 8192, rows),
        "n": rng.integers(1, 65536, rows),
        "k": rng.integers(1, 65536, rows),
    }
