"""Tables on a grid of shapes, read between their nodes by linear interpolation in the logarithm.

Written against the array API: numpy evaluates it while training, ndonnx traces the same lines into
the exported model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bracket", "Lattice", "bracket", "read"]


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where queries fall on an axis: the node at or below, and how far towards the next [N].

    Beyond the first and the last node the share is held at 0 and 1.
    """

    left: Any
    share: Any


@dataclass(frozen=True, slots=True)
class Lattice:
    """`table` [D, N, K, M] in a compact dtype; a node's value is `offset + scale * table`."""

    table: NDArray[Any]
    scale: float
    offset: float

    @classmethod
    def pack(cls, values: NDArray[np.float64], dtype: type[np.generic]) -> Lattice:
        """Store finite `values`: float16 as they are, uint8 in 256 even steps over their range."""
        if np.issubdtype(dtype, np.floating):
            return cls(values.astype(dtype), 1.0, 0.0)
        low, high = float(values.min()), float(values.max())
        scale = (high - low) / 255.0 or 1.0
        return cls(np.rint((values - low) / scale).astype(dtype), scale, low)

    def unpack(self) -> NDArray[np.float64]:
        """The nodes' values as they will be read."""
        return self.offset + self.scale * self.table.astype(np.float64)


def bracket(xp: Any, nodes: NDArray[np.float64], x: Any) -> Bracket:
    """Locate integers `x` [N] on ascending integer `nodes`, interpolating in the logarithm.

    A look-up table over all integers up to the last node finds the bracket without a search.
    """
    last = int(nodes[-1])
    ranks = np.searchsorted(nodes, np.arange(last + 1), side="right") - 1
    ranks = np.clip(ranks, 0, len(nodes) - 2)
    ranks = ranks.astype(np.uint8 if len(nodes) <= 2**8 else np.int64)
    logs = np.log(nodes)
    clipped = xp.clip(x, int(nodes[0]), last)
    left = xp.astype(xp.take(xp.asarray(ranks), clipped), xp.int64)
    step = xp.asarray(np.append(1.0 / np.diff(logs), 0.0))
    start = xp.take(xp.asarray(logs), left)
    share = (xp.log(xp.astype(clipped, xp.float64)) - start) * xp.take(step, left)
    return Bracket(left, share)


def read(xp: Any, lattice: Lattice, row: Any, n: Bracket, k: Bracket, m: Bracket) -> Any:
    """Interpolated values [N] of `lattice` for table rows `row` [N] (int64) at the brackets."""
    _, size_n, size_k, size_m = lattice.table.shape
    flat = xp.asarray(lattice.table.reshape(-1))
    corner = ((row * size_n + n.left) * size_k + k.left) * size_m + m.left
    total: Any = None
    for along_n, weight_n in ((0, 1.0 - n.share), (1, n.share)):
        for along_k, weight_k in ((0, 1.0 - k.share), (1, k.share)):
            at = corner + (along_n * size_k + along_k) * size_m
            lower = xp.astype(xp.take(flat, at), xp.float64)
            upper = xp.astype(xp.take(flat, at + 1), xp.float64)
            part = weight_n * weight_k * (lower + m.share * (upper - lower))
            total = part if total is None else total + part
    return lattice.offset + lattice.scale * total
