"""What measurements must hold to train a GEMM bundle on, said before the long part begins."""

from __future__ import annotations

import numpy as np

from perfcast.errors import DataError
from perfcast.features.hardware import GPUS
from perfcast.predictors.campaign import Campaign
from perfcast.predictors.latency import site_folds
from perfcast.predictors.offsets import site_halves

__all__ = ["FAMILIES", "family", "require_enough"]

FAMILIES = ("hopper", "blackwell", "other")


def family(gpu: str) -> str:
    """GPUs whose kernels have enough in common to learn from each other."""
    architecture = GPUS[gpu].architecture
    if architecture in ("blackwell", "blackwell_ultra"):
        return "blackwell"
    return architecture if architecture == "hopper" else "other"


def require_enough(latency: Campaign, power: Campaign, *, folds: int) -> None:
    """Raise `DataError`, naming the column, for measurements too few to fit or to judge a fit.

    `power` has the deployments of which any power was measured.
    """
    if len(latency.axes.m) < 2:
        raise DataError(
            f"column m: {latency.axes.m[0]:.0f} in every row; needs two values at least"
        )
    if not power.deployments:
        raise DataError("column power_w: empty in every row; needs one deployment's power at least")
    for name in FAMILIES:
        members = [i for i, d in enumerate(latency.deployments) if family(d.gpu) == name]
        if members:
            _require_sites(f"column latency_ms, {name} GPUs", latency.select(members), folds)
    _require_sites("column power_w", power, folds)


def _require_sites(what: str, campaign: Campaign, folds: int) -> None:
    """Whichever fold or half of the sites is left out, others must be left to learn from."""
    axes, sites = campaign.axes, np.asarray(campaign.measured.any(axis=0))
    for parts in (site_folds(axes, folds), site_halves(axes)):
        if len(np.unique(parts[sites])) < 2:
            raise DataError(
                f"{what}: measured at {int(sites.sum())} pairs of n and k only, too few to "
                "predict some from others"
            )
