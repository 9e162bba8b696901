"""How far off an answer may be when it stands in for a framework version never measured.

Every pair of versions of one deployment is an example: the newest version but one answers for the
other. What its interval misses by is conformalised like everything else (the additive score of
Romano, Patterson, Candes 2019), for each framework and dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfcast.features.versions import version_key
from perfcast.predictors.campaign import Campaign, Deployment
from perfcast.predictors.intervals import UNTESTED_OFFSET, balanced, conformal_factor

__all__ = ["StandIn", "allowance", "allowances", "stand_ins"]


@dataclass(frozen=True, slots=True)
class StandIn:
    """One version answering for another: positions in the campaign, and what happened.

    `error` [N, K, M] is the absent version's measured minus the answering one's predicted log
    time, NaN where either was not measured; `missed` [R] is by how much each finite error lies
    outside the answer's interval (log units, negative inside).
    """

    answering: int
    absent: int
    error: NDArray[np.float64]
    missed: NDArray[np.float64]


def stand_ins(
    campaign: Campaign, log_latency: NDArray[np.float64], offsets: NDArray[np.float64]
) -> list[StandIn]:
    """Every measured version in turn answered by the newest of the others.

    `log_latency` [G, N, K, M] and `offsets` [G, N, K, M, 2] are those left out for a node's site,
    so that only the change of version is judged here.
    """
    found = []
    for absent, wanted in enumerate(campaign.deployments):
        others = [
            g
            for g, d in enumerate(campaign.deployments)
            if d._replace(framework_version=wanted.framework_version) == wanted and g != absent
        ]
        if not others:
            continue
        g = max(others, key=lambda o: version_key(campaign.deployments[o].framework_version))
        error = np.log(campaign.values[absent]) - log_latency[g]
        error = np.where(np.isfinite(offsets[g]).all(axis=-1), error, np.nan)
        missed = np.maximum(-error - offsets[g, ..., 0], error - offsets[g, ..., 1])
        found.append(StandIn(g, absent, error, missed[np.isfinite(missed)]))
    return found


def allowances(
    campaign: Campaign, pairs: Sequence[StandIn], coverage: float
) -> dict[tuple[str, str], float]:
    """What to add to both sides of the logarithmic interval, by framework and dtype.

    Under (framework, "") and ("", "") the largest, for combinations without an example. GPUs
    count alike, however many rows each has.
    """
    by: dict[tuple[str, str], dict[str, list[NDArray[np.float64]]]] = {}
    for pair in pairs:
        d = campaign.deployments[pair.absent]
        by.setdefault((d.framework, d.dtype), {}).setdefault(d.gpu, []).append(pair.missed)
    found = {}
    for key, gpus in by.items():
        missed = balanced([np.concatenate(parts) for parts in gpus.values()])
        if len(missed):
            found[key] = max(conformal_factor(missed, coverage), 0.0)
    for (framework, _), extra in list(found.items()):
        for wider in ((framework, ""), ("", "")):
            found[wider] = max(found.get(wider, 0.0), extra)
    return found


def allowance(known: Mapping[tuple[str, str], float], deployment: Deployment) -> float:
    """The entry of `allowances` for `deployment`; a factor of two where no pair was measured."""
    framework, dtype = deployment.framework, deployment.dtype
    for key in ((framework, dtype), (framework, ""), ("", "")):
        if key in known:
            return known[key]
    return UNTESTED_OFFSET
