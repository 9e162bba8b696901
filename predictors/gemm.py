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
from perfcast.predictors.lattice import Bracket, Lattice, bracket, cell, read

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

_QUANTITIES = (
    "latency_ms_low", "latency_ms_high", "power_w_low", "power_w_high",
    "latency_ms", "power_w", "energy_mj", "tflops",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Directory:
    """Which row of the tables answers for the names in a question.

    `names` lists, for gpu, framework, framework_version and dtype, the known names; position
    `len(names)` stands for an unknown one, and for frameworks and versions "" is a name: the
    default. `row` (0 where nobody answers) and `bits` (reasons that come with it) are indexed by
    the four positions.
    """

    names: Mapping[str, tuple[str, ...]]
    row: NDArray[np.int64]
    bits: NDArray[np.int64]

    def codes(self, name: str) -> tuple[dict[str, int], int]:
        """How far each word of column `name` moves in the flattened directory, and any other."""
        axis = list(self.names).index(name)
        step = int(np.prod(self.row.shape[axis + 1 :]))
        known = self.names[name]
        return {word: i * step for i, word in enumerate(known)}, len(known) * step


@dataclass(frozen=True, slots=True)
class GemmTables:
    """Everything `answer` reads. Lattices have one table row per deployment.

    `log_ratio` is log time over the floor, on `axes`, and `log_power` the logarithm of power.
    `offsets` [D, N, K, C, 2, 2] are the logarithms of the intervals' offsets, of latency and of
    power, below and above, on the nodes of `axes` in n and k and on `coarse_m`. `known_m` [D, M]
    tells at which m each deployment was measured: at other nodes in its range its intervals are
    those between nodes.
    """

    directory: Directory
    axes: Axes
    coarse_m: NDArray[np.float64]
    known_m: NDArray[np.bool_]
    facts: NDArray[np.float64]
    log_ratio: Lattice
    log_power: Lattice
    offsets: Lattice


def answer(
    xp: Any, tables: GemmTables, codes: Sequence[Any], m: Any, n: Any, k: Any
) -> dict[str, Any]:
    """The outputs of the GEMM bundle contract for the four names and shapes in a question.

    `codes` are those of `Directory.codes`. All arguments are int64 [N]; so are the statuses and
    `reasons`, everything else is float32. In between, most arrays are [1, N], or [P, N] where P
    things are worked out at once: see `lattice` for why.
    """

    place = codes[0] + codes[1] + codes[2] + codes[3]
    row = xp.take(xp.asarray(tables.directory.row.reshape(-1)), place, axis=0)
    bits = xp.take(xp.asarray(tables.directory.bits.reshape(-1)), place, axis=0)
    facts = xp.permute_dims(xp.take(xp.asarray(tables.facts), row, axis=0), (1, 0))
    facts = xp.reshape(facts, (len(COLUMNS), -1))  # or onnxruntime would transpose every column
    fact = {name: facts[i : i + 1, :] for i, name in enumerate(COLUMNS)}  # each [1, N]

    axes, coarse_m = tables.axes, tables.coarse_m
    sizes = xp.reshape(xp.concat([n, k, m, m]), (4, -1))
    at = bracket(xp, (axes.n, axes.k, axes.m, coarse_m), sizes)
    fine, coarse = at.on(xp, 0, 1, 2), at.on(xp, 0, 1, 3)
    node = cell(xp, axes.shape, row, fine)
    coarse_node = cell(xp, (len(axes.n), len(axes.k), len(coarse_m)), row, coarse)

    mf, nf, kf = (xp.astype(size, xp.float64) for size in (m, n, k))
    compute_ms, memory_ms, waves = lanes(
        xp, mf, nf, kf, fact["flops_per_ms"], fact["bytes_per_ms"], fact["num_sms"],
        fact["a_bytes"], fact["b_bytes"], fact["c_bytes"],
    )  # fmt: skip
    floor = floor_ms(
        xp, compute_ms, memory_ms, waves, kf, **{name: fact[name] for name in FLOOR_CONSTANTS}
    )
    limit = fact["power_limit_w"]
    latency = floor * xp.exp(read(xp, tables.log_ratio, node))
    power = xp.minimum(xp.exp(read(xp, tables.log_power, node)), limit)

    beyond_m = _beyond(xp, mf, fact["min_m"], fact["max_m"])
    beyond_nk = xp.maximum(
        _beyond(xp, nf, fact["min_n"], fact["max_n"]),
        _beyond(xp, kf, fact["min_k"], fact["max_k"]),
    )
    furthest = xp.maximum(xp.maximum(beyond_m, beyond_nk), 1.0)
    memory = memory_ms * fact["bytes_per_ms"] / fact["memory_bytes"]
    exceeded = xp.concat([beyond_m, beyond_nk, memory, furthest / _FURTHEST]) > 1.0
    flags = xp.asarray(np.array([[OUTSIDE_M], [OUTSIDE_NK], [TOO_LARGE], [TOO_FAR]]))
    reasons = bits + xp.sum(xp.where(exceeded, flags, 0), axis=0)
    reasons = xp.where(bits == UNKNOWN, bits, reasons)

    between = xp.concat([fact["between_n"], fact["between_k"], fact["between_m"]])
    off_node = xp.abs(fine.share - 0.5) < 0.5 - 1e-9
    off_node = off_node | _at_unknown_m(xp, tables, row, fine)
    # errors add up as variances do
    square = 1.0 + xp.sum(xp.where(off_node, between * between - 1.0, 0.0), axis=0)
    outside = xp.log2(furthest) * fact["per_octave"]
    wider, power_wider = xp.sqrt(square) + outside, 1.0 + outside
    other = xp.where((bits & NO_VERSION) == 0, 0.0, fact["other_version"])

    # latency_ms_low, latency_ms_high, power_w_low, power_w_high
    offsets = xp.exp(read(xp, tables.offsets, coarse_node))
    offsets = offsets * xp.concat([wider, wider, power_wider, power_wider])
    offsets = offsets + other * np.array([[1.0], [1.0], [0.0], [0.0]])
    ends = xp.exp(offsets * np.array([[-1.0], [1.0], [-1.0], [1.0]]))
    ends = ends * xp.concat([latency, latency, power, power])
    ceiling = xp.where(xp.asarray(np.array([[True], [True], [False], [False]])), np.inf, limit)

    quantities = xp.concat([
        xp.minimum(ends, ceiling), latency, power,
        energy_mj(latency, power), tflops(mf, nf, kf, latency),
    ])  # fmt: skip
    withheld = reasons >= UNKNOWN  # the highest bits
    quantities = xp.astype(xp.where(withheld, np.nan, quantities), xp.float32)
    out = {name: quantities[i, :] for i, name in enumerate(_QUANTITIES)}
    for name, extrapolated in (
        ("latency_ms_status", _LATENCY_BITS),
        ("power_w_status", _LATENCY_BITS | NO_POWER | OTHER_POWER),
    ):
        out[name] = xp.take(xp.asarray(_statuses(extrapolated)), reasons, axis=0)
    out["reasons"] = reasons
    return out


def _beyond(xp: Any, size: Any, low: Any, high: Any) -> Any:
    """How many times smaller than `low` or larger than `high` a size is; at most 1 inside."""
    return xp.maximum(low / size, size / high)


def _at_unknown_m(xp: Any, tables: GemmTables, row: Any, at: Bracket) -> Any:
    """Which questions fall between this deployment's own nodes of m though near a node: [3, N].

    Only the last entry of the three, m's, is ever true.
    """
    low, high = (tables.facts[:, [COLUMNS.index(name)]] for name in ("min_m", "max_m"))
    m = tables.axes.m
    unknown = ~tables.known_m & (m >= low) & (m <= high)
    nearest = at.left[2, :] + xp.astype(at.share[2, :] > 0.5, xp.int64)
    found = xp.take(xp.asarray(unknown.reshape(-1)), row * len(m) + nearest, axis=0)
    return found & xp.asarray(np.array([[False], [False], [True]]))


def _statuses(extrapolated_bits: int) -> NDArray[np.int64]:
    """Codes into `prediction.STATUSES` for every value of `reasons`.

    0 in_domain, 1 extrapolated, 2 out_of_domain.
    """
    reasons = np.arange(1 << len(REASONS))
    extrapolated = (reasons & extrapolated_bits) != 0
    return np.where(reasons >= UNKNOWN, 2, np.where(extrapolated, 1, 0))
