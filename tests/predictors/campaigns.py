"""Synthetic campaigns for tests: a known floor times a smooth surface, and a little noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.predictors.boosting import CrossFitBoosting
from perfcast.predictors.campaign import Axes, Campaign, Deployment, site_lanes
from perfcast.predictors.floor import evaluate

H100 = Deployment("h100_sxm", "vllm", "0.24.0", "bfloat16")
H200 = Deployment("h200_sxm", "vllm", "0.24.0", "bfloat16")
H200_TRTLLM = Deployment("h200_sxm", "trtllm", "1.3.0rc20", "bfloat16")
DEPLOYMENTS = (H100, H200_TRTLLM, H200)

CONSTANTS = np.array([4e-3, 2e-3, 1.3, 1.25, 2.0, 4e-7, 5e-4])
"""A floor as calibration finds it: host 4 us, launch 2 us, 77 % and 80 % of the peaks."""

SIZES = np.array([64.0, 256.0, 1024.0, 2048.0, 4096.0, 8192.0])
AXES = Axes(n=SIZES, k=SIZES, m=np.array([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 8192.0]))


def constants_of(deployments: Sequence[Deployment] = DEPLOYMENTS) -> NDArray[np.float64]:
    """The true constants [G, 7]: those of trtllm are 10 % better."""
    share = np.array([0.9 if d.framework == "trtllm" else 1.0 for d in deployments])
    constants = np.tile(CONSTANTS, (len(deployments), 1))
    constants[:, 2:4] *= share[:, None]
    return constants


def log_truth(
    deployments: Sequence[Deployment] = DEPLOYMENTS, axes: Axes = AXES
) -> NDArray[np.float64]:
    """The logarithm of the noiseless time in ms at every node [G, N, K, M]."""
    n, k = np.log2(axes.n)[:, None, None], np.log2(axes.k)[None, :, None]
    m = np.log2(axes.m)[None, None, :]
    excess = 0.15 * np.sin(0.5 * n) + 0.12 * np.cos(0.4 * k) + 0.03 * np.sin(0.6 * m + 0.2 * n)
    rows = np.broadcast_to(axes.k[None, :, None], axes.shape)
    floors = [
        np.log(evaluate(constant, site_lanes(deployment, axes), rows))
        for deployment, constant in zip(deployments, constants_of(deployments), strict=True)
    ]
    return np.stack(floors) + excess


def campaign(
    deployments: Sequence[Deployment] = DEPLOYMENTS,
    axes: Axes = AXES,
    *,
    noise: float = 0.003,
    seed: int = 0,
) -> Campaign:
    """Every node measured once."""
    truth = log_truth(deployments, axes)
    error = noise * np.random.default_rng(seed).standard_normal(truth.shape)
    return Campaign(tuple(deployments), axes, np.exp(truth + error))


def columns_of(measured: Campaign, seed: int = 0) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """The campaign's finite values as rows in random order: input columns and values."""
    g, i, j, h = np.nonzero(np.isfinite(measured.values))
    order = np.random.default_rng(seed).permutation(len(g))
    g, i, j, h = g[order], i[order], j[order], h[order]
    columns: dict[str, Any] = {
        name: np.array([getattr(measured.deployments[x], name) for x in g], dtype=object)
        for name in Deployment._fields
    }
    columns |= {"n": measured.axes.n[i].astype(np.int64), "k": measured.axes.k[j].astype(np.int64)}
    columns["m"] = measured.axes.m[h].astype(np.int64)
    return columns, measured.values[g, i, j, h]


def boosting(**changes: Any) -> CrossFitBoosting:
    """A small booster, on one core."""
    settings = {"folds": 3, "trees": 15, "depth": 4, "learning_rate": 0.3, "min_rows": 5.0}
    return CrossFitBoosting(**{**settings, "threads": 1, **changes})
