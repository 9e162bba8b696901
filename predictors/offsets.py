"""Interval offsets at the nodes of the grid, calibrated on what the bundle will really say.

Offsets ship at a few values of m and are interpolated between them. So are they here before they
are calibrated: a factor found at full resolution would promise what the thinned table cannot keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.predictors.campaign import Axes, Campaign
from perfcast.predictors.context import context
from perfcast.predictors.intervals import conformal_factor, fit_quantiles, raw_offsets, scores
from perfcast.predictors.latency import site_folds
from perfcast.predictors.lattice import bracket
from perfcast.predictors.surface import Surface

__all__ = ["coarse_nodes", "node_offsets", "site_halves"]

_CHUNK = 400_000


def coarse_nodes(nodes: NDArray[np.float64], count: int = 24) -> NDArray[np.int64]:
    """Positions of about `count` of `nodes`, evenly spread in the logarithm, ends included."""
    wanted = np.linspace(np.log(nodes[0]), np.log(nodes[-1]), count)
    return np.unique([int(np.argmin(np.abs(np.log(nodes) - at))) for at in wanted])


def node_offsets(
    campaign: Campaign,
    log_floor: NDArray[np.float64],
    log_ratio: NDArray[np.float64],
    error: NDArray[np.float64],
    *,
    coarse: NDArray[np.int64],
    coverage: float,
    seed: int = 0,
    threads: int = 2,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """`(offsets at coarse nodes [G, N, K, C, 2], at measured rows [R, 2], left-out rows' nodes)`.

    The second is what the interval would have been for rows that neither the quantile models nor
    the calibration factors saw: the honest basis for reporting coverage. `error` [G, N, K, M] is
    the left-out error of the answers as they will be read, rounding included.
    """
    constants = np.full((len(campaign.deployments), 7), np.nan)
    surface = Surface(campaign, constants, log_floor, log_ratio, error)
    nodes = np.array(np.nonzero(np.isfinite(error)), dtype=np.int64)
    seen = error[tuple(nodes)]
    part = _site_quarters(campaign.axes)[nodes[1], nodes[2]]
    half = part % 2 == 0
    models = fit_quantiles(
        context(surface, nodes), seen, half=half, coverage=coverage, threads=threads, seed=seed
    )
    grids = [_on_grid(surface, model, coarse) for model in models]
    at_rows = np.empty((nodes.shape[1], 2))
    for grid, side in zip(grids, (~half, half), strict=True):  # each where it was not fitted
        at_rows[side] = _between_coarse(grid, nodes[:, side], campaign.axes.m, coarse)
    score = scores(seen, at_rows)
    left_out = np.empty_like(at_rows)
    factors = np.ones(len(campaign.deployments))
    for g in range(len(factors)):
        here = nodes[0] == g
        factors[g] = conformal_factor(score[here], coverage)
        # a row's own factor comes from the other quarter of the half its model was not fitted on
        for quarter in range(4):
            own = here & (part == quarter)
            other = here & (part == (quarter + 2) % 4)
            left_out[own] = at_rows[own] * conformal_factor(score[other], coverage)
    shipped = np.mean(grids, axis=0) * factors[:, None, None, None, None]
    return shipped, left_out, nodes


def _on_grid(surface: Surface, model: Any, coarse: NDArray[np.int64]) -> NDArray[np.float64]:
    """One model's offsets before calibration at every site and coarse m: [G, N, K, C, 2]."""
    shape = surface.campaign.values.shape
    everywhere = np.zeros(shape, dtype=bool)
    everywhere[..., coarse] = True
    nodes = np.array(np.nonzero(everywhere), dtype=np.int64)
    parts = [raw_offsets(model, context(surface, chunk)) for chunk in _chunks(nodes)]
    return np.concatenate(parts).reshape(*shape[:3], len(coarse), 2)


def _between_coarse(
    grid: NDArray[np.float64],
    nodes: NDArray[np.int64],
    m: NDArray[np.float64],
    coarse: NDArray[np.int64],
) -> NDArray[np.float64]:
    """`grid` [G, N, K, C, 2] at `nodes` [4, R], read between coarse m as the bundle reads it."""
    g, i, j, h = nodes
    place = bracket(np, (m[coarse],), m.astype(np.int64)[None])
    left, share = place.left[0, h], place.share[0, h][:, None]
    logs = np.log(grid)
    read = (1.0 - share) * logs[g, i, j, left] + share * logs[g, i, j, left + 1]
    return np.asarray(np.exp(read))


def site_halves(axes: Axes) -> NDArray[np.int64]:
    """Which half, 0 or 1, each site [N, K] is in: quantiles of one are calibrated on the other."""
    return _site_quarters(axes) % 2


def _site_quarters(axes: Axes) -> NDArray[np.int64]:
    # two bits of one hash: another salt would shift a CRC by a constant, and tell nothing new
    return site_folds(axes, 4, salt="half")


def _chunks(nodes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, nodes.shape[1], _CHUNK):
        yield nodes[:, start : start + _CHUNK]
