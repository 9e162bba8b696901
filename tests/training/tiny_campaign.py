"""A measuring campaign small enough to train on in seconds, whose truth is known everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features.hardware import GPUS
from perfcast.predictors.campaign import Axes, Deployment, site_lanes
from perfcast.training.gemm import Options
from tests.predictors.campaigns import campaign, columns_of, log_truth
from tests.training.measurements import write

__all__ = ["AXES", "DEPLOYMENTS", "GAP", "OPTIONS", "POWERED", "columns", "truth", "write"]

DEPLOYMENTS = (
    Deployment("a100_sxm", "vllm", "0.14.0", "bfloat16"),
    Deployment("b200_sxm", "vllm", "0.24.0", "bfloat16"),
    Deployment("b200_sxm", "vllm", "0.24.0", "fp8"),
    Deployment("h100_sxm", "vllm", "0.9.0", "bfloat16"),
    Deployment("h100_sxm", "vllm", "0.24.0", "bfloat16"),
    Deployment("h200_sxm", "trtllm", "1.3.0rc20", "fp8"),
    Deployment("h200_sxm", "vllm", "0.24.0", "bfloat16"),
    Deployment("h200_sxm", "vllm", "0.24.0", "fp8"),
)
"""In the campaign's order."""

POWERED = (*DEPLOYMENTS[1:3], *DEPLOYMENTS[6:8])
"""Those whose power was measured: on two GPUs."""

GAP = (DEPLOYMENTS[0], 256)
"""A deployment and the one value of m that it was not measured at."""

# half an octave apart at the end: further out, past frontiers do not count
_SIZES = np.array([128.0, 512.0, 1024.0, 2048.0, 4096.0, 5632.0, 7680.0])
AXES = Axes(
    n=_SIZES, k=_SIZES, m=np.array([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 2048.0, 4096.0, 8192.0])
)
OPTIONS = Options(trees=8, depth=3, folds=2, threads=1)


def truth(
    deployments: Sequence[Deployment] = DEPLOYMENTS, axes: Axes = AXES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Noiseless latency in ms and power in W at every node, both [G, N, K, M]."""
    latency = np.exp(log_truth(deployments, axes))
    power = np.empty_like(latency)
    for g, deployment in enumerate(deployments):
        compute_ms, memory_ms, _ = site_lanes(deployment, axes)
        busy = 1.1 * compute_ms / latency[g] + 0.4 * memory_ms / latency[g]
        power[g] = GPUS[deployment.gpu].tdp_w * (0.25 + 0.7 * np.minimum(busy, 1.0))
    return latency, power


def columns(
    deployments: Sequence[Deployment] = DEPLOYMENTS,
    *,
    powered: Sequence[Deployment] = POWERED,
    axes: Axes = AXES,
    seed: int = 0,
) -> dict[str, list[Any]]:
    """The campaign as a file's columns, rows in random order, `GAP` and all other power null."""
    measured = campaign(deployments, axes, seed=seed)
    names, latency = columns_of(measured, seed)
    noise = np.exp(0.01 * np.random.default_rng(seed + 1).standard_normal(measured.values.shape))
    watts = truth(deployments, axes)[1] * noise
    for position, deployment in enumerate(deployments):
        if deployment not in powered:
            watts[position] = np.nan
    place = {deployment: g for g, deployment in enumerate(deployments)}
    g = [
        place[Deployment(*key)] for key in zip(*(names[f] for f in Deployment._fields), strict=True)
    ]
    i, j, h = (np.searchsorted(getattr(axes, name), names[name]) for name in "nkm")
    power = watts[g, i, j, h]
    table: dict[str, list[Any]] = {name: values.tolist() for name, values in names.items()}
    table["latency_ms"] = latency.tolist()
    table["power_w"] = [None if np.isnan(w) else w for w in power.tolist()]
    kept = [
        row
        for row in range(len(latency))
        if not (deployments[g[row]] == GAP[0] and table["m"][row] == GAP[1])
    ]
    return {name: [values[row] for row in kept] for name, values in table.items()}
