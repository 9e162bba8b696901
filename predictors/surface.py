"""The first two layers of the GEMM surrogate: a calibrated floor, and kriging of what it misses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcast.predictors.campaign import Campaign, site_lanes
from perfcast.predictors.floor import calibrate, evaluate
from perfcast.predictors.kriging import fit_kriging

__all__ = ["Surface", "fit_surface", "krige"]

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Surface:
    """What floor and kriging say about every node of a campaign, all [G, N, K, M].

    `log_floor` is the calibrated floor; `kriged` the predicted logarithm of time over it, each
    measured site as seen from the others; `residual` what was measured beyond both (NaN where
    nothing was). `constants` [G, 7] calibrate the floors.
    """

    campaign: Campaign
    constants: NDArray[np.float64]
    log_floor: NDArray[np.float64]
    kriged: NDArray[np.float64]
    residual: NDArray[np.float64]


def fit_surface(
    campaign: Campaign,
    *,
    start: NDArray[np.float64] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Surface:
    """Calibrate and krige each deployment of `campaign` (latencies in ms) on its own.

    `start` [G, 7] are constants of a similar campaign to start calibration from.
    """
    axes = campaign.axes
    constants = np.empty((len(campaign.deployments), 7))
    log_floor = np.empty_like(campaign.values)
    for g, deployment in enumerate(campaign.deployments):
        if progress is not None:
            progress("/".join(deployment))
        lanes = site_lanes(deployment, axes)
        k = np.broadcast_to(axes.k[None, :, None], axes.shape)
        seen = np.isfinite(campaign.values[g])
        constants[g] = calibrate(
            lanes[:, seen],
            k[seen],
            campaign.values[g][seen],
            start=None if start is None else start[g],
            seed=seed,
        )
        log_floor[g] = np.log(evaluate(constants[g], lanes, k))
    excess = np.log(campaign.values) - log_floor
    kriged = krige(campaign, excess)
    return Surface(campaign, constants, log_floor, kriged, excess - kriged)


def krige(campaign: Campaign, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kriged `values` [G, N, K, M] at every node, each measured site left out for itself.

    Values of m that a deployment was not measured at are interpolated in log m, and held
    constant beyond the first and the last.
    """
    axes = campaign.axes
    grid = np.stack(np.meshgrid(np.log2(axes.n), np.log2(axes.k), indexing="ij"), axis=-1)
    kriged = np.empty_like(values)
    for g in range(len(campaign.deployments)):
        here = campaign.measured[g]
        known = np.isfinite(values[g]).any(axis=(0, 1))
        model = fit_kriging(grid[here], _filled(values[g][here][:, known]))
        block = np.empty((*here.shape, int(known.sum())))
        block[here] = model.left_out
        block[~here] = model.predict(grid[~here])
        kriged[g] = _spread(np.log(axes.m[known]), np.log(axes.m), block)
    return kriged


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaps in [S, M] take the column's median, shifted by how far the row lies off the columns."""
    gaps = ~np.isfinite(values)
    if not gaps.any():
        return values
    column = np.nanmedian(values, axis=0)
    row = np.nanmedian(values - column, axis=1)
    return np.where(gaps, column[None, :] + row[:, None], values)


def _spread(
    known: NDArray[np.float64], wanted: NDArray[np.float64], block: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear interpolation of `block` [N, K, len(known)] along its last axis."""
    if len(known) == len(wanted):
        return block
    if len(known) == 1:
        return np.repeat(block, len(wanted), axis=-1)
    right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
    share = np.clip((wanted - known[right - 1]) / (known[right] - known[right - 1]), 0.0, 1.0)
    return block[..., right - 1] * (1.0 - share) + block[..., right] * share
