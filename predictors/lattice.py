"""Tables on a grid of shapes, read between their nodes by linear interpolation in the logarithm.

Written against the array API: numpy evaluates it while training, ndonnx traces the same lines into
the exported model. One question costs that model about half a microsecond for each operation,
however small: so all axes are looked up at once, and all corners, with the rows [N] as last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bracket", "Cell", "Lattice", "bracket", "cell", "read"]

_CORNERS = np.indices((2, 2, 2)).reshape(3, 8).T
"""Which corners of a cell lie at the far end of n, of k and of m: 0 or 1, [8, 3]."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where queries fall on A axes: the node at or below, and how far towards the next: [A, N].

    Beyond the first and the last node the share is held at 0 and 1.
    """

    left: Any
    share: Any

    def on(self, xp: Any, *axes: int) -> Bracket:
        """On these axes only."""
        index = xp.asarray(np.array(axes))
        return Bracket(xp.take(self.left, index, axis=0), xp.take(self.share, index, axis=0))


@dataclass(frozen=True, slots=True)
class Cell:
    """The eight nodes around each query: positions [8 * N] in a table, and weights [8, N]."""

    corners: Any
    weights: Any


@dataclass(frozen=True, slots=True)
class Lattice:
    """`table` [D, N, K, M, ...] in a compact dtype; a node's value is `offset + scale * table`.

    Further axes hold quantities that are read together, side by side in memory, each with its own
    `scale` and `offset`: those have the shape of the further axes.
    """

    table: NDArray[Any]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def pack(
        cls, values: NDArray[np.float64], dtype: type[np.generic], *, further: int = 0
    ) -> Lattice:
        """Store finite `values`: float16 as they are, uint8 in 256 even steps over their range.

        The last `further` axes are told apart, each of their entries with its own range.
        """
        own = values.shape[values.ndim - further :]
        if np.issubdtype(dtype, np.floating):
            return cls(values.astype(dtype), np.ones(own), np.zeros(own))
        within = tuple(range(values.ndim - further))
        low, high = np.asarray(values.min(axis=within)), np.asarray(values.max(axis=within))
        scale = np.where(high > low, (high - low) / 255.0, 1.0)
        return cls(np.rint((values - low) / scale).astype(dtype), scale, low)

    def unpack(self) -> NDArray[np.float64]:
        """The nodes' values as they will be read."""
        return np.asarray(self.offset + self.scale * self.table.astype(np.float64))


def bracket(xp: Any, axes: Sequence[NDArray[np.float64]], x: Any) -> Bracket:
    """Locate integers `x` [A, N] on ascending integer nodes, interpolating in the logarithm.

    A look-up table over all integers up to the last node finds the bracket without a search. The
    axes' nodes, and their look-up tables, lie one behind another.
    """
    logs = [np.log(nodes) for nodes in axes]
    slopes = np.concatenate([np.append(1.0 / np.diff(part), 0.0) for part in logs])
    first_node = np.cumsum([0, *map(len, axes)])
    nodes_at = []
    for first, nodes in zip(first_node[:-1], axes, strict=True):
        rank = np.searchsorted(nodes, np.arange(int(nodes[-1]) + 1), side="right") - 1
        nodes_at.append(first + np.clip(rank, 0, len(nodes) - 2))
    table = np.concatenate(nodes_at).astype(np.min_scalar_type(first_node[-1]))
    first_entry = np.cumsum([0, *map(len, nodes_at)])[:-1, None]
    low, high = (np.array([[int(nodes[end])] for nodes in axes]) for end in (0, -1))

    def by_axis(flat: Any) -> Any:
        return xp.reshape(flat, (len(axes), -1))

    x = xp.minimum(xp.maximum(x, xp.asarray(low)), xp.asarray(high))
    node = xp.take(xp.asarray(table), xp.reshape(x + first_entry, (-1,)), axis=0)
    node = xp.astype(node, xp.int64)
    start = by_axis(xp.take(xp.asarray(np.concatenate(logs)), node, axis=0))
    slope = by_axis(xp.take(xp.asarray(slopes), node, axis=0))
    share = (xp.log(xp.astype(x, xp.float64)) - start) * slope
    return Bracket(by_axis(node) - first_node[:-1, None], share)


def cell(xp: Any, shape: tuple[int, int, int], row: Any, at: Bracket) -> Cell:
    """The cell around queries in table rows `row` [N] (int64), `at` n, k and m [3, N].

    `shape` is the number of nodes of n, k and m.
    """
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    nearest = row * int(np.prod(shape)) + xp.sum(at.left * steps[:, None], axis=0)
    corners = xp.reshape(nearest + (_CORNERS @ steps)[:, None], (-1,))
    # share at a far end, 1 - share at a near one
    weights = xp.prod(xp.abs((1.0 - _CORNERS)[:, :, None] - at.share), axis=1)
    return Cell(corners, weights)


def read(xp: Any, lattice: Lattice, where: Cell) -> Any:
    """Interpolated values [P, N] of the `lattice`'s P quantities, 1 without further axes."""
    kinds = lattice.scale.size
    flat = xp.asarray(lattice.table.reshape(-1, kinds))
    nodes = xp.permute_dims(xp.take(flat, where.corners, axis=0), (1, 0))
    nodes = xp.reshape(xp.astype(nodes, xp.float64), (kinds, len(_CORNERS), -1))
    mean = xp.sum(nodes * where.weights, axis=1)
    return lattice.offset.reshape(-1, 1) + lattice.scale.reshape(-1, 1) * mean
