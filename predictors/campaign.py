"""A measuring campaign as one dense tensor: every deployment on a common grid of shapes.

Published GEMM data are grids: a list of sites (n, k), each measured at the same values of m. As a
tensor [G, N, K, M] (deployment, n, k, m; NaN where nothing was measured) neighbours along an axis,
the same shape on another GPU or under another framework, are one index away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import DataError
from perfcast.features.gemm import device, lanes
from perfcast.features.versions import version_key

__all__ = ["Axes", "Campaign", "Deployment", "site_lanes"]

_KEYS = ("gpu", "framework", "framework_version", "dtype")


class Deployment(NamedTuple):
    """What runs the multiplication."""

    gpu: str
    framework: str
    framework_version: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Axes:
    """The values of n [N], k [K] and m [M] at which the grid has nodes, each ascending."""

    n: NDArray[np.float64]
    k: NDArray[np.float64]
    m: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.n), len(self.k), len(self.m)


@dataclass(frozen=True)
class Campaign:
    """Measurements `values` [G, N, K, M] of one quantity, NaN where there are none.

    Deployments are sorted by name, the versions of a framework from oldest to newest.
    """

    deployments: tuple[Deployment, ...]
    axes: Axes
    values: NDArray[np.float64]

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Any], values: NDArray[np.float64], *, axes: Axes | None = None
    ) -> Campaign:
        """Arrange rows [R] (the GEMM task's input columns) and their values [R] on a grid.

        Rows whose value is NaN only widen the axes. Raises `DataError` if `axes` lack a value.
        """
        codes, deployments = _deployments(columns)
        if axes is None:
            axes = Axes(*(np.unique(columns[name]).astype(np.float64) for name in "nkm"))
        index = [codes]
        for name in "nkm":
            nodes = getattr(axes, name)
            at = np.minimum(np.searchsorted(nodes, columns[name]), len(nodes) - 1)
            if not np.array_equal(nodes[at], columns[name]):
                raise DataError(f"column {name}: values that are not on the grid's axis")
            index.append(at)
        grid = np.full((len(deployments), *axes.shape), np.nan)
        grid[tuple(index)] = values
        return cls(deployments, axes, grid)

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Which sites have any measurement: [G, N, K]."""
        return np.asarray(np.isfinite(self.values).any(axis=3))

    def without(self, sites: NDArray[np.bool_]) -> Campaign:
        """A copy in which nothing was measured at `sites` [N, K] (or [G, N, K])."""
        values = np.where(np.broadcast_to(sites[..., None], self.values.shape), np.nan, self.values)
        return Campaign(self.deployments, self.axes, values)

    def select(self, keep: Sequence[int]) -> Campaign:
        """Only the deployments at these positions."""
        rows = list(keep)
        return Campaign(tuple(self.deployments[i] for i in rows), self.axes, self.values[rows])


def site_lanes(deployment: Deployment, axes: Axes) -> NDArray[np.float64]:
    """`features.gemm.lanes` at every node: [3, N, K, M]."""
    facts = device(deployment.gpu, deployment.dtype)
    if facts is None:
        raise DataError(f"{deployment.gpu} cannot multiply {deployment.dtype}")
    n, k, m = axes.n[:, None, None], axes.k[None, :, None], axes.m[None, None, :]
    parts = lanes(
        np, m, n, k, facts.flops_per_ms, facts.bytes_per_ms, facts.num_sms, *facts.operand_bytes
    )
    return np.stack([np.broadcast_to(part, axes.shape) for part in parts])


def _deployments(
    columns: Mapping[str, Any],
) -> tuple[NDArray[np.int64], tuple[Deployment, ...]]:
    code = np.zeros(len(columns["m"]), dtype=np.int64)
    levels = []
    for name in _KEYS:
        found, inverse = np.unique(np.asarray(columns[name], dtype=str), return_inverse=True)
        if name == "framework_version":  # 0.9.0 is older than 0.22.0
            order = sorted(range(len(found)), key=lambda i: version_key(str(found[i])))
            found, inverse = found[order], np.argsort(order)[inverse]
        levels.append(found)
        code = code * len(found) + inverse
    used, compact = np.unique(code, return_inverse=True)
    names = []
    for combination in used:
        rest, parts = int(combination), []
        for found in reversed(levels):
            rest, digit = divmod(rest, len(found))
            parts.append(str(found[digit]))
        names.append(Deployment(*reversed(parts)))
    return compact.astype(np.int64), tuple(names)
