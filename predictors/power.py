"""Power while a GEMM repeats: kriged and boosted where it was measured, transferred elsewhere.

The transfer rests on utilisation. A GPU draws what its compute units and its memory are kept busy
with, so the predicted latency's share of the peaks says most, and power is predicted relative to
the board's limit (TDP).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features.hardware import GPUS
from perfcast.predictors.boosting import CrossFitBoosting
from perfcast.predictors.campaign import Axes, Campaign, Deployment, site_lanes
from perfcast.predictors.context import context
from perfcast.predictors.latency import site_folds
from perfcast.predictors.surface import Surface, krige

__all__ = ["PowerNodes", "PowerTransfer", "fit_power", "fit_power_transfer"]


@dataclass(frozen=True, slots=True)
class PowerNodes:
    """`log_power` (W) and measured minus predicted `error`, both [G, N, K, M]."""

    log_power: NDArray[np.float64]
    error: NDArray[np.float64]


def fit_power(
    campaign: Campaign, log_latency: NDArray[np.float64], *, boosting: CrossFitBoosting
) -> PowerNodes:
    """Fit `campaign` (power in W); `log_latency` [G, N, K, M] are predictions, not measurements.

    Every node is predicted without its own site, as in `latency.fit_latency`.
    """
    measured = np.log(campaign.values)
    kriged = krige(campaign, measured)
    residual = measured - kriged
    constants = np.full((len(campaign.deployments), 7), np.nan)
    surface = Surface(campaign, constants, log_latency, kriged, residual)
    fold = site_folds(campaign.axes, boosting.folds)
    nodes = np.array(np.nonzero(np.isfinite(residual)))
    features, groups = context(surface, nodes), fold[nodes[1], nodes[2]]
    boosting.fit(features, residual[tuple(nodes)], groups=groups)
    log_power = kriged.copy()
    log_power[tuple(nodes)] += boosting.predict_left_out(features, groups)
    rest = np.array(np.nonzero(~np.isfinite(residual)))
    log_power[tuple(rest)] += boosting.predict(context(surface, rest))
    return PowerNodes(log_power, measured - log_power)


@dataclass(frozen=True, slots=True)
class PowerTransfer:
    """Power on GPUs without any, and its errors when each measured GPU was left out in turn.

    `errors` maps a GPU to measured minus predicted log power [R]; empty if there was only one.
    """

    boosting: CrossFitBoosting
    errors: dict[str, NDArray[np.float64]]

    def predict(
        self, deployment: Deployment, axes: Axes, log_latency: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Log power (W) at every node, from predicted log latency: both [N, K, M]."""
        grid = np.indices(axes.shape).reshape(3, -1)
        features = _utilisation(deployment, axes, log_latency, grid)
        share = self.boosting.predict(features).reshape(axes.shape)
        limit = np.log(GPUS[deployment.gpu].tdp_w)
        return np.asarray(np.minimum(share, 0.0) + limit)


def fit_power_transfer(
    campaign: Campaign,
    log_latency: NDArray[np.float64],
    *,
    boosting: CrossFitBoosting,
    rows_per_deployment: int = 12_000,
    seed: int = 0,
) -> PowerTransfer:
    """Learn power relative to TDP from utilisation; one fold for each GPU."""
    random = np.random.default_rng(seed)
    gpus = sorted({d.gpu for d in campaign.deployments})
    boosting.set_params(folds=len(gpus))
    features, targets, groups = [], [], []
    for g, deployment in enumerate(campaign.deployments):
        nodes = np.array(np.nonzero(np.isfinite(campaign.values[g])))
        nodes = nodes[:, random.permutation(nodes.shape[1])[:rows_per_deployment]]
        features.append(_utilisation(deployment, campaign.axes, log_latency[g], nodes))
        share = campaign.values[g][tuple(nodes)] / GPUS[deployment.gpu].tdp_w
        targets.append(np.log(share))
        groups.append(np.full(nodes.shape[1], gpus.index(deployment.gpu)))
    X, y, group = np.concatenate(features), np.concatenate(targets), np.concatenate(groups)
    boosting.fit(X, y, groups=group)
    error = y - np.minimum(boosting.predict_left_out(X, group), 0.0)
    left_out = gpus if len(gpus) > 1 else ()  # a single GPU is never predicted by others
    return PowerTransfer(boosting, {gpu: error[group == i] for i, gpu in enumerate(left_out)})


def _utilisation(
    deployment: Deployment, axes: Axes, log_latency: NDArray[np.float64], nodes: NDArray[Any]
) -> NDArray[np.float32]:
    """Features [R, 3] of `nodes` [3, R]: shares of both peaks, waves.

    No more than that: with three GPUs to learn from, whatever tells them apart will be learnt as
    if it caused their power.
    """
    i, j, h = nodes
    compute_ms, memory_ms, waves = site_lanes(deployment, axes)[:, i, j, h]
    log_ms = log_latency[i, j, h]
    columns = [np.log(compute_ms) - log_ms, np.log(memory_ms) - log_ms, np.log(waves)]
    return np.stack(columns, axis=1).astype(np.float32)
