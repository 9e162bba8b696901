"""Latency on a GPU that was never measured, from its data sheet and the GPUs that were.

The floor takes typical constants for the framework and dtype; what it misses is learned from
features in which GPUs are comparable: shares of the floor, waves per multiprocessor, operands
relative to the cache. The GPU's own peaks stay out of the features, or the trees would simply
recognise the GPUs they were shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features.gemm import device, tiling
from perfcast.features.hardware import GPUS, supports
from perfcast.features.versions import version_key
from perfcast.predictors.boosting import CrossFitBoosting
from perfcast.predictors.campaign import Axes, Campaign, Deployment, site_lanes
from perfcast.predictors.floor import evaluate

__all__ = ["Transfer", "fit_transfer", "leave_one_gpu_out", "unmeasured_deployments"]

_TILES = ((64, 64), (64, 128), (128, 128), (128, 256), (256, 128))
_DTYPES = ("bfloat16", "fp8", "fp8_block", "nvfp4", "int8_wo", "int4_wo", "sq")
_FRAMEWORKS = ("sglang", "trtllm", "vllm")
_NVIDIA_ONLY = ("sglang", "trtllm")


@dataclass(frozen=True, slots=True)
class Transfer:
    """A fitted transfer model: typical floor constants by framework and dtype, and the trees."""

    typical: dict[tuple[str, str], NDArray[np.float64]]
    boosting: CrossFitBoosting

    def predict(
        self, deployment: Deployment, axes: Axes
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`(log_floor, log_ratio)` at every node [N, K, M]."""
        constants = self.typical[deployment.framework, deployment.dtype]
        grid = np.indices(axes.shape).reshape(3, -1)
        features, log_floor = _features(deployment, axes, constants, grid)
        ratio = self.boosting.predict(features)
        return log_floor.reshape(axes.shape), ratio.reshape(axes.shape)


