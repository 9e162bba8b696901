"""The GEMM model that ships: look-up, floor, lattices and domain check, all in one function.

`answer` is that function. numpy runs it to check; ndonnx traces it into `model.onnx`. What it
reads is in `GemmTables`; how the tables came about is in `latency.py`, `transfer.py`, `power.py`
and `intervals.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features.gemm import FLOOR_CONSTANTS, energy_mj, floor_ms, lanes, tflops
from perfcast.predictors.campaign import Axes
from perfcast.predictors.lattice import Bracket, Lattice, bracket, read

__all__ = ["COLUMNS", "REASONS", "Directory", "GemmTables", "answer"]

REASONS: tuple[str, ...] = (
    "this GPU was not measured: estimated from its data sheet and from the GPUs that were",
    "not measured on this GPU under this framework and dtype: estimated from other GPUs",
    "this framework_version was not measured: answered with the newest one that was",
    "m is outside the measured range",
    "n or k is outside the measured range",
    "power_w was not measured on this GPU: estimated from its power limit and its utilisation",
    "power_w was not measured for this framework, version and dtype: estimated from utilisation",
    "withheld: this GPU, framework and dtype were not measured together, nor can they be inferred",
    "withheld: the operands do not fit the GPU's memory",
    "withheld: m, n or k is more than 16 times beyond what was measured",
)
"""What the bits of `reasons` mean, lowest first."""

(
    NO_GPU, NO_DEPLOYMENT, NO_VERSION, OUTSIDE_M, OUTSIDE_NK, NO_POWER, OTHER_POWER,
    UNKNOWN, TOO_LARGE, TOO_FAR,
) = (1 << bit for bit in range(len(REASONS)))  # fmt: skip

_LATENCY_BITS = NO_GPU | NO_DEPLOYMENT | NO_VERSION | OUTSIDE_M | OUTSIDE_NK
_WITHHELD_BITS = UNKNOWN | TOO_LARGE | TOO_FAR
_FURTHEST = 16.0

COLUMNS: tuple[str, ...] = (
    "flops_per_ms", "bytes_per_ms", "num_sms", "a_bytes", "b_bytes", "c_bytes", "memory_bytes",
    *FLOOR_CONSTANTS,
    "min_m", "max_m", "min_n", "max_n", "min_k", "max_k",
    "between_n", "between_k", "between_m", "per_octave", "other_version", "power_limit_w",
)  # fmt: skip
"""The columns of `GemmTables.facts`: the device, the floor, the measured range, how much wider an
interval gets between nodes of n, k and m and per octave beyond the range, what is added to it (log
units) for a version that was not measured, and the highest power."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Which row of the tables answers for the names in a question.

    `names` lists, for gpu, framework, framework_version and dtype, the known names; position
    `len(names)` stands for an unknown one, and for frameworks and versions "" is a name: the
    default. `row` (-1: nobody) and `bits` (reasons that come with it) are indexed by the four
    positions.
    """

    names: Mapping[str, tuple[str, ...]]
    row: NDArray[np.int64]
    bits: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GemmTables:
    """Everything `answer` reads. Lattices have one table row per deployment.

    `log_ratio` is log time over the floor, on `axes`; `below` and `above` are the logarithms of
    its interval's offsets, on the nodes of `axes` in n and k and on
    `coarse_m`. So for `log_power`. `known_m` [D, M] tells at which m each deployment was measured:
    at other nodes its intervals are those between nodes.
    """

    directory: Directory
    axes: Axes
    coarse_m: NDArray[np.float64]
    known_m: NDArray[np.bool_]
    facts: NDArray[np.float64]
    log_ratio: Lattice
    below: Lattice
    above: Lattice
    log_power: Lattice
    power_below: Lattice
    power_above: Lattice


def answer(
    xp: Any, tables: GemmTables, codes: Sequence[Any], m: Any, n: Any, k: Any
) -> dict[str, Any]:
    """The outputs of the GEMM bundle contract for `codes` (positions of the four names) and shapes.

    All arguments are int64 [N]; so are the statuses and `reasons`, everything else is float32.
    """
    directory = tables.directory
    flat = codes[0]
    for position, name in list(zip(codes, directory.names, strict=True))[1:]:
        flat = flat * (len(directory.names[name]) + 1) + position
    row = xp.take(xp.asarray(directory.row.reshape(-1)), flat)
    bits = xp.take(xp.asarray(directory.bits.reshape(-1)), flat)
    known = row >= 0
    row = xp.where(known, row, xp.zeros_like(row))
    facts = xp.take(xp.asarray(tables.facts), row, axis=0)
    fact = {name: facts[:, position] for position, name in enumerate(COLUMNS)}
    mf, nf, kf = (xp.astype(size, xp.float64) for size in (m, n, k))

    at_n, at_k = bracket(xp, tables.axes.n, n), bracket(xp, tables.axes.k, k)
    at_m, at_coarse_m = bracket(xp, tables.axes.m, m), bracket(xp, tables.coarse_m, m)

    def look_up(lattice: Lattice, along_m: Bracket) -> Any:
        return read(xp, lattice, row, at_n, at_k, along_m)

    parts = lanes(
        xp, mf, nf, kf, fact["flops_per_ms"], fact["bytes_per_ms"], fact["num_sms"],
        fact["a_bytes"], fact["b_bytes"], fact["c_bytes"],
    )  # fmt: skip
    floor = floor_ms(xp, *parts, kf, **{name: fact[name] for name in FLOOR_CONSTANTS})
    latency = floor * xp.exp(look_up(tables.log_ratio, at_m))

    octaves_m = _octaves_outside(xp, mf, fact["min_m"], fact["max_m"])
    octaves_nk = xp.maximum(
        _octaves_outside(xp, nf, fact["min_n"], fact["max_n"]),
        _octaves_outside(xp, kf, fact["min_k"], fact["max_k"]),
    )
    furthest = xp.maximum(octaves_m, octaves_nk)
    used = mf * kf * fact["a_bytes"] + nf * kf * fact["b_bytes"] + mf * nf * fact["c_bytes"]
    for condition, bit in (
        (octaves_m > 0.0, OUTSIDE_M),
        (octaves_nk > 0.0, OUTSIDE_NK),
        (used > fact["memory_bytes"], TOO_LARGE),
        (furthest > np.log2(_FURTHEST), TOO_FAR),
    ):
        bits = bits | xp.where(condition & known, xp.full_like(bits, bit), xp.zeros_like(bits))

    one, square = xp.ones_like(mf), xp.ones_like(mf)
    node = row * len(tables.axes.m) + at_m.left + xp.astype(at_m.share > 0.5, xp.int64)
    unknown_m = (octaves_m <= 0.0) & ~xp.take(xp.asarray(tables.known_m.reshape(-1)), node)
    for name, between in (
        ("n", _off_node(at_n)),
        ("k", _off_node(at_k)),
        ("m", _off_node(at_m) | unknown_m),
    ):  # errors add up as variances do
        more = fact[f"between_{name}"] ** 2 - 1.0
        square = square + xp.where(between, more, xp.zeros_like(more))
    wider = xp.sqrt(square) + furthest * fact["per_octave"]
    other = xp.where((bits & NO_VERSION) != 0, fact["other_version"], xp.zeros_like(mf))
    low = latency * xp.exp(-other - wider * xp.exp(look_up(tables.below, at_coarse_m)))
    high = latency * xp.exp(other + wider * xp.exp(look_up(tables.above, at_coarse_m)))

    limit = fact["power_limit_w"]
    power = xp.minimum(xp.exp(look_up(tables.log_power, at_m)), limit)
    spread = one + furthest * fact["per_octave"]
    power_low = power * xp.exp(-spread * xp.exp(look_up(tables.power_below, at_coarse_m)))
    power_high = power * xp.exp(spread * xp.exp(look_up(tables.power_above, at_coarse_m)))
    power_high = xp.maximum(xp.minimum(power_high, limit), power)

    withheld = (bits & _WITHHELD_BITS) != 0
    latency_status = _status(xp, bits, withheld, _LATENCY_BITS)
    power_status = _status(xp, bits, withheld, _LATENCY_BITS | NO_POWER | OTHER_POWER)
    quantities = {
        "latency_ms": latency, "latency_ms_low": low, "latency_ms_high": high,
        "power_w": power, "power_w_low": power_low, "power_w_high": power_high,
        "energy_mj": energy_mj(latency, power), "tflops": tflops(mf, nf, kf, latency),
    }  # fmt: skip
    nothing = xp.full_like(mf, np.nan)
    out = {
        name: xp.astype(xp.where(withheld, nothing, value), xp.float32)
        for name, value in quantities.items()
    }
    out["latency_ms_status"], out["power_w_status"] = latency_status, power_status
    out["reasons"] = bits
    return out


def _octaves_outside(xp: Any, size: Any, low: Any, high: Any) -> Any:
    """How many factors of two `size` lies below `low` or above `high`; 0 inside."""
    outside = xp.maximum(low / size, size / high)
    return xp.log2(xp.maximum(outside, xp.ones_like(outside)))


def _off_node(place: Bracket) -> Any:
    return (place.share > 1e-9) & (place.share < 1.0 - 1e-9)


def _status(xp: Any, bits: Any, withheld: Any, extrapolated_bits: int) -> Any:
    """Codes into `prediction.STATUSES`: 0 in_domain, 1 extrapolated, 2 out_of_domain."""
    zero = xp.zeros_like(bits)
    beyond = xp.where((bits & extrapolated_bits) != 0, zero + 1, zero)
    return xp.where(withheld, zero + 2, beyond)
