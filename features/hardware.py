"""Hardware facts for every GPU that perfcast knows, read from `hardware.json`.

The table holds what vendors publish (data sheets, architecture papers; each GPU lists its
sources) and how fast GPUs talk to each other. Nothing in it was fitted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

from perfcast.errors import Problem, UnknownValue, nearest

__all__ = ["GPUS", "Gpu", "gpu", "peak_tflops", "supports"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU model. Rates are dense and per GPU; interconnect is per GPU and direction."""

    name: str
    title: str
    vendor: str
    architecture: str
    """Family: ampere, ada, hopper, blackwell (data centre), blackwell_ultra, blackwell_rtx, xe2."""
    sm_version: int | None
    """CUDA compute capability times ten; None where there is none."""
    num_sms: int
    """Streaming multiprocessors, or Xe cores."""
    boost_clock_mhz: float
    """Highest clock of the multiprocessors. Peak rates may be stated at a lower one."""
    l2_cache_mib: float
    memory_type: str
    peak_bf16_tflops: float
    peak_fp8_tflops: float | None
    """None: no hardware support; so for fp4 and int8."""
    peak_fp4_tflops: float | None
    peak_int8_tops: float | None
    memory_bandwidth_gb_per_s: float
    """10^9 bytes per second."""
    memory_capacity_gib: float
    tdp_w: float
    num_gpus_per_node: int
    num_gpus_per_rack: int | None
    """None: racks are not one fast domain."""
    intra_node_bandwidth_gb_per_s: float
    inter_node_bandwidth_gb_per_s: float
    inter_rack_bandwidth_gb_per_s: float | None
    pcie_bandwidth_gb_per_s: float
    p2p_latency_us: float
    inter_rack_latency_us: float | None
    sources: tuple[str, ...]


def _read() -> dict[str, Gpu]:
    text = files(__package__).joinpath("hardware.json").read_text(encoding="utf-8")
    table = json.loads(text)["gpus"]
    return {
        name: Gpu(name=name, **{**facts, "sources": tuple(facts["sources"])})
        for name, facts in table.items()
    }


GPUS: dict[str, Gpu] = _read()
"""Every known GPU by name, in alphabetical order."""

_PEAK_FIELD = {
    "bfloat16": "peak_bf16_tflops",
    "fp8": "peak_fp8_tflops",
    "fp8_block": "peak_fp8_tflops",
    "nvfp4": "peak_fp4_tflops",
    "sq": "peak_int8_tops",
    # weight-only formats are widened to bfloat16 before the multiplication
    "int8_wo": "peak_bf16_tflops",
    "int4_wo": "peak_bf16_tflops",
}


def gpu(name: str) -> Gpu:
    """The GPU called `name`. Raises `UnknownValue` with the nearest known names."""
    if name not in GPUS:
        raise UnknownValue([Problem("gpu", f"unknown value {name!r}; {nearest(name, GPUS)}")])
    return GPUS[name]


def peak_tflops(gpu_name: str, dtype: str) -> float | None:
    """Dense peak (TFLOP/s, TOP/s for int8) at which `gpu_name` multiplies matrices of `dtype`.

    None where the hardware cannot. Raises `UnknownValue` for an unknown GPU or dtype.
    """
    device = gpu(gpu_name)
    if dtype not in _PEAK_FIELD:
        reason = f"unknown value {dtype!r}; {nearest(dtype, _PEAK_FIELD)}"
        raise UnknownValue([Problem("dtype", reason)])
    peak: float | None = getattr(device, _PEAK_FIELD[dtype])
    return peak


def supports(gpu_name: str, dtype: str) -> bool:
    """Whether the hardware multiplies matrices of `dtype` (not: whether it was measured).

    Raises `UnknownValue` for an unknown GPU or dtype.
    """
    return peak_tflops(gpu_name, dtype) is not None
