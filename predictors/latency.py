"""GEMM latency on measured deployments: floor, kriging and boosting, evaluated at every grid node.

The three layers are fitted in that order, each on what the one before leaves. They are expensive
to evaluate and the grid is finite, so they are evaluated once, at its nodes; what ships is the
table (see `gemm.py`), which costs the same however large the ensemble behind it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcast.predictors.boosting import CrossFitBoosting
from perfcast.predictors.campaign import Axes, Campaign
from perfcast.predictors.context import context
from perfcast.predictors.surface import Surface, fit_surface

__all__ = ["LatencyNodes", "fit_latency", "frontier_axis", "site_folds"]

Progress = Callable[[str], None]

_CHUNK = 400_000
_LEVELS = 7
"""How many past frontiers the frontier model learns from."""
_LEAST_SITES = 4
"""What every deployment must keep below a past frontier for it to count."""


@dataclass(frozen=True, slots=True)
class LatencyNodes:
    """Latency at every node of a campaign, all [G, N, K, M] unless said otherwise.

    `log_floor` is the calibrated floor and `log_ratio` the predicted logarithm of time over it,
    never from the node's own site. `error` is measured minus predicted (log; NaN where nothing
    was measured). `frontier_error` is the same for past frontiers, each kriged from smaller
    shapes only and corrected by what the other frontiers taught. `constants` [G, 7] calibrate
    the floors.
    """

    constants: NDArray[np.float64]
    log_floor: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    error: NDArray[np.float64]
    frontier_error: NDArray[np.float64]


def site_folds(axes: Axes, folds: int, salt: str = "fold") -> NDArray[np.int64]:
    """A fold number for each site [N, K] by a hash of its n and k."""
    return np.array(
        [[zlib.crc32(f"{salt}{n:.0f}x{k:.0f}".encode()) % folds for k in axes.k] for n in axes.n]
    )


def frontier_axis(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The axis with one more node: the next power of two at least an eighth beyond the last."""
    beyond = 2.0 ** np.ceil(np.log2(nodes[-1] * 1.125))
    return np.append(nodes, beyond)


