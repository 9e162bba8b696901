"""Training the GEMM bundle: measurements in, `models/gemm` out, everything in between on record.

`fit` runs the stages (latency, intervals, transfer, power) and keeps each on disk until the bundle
is written, so that an interrupted training goes on where it stopped. `build` turns their results
into tables, the exported model and its card.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from perfcast.features.versions import version_key
from perfcast.predictors.assemble import coarse_nodes, node_offsets, widening
from perfcast.predictors.boosting import CrossFitBoosting
from perfcast.predictors.campaign import Axes, Campaign, Deployment
from perfcast.predictors.latency import fit_latency, frontier_axis
from perfcast.predictors.power import fit_power, fit_power_transfer
from perfcast.predictors.transfer import (
    fit_transfer,
    leave_one_gpu_out,
    unmeasured_deployments,
)
from perfcast.training.dataset import DataSet
from perfcast.training.gemm_needs import FAMILIES, family, require_enough
from perfcast.training.stages import Arrays, Stages

__all__ = ["Fit", "Options", "fit", "newest_positions", "transfer_errors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a GEMM bundle is trained. The defaults made the shipped one."""

    trees: int = 300
    """At most this many boosted trees in each fold's model."""
    patience: int = 30
    """Boosting stops after this many trees without gain on the fold left out; 0: never."""
    depth: int = 9
    folds: int = 5
    """Folds of sites: each is predicted by models that saw only the others."""
    coverage: float = 0.9
    """Nominal coverage of the intervals."""
    seed: int = 0
    threads: int = 2


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
    per_octave: NDArray[np.float64]
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
    campaign = _campaign(data, "latency_ms")
    power_campaign = _power_campaign(data, campaign)
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
    whole["between_nodes"], whole["per_octave"] = np.empty(count), np.empty(count)
    present = {family(d.gpu) for d in campaign.deployments}
    stages.expected = 2 * len(present) + 2
    for kin in FAMILIES:
        members = [i for i, d in enumerate(campaign.deployments) if family(d.gpu) == kin]
        if kin not in present:
            continue
        part = campaign.select(members)
        latency = stages.run(f"latency-{kin}", partial(_latency, part, options, report))
        offsets = stages.run(
            f"intervals-{kin}",
            partial(_intervals, part, latency, coarse, options),
        )
        for name, values in {**latency, **offsets}.items():
            whole[name][members] = values
    transfer = stages.run(
        "transfer", lambda: _transfer(campaign, whole["constants"], options, report)
    )
    log_latency = whole["log_floor"] + whole["log_ratio"]
    unmeasured = tuple(unmeasured_deployments(campaign))
    power = stages.run(
        "power",
        lambda: _power(
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


def _campaign(data: DataSet, quantity: str) -> Campaign:
    names = ("gpu", "framework", "framework_version", "dtype", "m", "n", "k")
    columns = {name: data[name] for name in names}
    grid = Campaign.from_columns(columns, data[quantity])
    n, k = frontier_axis(grid.axes.n), frontier_axis(grid.axes.k)
    return Campaign.from_columns(columns, data[quantity], axes=Axes(n, k, grid.axes.m))


def _power_campaign(data: DataSet, campaign: Campaign) -> Campaign:
    """Power on the latency's axes, only of deployments that have any."""
    power = Campaign.from_columns(
        {name: data[name] for name in data.keys}, data["power_w"], axes=campaign.axes
    )
    kept = [g for g in range(len(power.deployments)) if np.isfinite(power.values[g]).any()]
    return power.select(kept)


def _boosting(options: Options, **changes: float) -> CrossFitBoosting:
    model = CrossFitBoosting(
        folds=options.folds,
        trees=options.trees,
        depth=options.depth,
        patience=options.patience,
        threads=options.threads,
        seed=options.seed,
    )
    model.set_params(**changes)
    return model


def _latency(campaign: Campaign, options: Options, report: Callable[[str], None]) -> Arrays:
    nodes = fit_latency(campaign, boosting=_boosting(options), seed=options.seed, progress=report)
    return {
        "constants": nodes.constants,
        "log_floor": nodes.log_floor,
        "log_ratio": nodes.log_ratio,
        "error": nodes.error,
        "frontier_error": nodes.frontier_error,
    }


def _intervals(
    campaign: Campaign, latency: Arrays, coarse: NDArray[np.int64], options: Options
) -> Arrays:
    grid, left_out, nodes = node_offsets(
        campaign, latency["log_floor"], latency["log_ratio"], latency["error"],
        coarse=coarse, coverage=options.coverage, seed=options.seed, threads=options.threads,
    )  # fmt: skip
    scattered = np.full((*latency["error"].shape, 2), np.nan)
    scattered[tuple(nodes)] = left_out
    between, beyond = np.empty(len(grid)), np.empty(len(grid))
    for g in range(len(grid)):
        between[g], beyond[g] = widening(
            campaign.axes, latency["log_ratio"][g], latency["error"][g],
            latency["frontier_error"][g], scattered[g], options.coverage,
        )  # fmt: skip
    return {
        "offsets": grid,
        "left_out_offsets": scattered,
        "between_nodes": between,
        "per_octave": beyond,
    }


def _transfer(
    campaign: Campaign,
    constants: NDArray[np.float64],
    options: Options,
    report: Callable[[str], None],
) -> Arrays:
    settings = {"folds": 1, "trees": 250, "depth": 7, "learning_rate": 0.08, "slope": 0.1}
    settings |= {"clip": 2.0, "subsample": 0.6, "columns": 0.6, "min_rows": 30.0, "patience": 0}
    error = np.full_like(campaign.values, np.nan, dtype=np.float32)
    boosting = _boosting(options, **settings)
    for g, values in leave_one_gpu_out(campaign, constants, boosting=boosting, seed=options.seed):
        report(f"leaving out {campaign.deployments[g].gpu}")
        error[g] = values
    model = fit_transfer(campaign, constants, boosting=boosting, seed=options.seed)
    wanted = unmeasured_deployments(campaign)
    floors = np.empty((len(wanted), *campaign.axes.shape))
    ratios = np.empty_like(floors)
    for position, deployment in enumerate(wanted):
        floors[position], ratios[position] = model.predict(deployment, campaign.axes)
    typical = [model.typical[d.framework, d.dtype] for d in wanted]
    return {
        "error": error,
        "log_floor": floors,
        "log_ratio": ratios,
        "constants": np.array(typical).reshape(len(wanted), 7),
    }


def _power(
    campaign: Campaign,
    power: Campaign,
    log_latency: NDArray[np.float64],
    unmeasured: tuple[Deployment, ...],
    unmeasured_log_latency: NDArray[np.float64],
    coarse: NDArray[np.int64],
    options: Options,
) -> Arrays:
    positions = [campaign.deployments.index(d) for d in power.deployments]
    known = log_latency[positions]
    nodes = fit_power(
        power, known, boosting=_boosting(options, depth=8, learning_rate=0.06, slope=0.03, clip=0.7)
    )
    offsets, left_out, where = node_offsets(
        power, known, nodes.log_power, nodes.error,
        coarse=coarse, coverage=options.coverage, seed=options.seed, threads=options.threads,
    )  # fmt: skip
    scattered = np.full((*nodes.error.shape, 2), np.nan)
    scattered[tuple(where)] = left_out
    transfer = fit_power_transfer(
        power, known, seed=options.seed,
        boosting=_boosting(options, trees=150, depth=4, slope=1.0, clip=4.0, patience=0),
    )  # fmt: skip
    everywhere = np.concatenate([log_latency, unmeasured_log_latency])
    log_power = np.empty_like(everywhere)
    for position, deployment in enumerate((*campaign.deployments, *unmeasured)):
        if deployment in power.deployments:
            full = nodes.log_power[power.deployments.index(deployment)]
        else:
            full = transfer.predict(deployment, campaign.axes, everywhere[position])
        log_power[position] = full
    return {
        "log_power": log_power,
        "full": nodes.log_power,
        "error": nodes.error,
        "offsets": offsets,
        "left_out_offsets": scattered,
        **{f"transfer_error_{gpu}": error for gpu, error in transfer.errors.items()},
    }
