"""The stages of a GEMM training, each from measurements and earlier arrays to its own arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcast.predictors.assemble import widening
from perfcast.predictors.boosting import CrossFitBoosting
from perfcast.predictors.campaign import Axes, Campaign, Deployment
from perfcast.predictors.latency import fit_latency, frontier_axis
from perfcast.predictors.lattice import Lattice
from perfcast.predictors.offsets import node_offsets
from perfcast.predictors.power import fit_power, fit_power_transfer
from perfcast.predictors.transfer import (
    fit_transfer,
    leave_one_gpu_out,
    unmeasured_deployments,
)
from perfcast.training.dataset import DataSet
from perfcast.training.stages import Arrays

__all__ = [
    "Options",
    "intervals_stage",
    "latency_campaign_of",
    "latency_stage",
    "power_campaign_of",
    "power_stage",
    "transfer_stage",
]


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


def latency_campaign_of(data: DataSet) -> Campaign:
    """Latency in ms of every deployment in `data`, on axes that reach one node beyond."""
    names = ("gpu", "framework", "framework_version", "dtype", "m", "n", "k")
    columns = {name: data[name] for name in names}
    grid = Campaign.from_columns(columns, data["latency_ms"])
    n, k = frontier_axis(grid.axes.n), frontier_axis(grid.axes.k)
    return Campaign.from_columns(columns, data["latency_ms"], axes=Axes(n, k, grid.axes.m))


def power_campaign_of(data: DataSet, campaign: Campaign) -> Campaign:
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


def latency_stage(campaign: Campaign, options: Options, report: Callable[[str], None]) -> Arrays:
    """The fields of `LatencyNodes` for one family of GPUs."""
    nodes = fit_latency(campaign, boosting=_boosting(options), seed=options.seed, progress=report)
    return {
        "constants": nodes.constants,
        "log_floor": nodes.log_floor,
        "log_ratio": nodes.log_ratio,
        "error": nodes.error,
        "frontier_error": nodes.frontier_error,
    }


def intervals_stage(
    campaign: Campaign, latency: Arrays, coarse: NDArray[np.int64], options: Options
) -> Arrays:
    """Offsets at the `coarse` values of m and at left-out rows, and how they widen elsewhere."""
    stored = Lattice.pack(latency["log_ratio"], np.float16).unpack()
    error = latency["error"] + latency["log_ratio"] - stored
    grid, left_out, nodes = node_offsets(
        campaign, latency["log_floor"], latency["log_ratio"], error,
        coarse=coarse, coverage=options.coverage, seed=options.seed, threads=options.threads,
    )  # fmt: skip
    scattered = np.full((*latency["error"].shape, 2), np.nan)
    scattered[tuple(nodes)] = left_out
    between, beyond = np.empty((len(grid), 3)), np.empty(len(grid))
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


def transfer_stage(
    campaign: Campaign,
    constants: NDArray[np.float64],
    options: Options,
    report: Callable[[str], None],
) -> Arrays:
    """Errors of every GPU left out, and what the others say about those never measured."""
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


def power_stage(
    campaign: Campaign,
    power: Campaign,
    log_latency: NDArray[np.float64],
    unmeasured: tuple[Deployment, ...],
    unmeasured_log_latency: NDArray[np.float64],
    coarse: NDArray[np.int64],
    options: Options,
) -> Arrays:
    """Power everywhere: fitted where it was measured, transferred elsewhere; errors left out."""
    positions = [campaign.deployments.index(d) for d in power.deployments]
    known = log_latency[positions]
    nodes = fit_power(
        power, known, boosting=_boosting(options, depth=8, learning_rate=0.06, slope=0.03, clip=0.7)
    )
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
    # the bundle rounds power to steps of about 1 %: intervals have to hold that too
    packed = Lattice.pack(np.concatenate([log_power, nodes.log_power]), np.uint8)
    stored = packed.unpack()[len(log_power) :]
    offsets, left_out, where = node_offsets(
        power, known, nodes.log_power, nodes.error + nodes.log_power - stored,
        coarse=coarse, coverage=options.coverage, seed=options.seed, threads=options.threads,
    )  # fmt: skip
    scattered = np.full((*nodes.error.shape, 2), np.nan)
    scattered[tuple(where)] = left_out
    return {
        "log_power": log_power,
        "full": nodes.log_power,
        "error": nodes.error,
        "offsets": offsets,
        "left_out_offsets": scattered,
        **{f"transfer_error_{gpu}": error for gpu, error in transfer.errors.items()},
    }
