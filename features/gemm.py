"""What one GEMM costs at least: operations, bytes, waves of tiles, and the floor they imply.

Every function takes the array namespace `xp` first (numpy while training, ndonnx while tracing
the exported model) and works on float64 arrays that broadcast to [N]. Times are milliseconds.

The floor follows the roofline model (Williams, Waterman, Patterson 2009) and adds what keeps small
and lopsided multiplications above it: a launch, a host that cannot issue calls any faster, and
thread blocks that each walk the whole of k one tile after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perfcast.features.hardware import gpu, peak_tflops

__all__ = [
    "FLOOR_CONSTANTS",
    "OPERAND_BYTES",
    "Device",
    "device",
    "energy_mj",
    "floor_ms",
    "flops",
    "lanes",
    "roofline_ms",
    "tflops",
    "tiling",
]

OPERAND_BYTES: dict[str, tuple[float, float, float]] = {
    # bytes per element of A, B and C; nvfp4 carries one fp8 scale for each 16 values
    "bfloat16": (2.0, 2.0, 2.0),
    "fp8": (1.0, 1.0, 2.0),
    "fp8_block": (1.0, 1.0, 2.0),
    "nvfp4": (0.5625, 0.5625, 2.0),
    "int8_wo": (2.0, 1.0, 2.0),
    "int4_wo": (2.0, 0.5, 2.0),
    "sq": (1.0, 1.0, 2.0),
}

FLOOR_CONSTANTS = ("host", "launch", "compute", "memory", "sharpness", "k_step", "tile")
"""What `floor_ms` is calibrated by, for one GPU, framework, version and dtype:

`host` ms per call below which the host cannot go; `launch` ms added to every kernel; `compute`
and `memory`, the factors by which the achieved rates fall short of the peaks; `sharpness` of the
transition between the limits (p of a p-norm); `k_step` ms per element of k and `tile` ms per tile
that one multiprocessor spends on each of its tiles, however many others are idle.
"""

_TILE = 128.0
_HOST_SHARPNESS = 4.0


@dataclass(frozen=True, slots=True)
class Device:
    """The facts of one GPU that matter to one dtype's GEMM."""

    flops_per_ms: float
    bytes_per_ms: float
    num_sms: float
    operand_bytes: tuple[float, float, float]
    l2_bytes: float
    memory_bytes: float


def device(gpu_name: str, dtype: str) -> Device | None:
    """The facts of `gpu_name` for `dtype`; None where the hardware cannot multiply it."""
    facts, peak = gpu(gpu_name), peak_tflops(gpu_name, dtype)
    if peak is None:
        return None
    return Device(
        flops_per_ms=peak * 1e9,
        bytes_per_ms=facts.memory_bandwidth_gb_per_s * 1e6,
        num_sms=float(facts.num_sms),
        operand_bytes=OPERAND_BYTES[dtype],
        l2_bytes=facts.l2_cache_mib * 2**20,
        memory_bytes=facts.memory_capacity_gib * 2**30,
    )


def flops(m: Any, n: Any, k: Any) -> Any:
    """Floating-point operations, two for each multiply-add."""
    return 2.0 * m * n * k


def lanes(
    xp: Any, m: Any, n: Any, k: Any, flops_per_ms: Any, bytes_per_ms: Any, num_sms: Any,
    a_bytes: Any, b_bytes: Any, c_bytes: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """The three things a GEMM can wait for: `(compute_ms, memory_ms, waves)`.

    Compute and memory at their peaks, every operand moved once; `waves` is how many tiles of
    128 x 128 each multiprocessor works through, at least one.
    """
    compute_ms = flops(m, n, k) / flops_per_ms
    memory_ms = (m * k * a_bytes + n * k * b_bytes + m * n * c_bytes) / bytes_per_ms
    tiles = xp.ceil(m / _TILE) * xp.ceil(n / _TILE)
    waves = xp.maximum(tiles / num_sms, 1.0)
    return compute_ms, memory_ms, waves


def roofline_ms(xp: Any, compute_ms: Any, memory_ms: Any) -> Any:
    """The roofline itself: the slower of compute and memory, each at its published peak."""
    return xp.maximum(compute_ms, memory_ms)


def floor_ms(
    xp: Any, compute_ms: Any, memory_ms: Any, waves: Any, k: Any, *,
    host: Any, launch: Any, compute: Any, memory: Any, sharpness: Any, k_step: Any, tile: Any,
) -> Any:  # fmt: skip
    """The calibrated floor: launch + p-norm(compute, memory, waves), never below the host's pace.

    The constants are those of `FLOOR_CONSTANTS`. Logarithms keep the p-norm from overflowing.
    """
    a = xp.log(compute * compute_ms)
    b = xp.log(memory * memory_ms)
    c = xp.log(waves * (tile + k_step * k))
    top = xp.maximum(xp.maximum(a, b), c)
    total = (
        xp.exp(sharpness * (a - top))
        + xp.exp(sharpness * (b - top))
        + xp.exp(sharpness * (c - top))
    )
    kernel_ms = launch + xp.exp(top + xp.log(total) / sharpness)
    ratio = xp.exp(_HOST_SHARPNESS * xp.log(host / kernel_ms))
    return kernel_ms * xp.exp(xp.log(1.0 + ratio) / _HOST_SHARPNESS)


def tiling(xp: Any, m: Any, n: Any, num_sms: Any, tile_m: float, tile_n: float) -> tuple[Any, ...]:
    """How tiles of tile_m x tile_n fit C and the GPU: `(log_waves, last_wave, padding)`.

    `last_wave` >= 1 is the loss to a last wave that does not fill the GPU (wave quantisation),
    `padding` >= 1 the loss to tiles that reach over the edge of C (tile quantisation).
    """
    tiles = xp.ceil(m / tile_m) * xp.ceil(n / tile_n)
    waves = tiles / num_sms
    return xp.log(waves), xp.ceil(waves) / waves, tiles * (tile_m * tile_n) / (m * n)


def tflops(m: Any, n: Any, k: Any, latency_ms: Any) -> Any:
    """Achieved rate in TFLOP/s."""
    return flops(m, n, k) / latency_ms / 1e9


def energy_mj(latency_ms: Any, power_w: Any) -> Any:
    """Energy of one call in millijoules."""
    return latency_ms * power_w