def fit_transfer(
    campaign: Campaign,
    constants: NDArray[np.float64],
    *,
    boosting: CrossFitBoosting,
    without_gpu: str | None = None,
    rows_per_gpu: int = 60_000,
    seed: int = 0,
) -> Transfer:
    """Fit on the newest deployments of `campaign`, GPUs in equal shares.

    `constants` [G, 7] calibrate the deployments' floors. `without_gpu` leaves one GPU out of
    everything, the typical constants included.
    """
    used = [g for g in _newest(campaign) if campaign.deployments[g].gpu != without_gpu]
    typical = _typical(campaign, constants, used)
    random = np.random.default_rng(seed)
    parts: list[NDArray[np.float32]] = []
    targets: list[NDArray[np.float64]] = []
    for gpu in sorted({campaign.deployments[g].gpu for g in used}):
        own = [g for g in used if campaign.deployments[g].gpu == gpu]
        share = max(1, rows_per_gpu // len(own))
        for g in own:
            nodes = np.array(np.nonzero(np.isfinite(campaign.values[g])))
            nodes = nodes[:, random.permutation(nodes.shape[1])[:share]]
            deployment = campaign.deployments[g]
            constant = typical[deployment.framework, deployment.dtype]
            features, log_floor = _features(deployment, campaign.axes, constant, nodes)
            parts.append(features)
            targets.append(np.log(campaign.values[g][tuple(nodes)]) - log_floor)
    X, y = np.concatenate(parts), np.concatenate(targets)
    boosting.fit(X, y, groups=random.integers(0, boosting.folds, len(y)))
    return Transfer(typical, boosting)


def leave_one_gpu_out(
    campaign: Campaign, constants: NDArray[np.float64], *, boosting: CrossFitBoosting, seed: int = 0
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """For each newest deployment its log error [N, K, M], predicted without its GPU.

    Deployments whose framework and dtype no other GPU was measured with are left out, so that a
    campaign on a single GPU yields nothing.
    """
    newest = _newest(campaign)
    gpus = sorted({campaign.deployments[g].gpu for g in newest})
    for gpu in gpus if len(gpus) > 1 else ():
        model = fit_transfer(campaign, constants, boosting=boosting, without_gpu=gpu, seed=seed)
        for g in newest:
            deployment = campaign.deployments[g]
            key = (deployment.framework, deployment.dtype)
            if deployment.gpu == gpu and key in model.typical:
                log_floor, log_ratio = model.predict(deployment, campaign.axes)
                yield g, np.log(campaign.values[g]) - log_floor - log_ratio


def unmeasured_deployments(campaign: Campaign) -> list[Deployment]:
    """What may be asked but was not measured, and can be transferred.

    The hardware must multiply the dtype, the framework must run on it, and the framework's dtype
    must have been measured on two other GPUs at least, or on one of the same architecture.
    """
    newest = [campaign.deployments[g] for g in _newest(campaign)]
    measured = {(d.gpu, d.framework, d.dtype) for d in newest}
    found = []
    for gpu in GPUS:
        for framework in _FRAMEWORKS:
            for dtype in _DTYPES:
                teachers = [d for d in newest if (d.framework, d.dtype) == (framework, dtype)]
                related = [d for d in teachers if _architecture(d.gpu) == _architecture(gpu)]
                if (
                    (gpu, framework, dtype) not in measured
                    and supports(gpu, dtype)
                    and not (framework in _NVIDIA_ONLY and GPUS[gpu].sm_version is None)
                    and (len({d.gpu for d in teachers}) > 1 or related)
                ):
                    version = max(
                        (d.framework_version for d in related or teachers), key=version_key
                    )
                    found.append(Deployment(gpu, framework, version, dtype))
    return found


def _features(
    deployment: Deployment, axes: Axes, constants: NDArray[np.float64], nodes: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Comparable features [R, F] and the log floor [R] of `nodes` [3, R] (n, k, m)."""
    i, j, h = nodes
    n, k, m = axes.n[i], axes.k[j], axes.m[h]
    facts = device(deployment.gpu, deployment.dtype)
    assert facts is not None, "callers ask only for dtypes that the hardware supports"
    compute_ms, memory_ms, waves = lanes = site_lanes(deployment, axes)[:, i, j, h]
    log_floor = np.log(evaluate(constants, lanes, k))
    a_bytes, b_bytes, c_bytes = facts.operand_bytes
    moved = m * k * a_bytes + n * k * b_bytes + m * n * c_bytes
    columns = [np.log2(m), np.log2(n), np.log2(k), log_floor]
    columns += [np.log(compute_ms) - log_floor, np.log(memory_ms) - log_floor, np.log(waves)]
    columns += [np.log(compute_ms / memory_ms), np.log(moved / facts.l2_bytes)]
    columns.append(np.log(n * k * b_bytes / facts.l2_bytes))
    for tile_m, tile_n in _TILES:
        columns += tiling(np, m, n, facts.num_sms, tile_m, tile_n)[:2]
    columns.append(np.ceil(m / 128.0) * 128.0 / m)
    columns.append(np.full(len(m), _FRAMEWORKS.index(deployment.framework), dtype=np.float64))
    columns.append(np.full(len(m), _DTYPES.index(deployment.dtype), dtype=np.float64))
    return np.stack(columns, axis=1).astype(np.float32), log_floor


def _typical(
    campaign: Campaign, constants: NDArray[np.float64], used: list[int]
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """The median constants (of logarithms) by framework and dtype."""
    found: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    for g in used:
        deployment = campaign.deployments[g]
        key = (deployment.framework, deployment.dtype)
        found.setdefault(key, []).append(np.log(constants[g]))
    return {key: np.exp(np.median(values, axis=0)) for key, values in found.items()}


def _newest(campaign: Campaign) -> list[int]:
    """Positions of the newest version of each GPU, framework and dtype."""
    last: dict[tuple[str, str, str], int] = {}
    for position, d in enumerate(campaign.deployments):
        last[d.gpu, d.framework, d.dtype] = position
    return sorted(last.values())


def _architecture(gpu: str) -> str:
    return GPUS[gpu].architecture