def fit_latency(
    campaign: Campaign,
    *,
    boosting: CrossFitBoosting,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> LatencyNodes:
    """Fit all layers to `campaign` (latency in ms) and evaluate them at every node.

    Nodes whose n or k lies beyond every measured one are answered by a model of their own. It
    learned what kriging misses when it has to extrapolate, from past frontiers: the grid cut off
    below a size, and that size predicted from what is left. Grids too small to have two of those
    are kriged alone there, and `frontier_error` is all NaN.
    """
    surface = fit_surface(
        campaign, seed=seed, progress=lambda name: progress(f"calibrating and kriging {name}")
    )
    fold = site_folds(campaign.axes, boosting.folds)
    nodes = _nodes(np.isfinite(surface.residual))
    groups = fold[nodes[1], nodes[2]]
    features = context(surface, nodes)
    boosting.fit(
        features,
        surface.residual[tuple(nodes)],
        groups=groups,
        progress=lambda done, of: progress(f"boosting: fold {done} of {of}"),
    )
    log_ratio = surface.kriged.copy()
    log_ratio[tuple(nodes)] += boosting.predict_left_out(features, groups)
    del features
    beyond = _beyond(campaign)
    elsewhere = ~np.isfinite(surface.residual) & ~beyond[..., None]
    for part in _chunks(_nodes(elsewhere)):
        log_ratio[tuple(part)] += boosting.predict(context(surface, part))
    frontier_error = np.full_like(log_ratio, np.nan)
    if beyond.any():
        _extrapolate(surface, beyond, boosting, log_ratio, frontier_error, seed, progress)
    error = np.log(campaign.values) - surface.log_floor - log_ratio
    return LatencyNodes(surface.constants, surface.log_floor, log_ratio, error, frontier_error)


def _extrapolate(
    surface: Surface,
    beyond: NDArray[np.bool_],
    boosting: CrossFitBoosting,
    log_ratio: NDArray[np.float64],
    frontier_error: NDArray[np.float64],
    seed: int,
    progress: Progress,
) -> None:
    """Learn from past frontiers; fill `log_ratio` beyond the grid and `frontier_error`."""
    campaign = surface.campaign
    size = np.maximum(campaign.axes.n[:, None], campaign.axes.k[None, :])
    measured_sizes = np.unique(size[campaign.measured.any(axis=0)])
    levels = [level for level in measured_sizes[-_LEVELS:] if _enough(campaign, size < level)]
    if len(levels) < 2:  # each is predicted by a model of the others
        return
    features, residuals, groups, kriged, places = [], [], [], [], []
    for position, level in enumerate(levels):
        progress(f"a past frontier: {level:.0f}")
        cut = fit_surface(campaign.without(size >= level), start=surface.constants, seed=seed)
        excess = np.log(campaign.values) - cut.log_floor
        # a deployment measured only below this level has nothing to teach about it
        here = np.isfinite(excess) & (size == level)[None, :, :, None]
        nodes = _nodes(here)
        features.append(_with_reach(cut, nodes))
        residuals.append(excess[tuple(nodes)] - cut.kriged[tuple(nodes)])
        kriged.append(cut.kriged[tuple(nodes)] + cut.log_floor[tuple(nodes)])
        groups.append(np.full(nodes.shape[1], position))
        places.append(nodes)
    # no frontier may decide when to stop: each is one example, and all are needed as judges
    changes = {"folds": len(levels), "clip": 0.5, "depth": 7, "trees": 200, "patience": 0}
    model = CrossFitBoosting(**{**boosting.get_params(), **changes})
    stacked, group = np.concatenate(features), np.concatenate(groups)
    model.fit(stacked, np.concatenate(residuals), groups=group)
    where = np.concatenate(places, axis=1)
    predicted = np.concatenate(kriged) + model.predict_left_out(stacked, group)
    frontier_error[tuple(where)] = np.log(campaign.values[tuple(where)]) - predicted
    for part in _chunks(_nodes(np.broadcast_to(beyond[..., None], log_ratio.shape))):
        log_ratio[tuple(part)] += model.predict(_with_reach(surface, part))


def _enough(campaign: Campaign, sites: NDArray[np.bool_]) -> bool:
    return bool(((campaign.measured & sites).sum(axis=(1, 2)) >= _LEAST_SITES).all())


def _with_reach(surface: Surface, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Context and how far n and k reach, in octaves, beyond the largest that were measured."""
    axes = surface.campaign.axes
    largest_n, largest_k = _largest(surface.campaign)
    reach = [
        np.maximum(np.log2(values[at] / largest[nodes[0]]), 0.0)
        for values, at, largest in ((axes.n, nodes[1], largest_n), (axes.k, nodes[2], largest_k))
    ]
    return np.column_stack([context(surface, nodes), *reach]).astype(np.float32)


def _beyond(campaign: Campaign) -> NDArray[np.bool_]:
    """Sites [G, N, K] with an n or a k above all that the deployment was measured at."""
    n, k = campaign.axes.n, campaign.axes.k
    largest_n, largest_k = _largest(campaign)
    return np.asarray((n[None, :, None] > largest_n[:, None, None])
                      | (k[None, None, :] > largest_k[:, None, None]))  # fmt: skip


def _largest(campaign: Campaign) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest n [G] and k [G] that each deployment was measured at."""
    n, k = campaign.axes.n, campaign.axes.k
    return (
        np.where(campaign.measured.any(axis=2), n, 0.0).max(axis=1),
        np.where(campaign.measured.any(axis=1), k, 0.0).max(axis=1),
    )


def _nodes(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.array(np.nonzero(mask), dtype=np.int64)


def _chunks(nodes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, nodes.shape[1], _CHUNK):
        yield nodes[:, start : start + _CHUNK]
