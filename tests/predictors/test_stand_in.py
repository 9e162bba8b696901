from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.predictors.campaign import Axes, Campaign, Deployment
from perfcast.predictors.intervals import UNTESTED_OFFSET
from perfcast.predictors.stand_in import allowance, allowances, stand_ins

AXES = Axes(np.array([64.0, 128.0]), np.array([64.0, 128.0]), np.array([1.0, 8.0, 64.0]))
OLD, MID, NEW = (
    Deployment("h200_sxm", "vllm", version, "bfloat16") for version in ("0.9.0", "0.22.0", "0.24.0")
)
ALONE = Deployment("h200_sxm", "trtllm", "1.3.0", "bfloat16")
ELSEWHERE = tuple(d._replace(gpu="b200_sxm") for d in (MID, NEW))


def world(
    deployments: tuple[Deployment, ...], log_latency: list[float], offset: float = 0.05
) -> tuple[Campaign, NDArray[np.float64], NDArray[np.float64]]:
    """Deployments whose predictions are exact and constant, and the width of their intervals."""
    shape = (len(deployments), *AXES.shape)
    predicted = np.broadcast_to(np.array(log_latency)[:, None, None, None], shape).copy()
    return Campaign(deployments, AXES, np.exp(predicted)), predicted, np.full((*shape, 2), offset)


def test_the_newest_other_version_answers() -> None:
    pairs = stand_ins(*world((OLD, MID, NEW, ALONE), [0.0, 0.1, 0.3, 0.0]))
    assert [(p.absent, p.answering) for p in pairs] == [(0, 2), (1, 2), (2, 1)]
    assert pairs[0].error == pytest.approx(np.full(AXES.shape, -0.3))
    assert pairs[2].missed == pytest.approx(np.full(12, 0.2 - 0.05))


def test_inside_the_interval_nothing_is_added() -> None:
    campaign, predicted, offsets = world((MID, NEW), [0.0, 0.01])
    known = allowances(campaign, stand_ins(campaign, predicted, offsets), 0.9)
    assert allowance(known, NEW) == 0.0


def test_the_allowance_covers_what_it_was_learnt_from() -> None:
    campaign, predicted, offsets = world((MID, NEW), [0.0, 0.0])
    random = np.random.default_rng(0)
    campaign = Campaign(
        campaign.deployments, AXES, np.exp(random.normal(0, 0.3, campaign.values.shape))
    )
    pairs = stand_ins(campaign, predicted, offsets)
    extra = allowance(allowances(campaign, pairs, 0.9), NEW)
    inside = np.concatenate([np.abs(pair.error).ravel() for pair in pairs]) <= 0.05 + extra
    assert 0.85 <= inside.mean() <= 1.0 and extra > 0.2


def test_gpus_count_alike() -> None:
    """One GPU's change does not vanish among another's many rows."""
    calm, wild = world((MID, NEW), [0.0, 0.0]), world(ELSEWHERE, [0.0, 0.5])
    campaign = Campaign(
        (*calm[0].deployments, *wild[0].deployments), AXES,
        np.concatenate([calm[0].values, wild[0].values]),
    )  # fmt: skip
    campaign.values[2:, :, :, 1:] = np.nan
    predicted, offsets = (np.concatenate([calm[i], wild[i]]) for i in (1, 2))
    known = allowances(campaign, stand_ins(campaign, predicted, offsets), 0.9)
    assert allowance(known, NEW) == pytest.approx(0.45)


def test_without_an_example_the_widest_is_taken() -> None:
    known = {("vllm", "fp8"): 0.1, ("vllm", ""): 0.1, ("", ""): 0.4}
    assert allowance(known, NEW) == 0.1
    assert allowance(known, ALONE) == 0.4
    assert allowance({}, NEW) == UNTESTED_OFFSET
    campaign, predicted, offsets = world((ALONE,), [0.0])
    assert stand_ins(campaign, predicted, offsets) == []
    assert allowances(campaign, [], 0.9) == {}
    campaign, predicted, offsets = world((MID, NEW), [0.0, 0.2])
    known = allowances(campaign, stand_ins(campaign, predicted, offsets), 0.9)
    assert set(known) == {("vllm", "bfloat16"), ("vllm", ""), ("", "")}


def test_rows_measured_on_one_side_only_do_not_count() -> None:
    campaign, predicted, offsets = world((MID, NEW), [0.0, 0.2])
    campaign.values[1, 0] = np.nan
    offsets[0, 1, 0] = np.nan
    (to_new,) = [p for p in stand_ins(campaign, predicted, offsets) if p.absent == 1]
    assert np.isfinite(to_new.error).sum() == len(to_new.missed) == 3
