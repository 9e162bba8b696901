"""The third layer's inputs: what a boosted tree is told about a node of a campaign."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfcast.features.gemm import device, tiling
from perfcast.features.hardware import GPUS
from perfcast.predictors.campaign import Deployment, site_lanes
from perfcast.predictors.surface import Surface

__all__ = ["FEATURES", "context", "siblings"]

_TILES = ((64, 64), (64, 128), (128, 128), (128, 256), (256, 128), (192, 128))
_STEPS = (-2, -1, 1, 2)
_FRAMEWORKS = ("sglang", "trtllm", "vllm")

FEATURES: tuple[str, ...] = (
    "log_m", "log_n", "log_k", "log_mn", "log_nk",
    "log_floor", "compute_share", "memory_share", "log_intensity", "num_sms",
    *(f"{kind}_{a}x{b}" for a, b in _TILES for kind in ("log_waves", "last_wave", "padding")),
    "deployment", "gpu", "framework", "dtype", "kriged",
    *(f"kriged_m{step:+d}" for step in _STEPS),
    *(f"kriged_{name}" for name in _FRAMEWORKS), "kriged_twin",
)  # fmt: skip


def context(surface: Surface, nodes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features [R, len(FEATURES)] of `nodes` [4, R] (indices of deployment, n, k, m).

    `kriged_*` compare the node with its neighbours in m, with the same shape under the other
    frameworks, and on the most similar GPU; all of them leave the node's own site out.
    """
    campaign, axes = surface.campaign, surface.campaign.axes
    g, i, j, h = nodes
    deployments = campaign.deployments
    n, k, m = axes.n[i], axes.k[j], axes.m[h]
    facts = [device(d.gpu, d.dtype) for d in deployments]
    num_sms = np.array([0.0 if f is None else f.num_sms for f in facts])[g]
    log_floor = surface.log_floor[g, i, j, h]
    compute_ms, memory_ms = np.empty(len(g)), np.empty(len(g))
    for position, deployment in enumerate(deployments):
        rows = g == position
        if rows.any():
            lanes = site_lanes(deployment, axes)[:, i[rows], j[rows], h[rows]]
            compute_ms[rows], memory_ms[rows] = lanes[0], lanes[1]
    columns = [np.log2(m), np.log2(n), np.log2(k), np.log2(m * n), np.log2(n * k)]
    columns += [log_floor, np.log(compute_ms) - log_floor, np.log(memory_ms) - log_floor]
    columns += [np.log(compute_ms / memory_ms), num_sms]
    for tile_m, tile_n in _TILES:
        columns += tiling(np, m, n, num_sms, tile_m, tile_n)
    columns.append(g.astype(np.float64))
    for part in ("gpu", "framework", "dtype"):
        names = sorted({getattr(d, part) for d in deployments})
        columns.append(
            np.array([names.index(getattr(d, part)) for d in deployments], dtype=np.float64)[g]
        )
    own = surface.kriged[g, i, j, h]
    columns.append(own)
    last = len(axes.m) - 1
    columns += [surface.kriged[g, i, j, np.clip(h + step, 0, last)] - own for step in _STEPS]
    related = siblings(deployments)
    for column in related.T:
        other = column[g]
        columns.append(np.where(other >= 0, surface.kriged[other, i, j, h] - own, np.nan))
    return np.stack(columns, axis=1).astype(np.float32)


def siblings(deployments: tuple[Deployment, ...]) -> NDArray[np.int64]:
    """For each deployment its siblings' positions [G, 4], -1 for none.

    Three for the same GPU and dtype under each framework, newest version; one for the same
    framework and dtype on the most similar other GPU of the same generation.
    """
    newest: dict[tuple[str, str, str], int] = {}
    for position, d in enumerate(deployments):  # sorted by version within a framework
        newest[d.gpu, d.framework, d.dtype] = position
    table = np.full((len(deployments), len(_FRAMEWORKS) + 1), -1, dtype=np.int64)
    for position, d in enumerate(deployments):
        for column, framework in enumerate(_FRAMEWORKS):
            table[position, column] = newest.get((d.gpu, framework, d.dtype), -1)
        twins = [
            (abs(np.log(GPUS[other].peak_bf16_tflops / GPUS[d.gpu].peak_bf16_tflops)), other)
            for other in GPUS
            if other != d.gpu
            and GPUS[other].sm_version is not None
            and _generation(other) == _generation(d.gpu)
            and (other, d.framework, d.dtype) in newest
        ]
        if twins:
            table[position, -1] = newest[min(twins)[1], d.framework, d.dtype]
    return table


def _generation(gpu: str) -> int:
    return (GPUS[gpu].sm_version or 0) // 10
