"""What the data sheet alone implies for questions of a task: the roofline, nothing learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features import gemm

__all__ = ["ROOFLINES", "gemm_roofline_ms"]

Checked = Mapping[str, NDArray[Any]]
"""A task's input columns as `Task.validate` returns them, each [N]."""


def gemm_roofline_ms(columns: Checked) -> NDArray[np.float64]:
    """Milliseconds [N] below which the hardware cannot go; NaN where it lacks the dtype."""
    pairs, codes = _pairs(columns["gpu"], columns["dtype"])
    facts = np.full((6, len(pairs)), np.nan)
    for at, (gpu, dtype) in enumerate(pairs):
        device = gemm.device(gpu, dtype)
        if device is not None:
            rates = (device.flops_per_ms, device.bytes_per_ms, device.num_sms)
            facts[:, at] = (*rates, *device.operand_bytes)
    m, n, k = (columns[name].astype(np.float64) for name in ("m", "n", "k"))
    compute_ms, memory_ms, _ = gemm.lanes(np, m, n, k, *facts[:, codes])
    return np.asarray(gemm.roofline_ms(np, compute_ms, memory_ms))


def _pairs(
    left: NDArray[np.object_], right: NDArray[np.object_]
) -> tuple[list[tuple[str, str]], NDArray[np.int64]]:
    """The distinct pairs, and which of them each row holds [N]."""
    codes: dict[tuple[str, str], int] = {}
    rows = zip(left.tolist(), right.tolist(), strict=True)
    chosen = np.array([codes.setdefault(pair, len(codes)) for pair in rows], dtype=np.int64)
    return list(codes), chosen


ROOFLINES: dict[str, Callable[[Checked], NDArray[np.float64]]] = {"gemm": gemm_roofline_ms}
"""Task -> its roofline in milliseconds. A task that is not here has no such route."""
