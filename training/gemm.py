"""Training the GEMM bundle: measurements in, `models/gemm` out, everything in between on record.

`fit` runs the stages (latency, intervals, transfer, power) and keeps each on disk until the bundle
is written, so that an interrupted training goes on where it stopped. `gemm_stages.py` has the
stages themselves; `gemm_bundle.py` turns their results into tables, the exported model, its card.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from perfcast.features.versions import version_key
from perfcast.predictors.campaign import Campaign, Deployment
from perfcast.predictors.offsets import coarse_nodes
from perfcast.predictors.transfer import unmeasured_deployments
from perfcast.training.dataset import DataSet
from perfcast.training.gemm_needs import FAMILIES, family, require_enough
from perfcast.training.gemm_stages import (
    Options,
    intervals_stage,
    latency_campaign_of,
    latency_stage,
    power_campaign_of,
    power_stage,
    transfer_stage,
)
from perfcast.training.stages import Arrays, Stages

__all__ = ["Fit", "Options", "fit", "newest_positions", "transfer_errors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What the stages found out. Arrays over measured deployments G and nodes [N, K, M]."""

    campaign: Campaign
    """Latency in ms of every measured deployment, on axes that reach one node beyond."""
    power: Campaign
    """Power in W of the deployments whose power was measured."""
    constants: NDArray[np.float64]
    log_floor: NDArray[np.float64]
    log_ratio: NDArray[np.float64]
    error: NDArray[np.float64]
    frontier_error: NDArray[np.float64]
    coarse: NDArray[np.int64]
    offsets: NDArray[np.float64]
    left_out_offsets: NDArray[np.float64]
    """Interval offsets [G, N, K, M, 2] for reporting: fitted and calibrated without the row."""
    between_nodes: NDArray[np.float64]
    """[G, 3]: how much wider intervals get between nodes of n, of k and of m."""
    per_octave: NDArray[np.float64]
    """[G]: how much wider they get for each octave beyond the measured range."""
    unmeasured: tuple[Deployment, ...]
    unmeasured_log_floor: NDArray[np.float64]
    unmeasured_log_ratio: NDArray[np.float64]
    unmeasured_constants: NDArray[np.float64]
    transfer_error: NDArray[np.float64]
    """[G, N, K, M]: measured minus predicted log time, the whole GPU left out; else NaN."""
    log_power: NDArray[np.float64]
    """[G + unmeasured, N, K, M]: kriged where it was measured, else transferred."""
    power_error: NDArray[np.float64]
    power_full: NDArray[np.float64]
    """[P, N, K, M]: log power of the powered deployments at every node, left out for its site."""
    power_offsets: NDArray[np.float64]
    power_left_out_offsets: NDArray[np.float64]
    power_transfer_errors: dict[str, NDArray[np.float64]]


def newest_positions(deployments: Sequence[Deployment]) -> list[int]:
    """Positions of the newest version for each GPU, framework and dtype."""
    best: dict[tuple[str, str, str], int] = {}
    for position, d in enumerate(deployments):
        key = (d.gpu, d.framework, d.dtype)
        rank = version_key(d.framework_version)
        if key not in best or rank > version_key(deployments[best[key]].framework_version):
            best[key] = position
    return sorted(best.values())


def fit(data: DataSet, *, options: Options, stages: Stages, report: Callable[[str], None]) -> Fit:
    """Run (or resume) every stage on the measurements `data`. Raises `DataError` for too few."""
    campaign = latency_campaign_of(data)
    power_campaign = power_campaign_of(data, campaign)
    require_enough(campaign, power_campaign, folds=options.folds)
    count = len(campaign.deployments)
    shape = (count, *campaign.axes.shape)
    coarse = coarse_nodes(campaign.axes.m, 12)
    whole: Arrays = {
        name: np.full(shape, np.nan)
        for name in ("log_floor", "log_ratio", "error", "frontier_error")
    }
    whole["constants"] = np.empty((count, 7))
    whole["offsets"] = np.empty((*shape[:3], len(coarse), 2))
    whole["left_out_offsets"] = np.full((*shape, 2), np.nan)
    whole["between_nodes"], whole["per_octave"] = np.empty((count, 3)), np.empty(count)
    present = {family(d.gpu) for d in campaign.deployments}
    stages.expected = 2 * len(present) + 2
    for kin in FAMILIES:
        members = [i for i, d in enumerate(campaign.deployments) if family(d.gpu) == kin]
        if kin not in present:
            continue
        part = campaign.select(members)
        latency = stages.run(f"latency-{kin}", partial(latency_stage, part, options, report))
        offsets = stages.run(
            f"intervals-{kin}",
            partial(intervals_stage, part, latency, coarse, options),
        )
        for name, values in {**latency, **offsets}.items():
            whole[name][members] = values
    transfer = stages.run(
        "transfer", lambda: transfer_stage(campaign, whole["constants"], options, report)
    )
    log_latency = whole["log_floor"] + whole["log_ratio"]
    unmeasured = tuple(unmeasured_deployments(campaign))
    power = stages.run(
        "power",
        lambda: power_stage(
            campaign,
            power_campaign,
            log_latency,
            unmeasured,
            transfer["log_floor"] + transfer["log_ratio"],
            coarse,
            options,
        ),
    )
    prefix = "transfer_error_"
    return Fit(
        campaign=campaign,
        power=power_campaign,
        coarse=coarse,
        unmeasured=unmeasured,
        unmeasured_log_floor=transfer["log_floor"],
        unmeasured_log_ratio=transfer["log_ratio"],
        unmeasured_constants=transfer["constants"],
        transfer_error=transfer["error"],
        log_power=power["log_power"],
        power_full=power["full"],
        power_error=power["error"],
        power_offsets=power["offsets"],
        power_left_out_offsets=power["left_out_offsets"],
        power_transfer_errors={
            name.removeprefix(prefix): values
            for name, values in power.items()
            if name.startswith(prefix)
        },
        **whole,
    )


def transfer_errors(
    fit: Fit, gpus: Collection[str]
) -> dict[str, dict[str, list[NDArray[np.float64]]]]:
    """The transfer's log errors by dtype and GPU, of `gpus` only."""
    found: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
    for g, deployment in enumerate(fit.campaign.deployments):
        if deployment.gpu in gpus:
            error = fit.transfer_error[g].astype(np.float64)
            found.setdefault(deployment.dtype, {}).setdefault(deployment.gpu, []).append(error)
    return found
