from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.features.hardware import GPUS
from perfcast.predictors.campaign import Campaign, Deployment, site_lanes
from perfcast.predictors.power import (
    PowerNodes,
    PowerTransfer,
    fit_power,
    fit_power_transfer,
)
from tests.predictors.campaigns import AXES, DEPLOYMENTS, H200, boosting, log_truth

L40S = H200._replace(gpu="l40s")
POWERED = (*DEPLOYMENTS, L40S)
HELD = np.zeros((6, 6), dtype=bool)
HELD[2, 3] = HELD[4, 1] = True
SETTINGS = {"folds": 2, "trees": 60, "slope": 1.0, "clip": 4.0, "columns": 1.0}


def log_power(deployments: tuple[Deployment, ...], idle: float = 0.2) -> NDArray[np.float64]:
    """Idle draw plus what busy compute units and memory take, as shares of the TDP."""
    latency = np.exp(log_truth(deployments))
    found = np.empty_like(latency)
    for g, deployment in enumerate(deployments):
        compute, memory = (lane / latency[g] for lane in site_lanes(deployment, AXES)[:2])
        found[g] = GPUS[deployment.gpu].tdp_w * np.minimum(idle + 0.5 * compute + 0.3 * memory, 1)
    return np.log(found)


def powered(deployments: tuple[Deployment, ...] = POWERED, noise: float = 0.003) -> Campaign:
    truth = log_power(deployments)
    error = noise * np.random.default_rng(0).standard_normal(truth.shape)
    return Campaign(deployments, AXES, np.exp(truth + error))


@pytest.fixture(scope="module")
def nodes() -> PowerNodes:
    return fit_power(powered().without(HELD), log_truth(POWERED), boosting=boosting())


@pytest.fixture(scope="module")
def transfer() -> PowerTransfer:
    return fit_power_transfer(powered(), log_truth(POWERED), boosting=boosting(**SETTINGS))


def test_every_node_is_answered(nodes: PowerNodes) -> None:
    error = np.abs(nodes.log_power - log_power(POWERED))
    assert np.isfinite(error).all()
    assert np.median(error[:, ~HELD]) < 0.02, "left out"
    assert np.median(error[:, HELD]) < 0.03, "never measured"


def test_errors_are_measured_minus_predicted(nodes: PowerNodes) -> None:
    measured = powered().without(HELD)
    seen = np.isfinite(measured.values)
    assert np.array_equal(np.isfinite(nodes.error), seen)
    expected = np.log(measured.values[seen]) - nodes.log_power[seen]
    assert nodes.error[seen] == pytest.approx(expected, abs=1e-12)


def test_it_repeats(nodes: PowerNodes) -> None:
    again = fit_power(powered().without(HELD), log_truth(POWERED), boosting=boosting())
    assert np.array_equal(again.log_power, nodes.log_power)


def test_a_site_does_not_vote_on_itself(nodes: PowerNodes) -> None:
    measured = powered().without(HELD)
    values = measured.values.copy()
    values[:, 3, 3] *= 3.0
    shifted = Campaign(POWERED, AXES, values)
    other = fit_power(shifted, log_truth(POWERED), boosting=boosting())
    assert np.abs(other.log_power - nodes.log_power)[:, 3, 3].max() < 0.15 * np.log(3.0)


def test_transfer_to_a_gpu_without_power(transfer: PowerTransfer) -> None:
    other = H200._replace(gpu="a100_sxm")
    found = transfer.predict(other, AXES, log_truth((other,))[0])
    assert found.shape == AXES.shape
    assert np.median(np.abs(found - log_power((other,))[0])) < 0.1


def test_the_limit_holds() -> None:
    """Even if every sensor that it learned from read a fifth more."""
    limits = [GPUS[deployment.gpu].tdp_w for deployment in POWERED]
    above = np.broadcast_to(1.2 * np.array(limits)[:, None, None, None], (4, *AXES.shape))
    hot = fit_power_transfer(
        Campaign(POWERED, AXES, above), log_truth(POWERED), boosting=boosting(**SETTINGS)
    )
    for deployment in (H200, H200._replace(gpu="l4")):
        found = hot.predict(deployment, AXES, log_truth((deployment,))[0])
        assert found == pytest.approx(np.log(GPUS[deployment.gpu].tdp_w), abs=1e-12)
    assert hot.errors["l40s"] == pytest.approx(np.log(1.2)), "errors are of what is answered"


def test_errors_by_gpu(transfer: PowerTransfer) -> None:
    """Each left out in turn: what a GPU itself draws moves its errors, not its prediction."""
    assert set(transfer.errors) == {"h100_sxm", "h200_sxm", "l40s"}
    assert len(transfer.errors["h200_sxm"]) == 2 * 6 * 6 * 8
    for error in transfer.errors.values():
        assert np.median(np.abs(error)) < 0.1
    measured = powered()
    values = measured.values.copy()
    values[3] *= 0.5
    halved = fit_power_transfer(
        Campaign(POWERED, AXES, values), log_truth(POWERED), boosting=boosting(**SETTINGS)
    )
    assert halved.errors["l40s"] == pytest.approx(transfer.errors["l40s"] + np.log(0.5), abs=1e-9)


def test_a_single_gpu_was_never_left_out() -> None:
    alone = fit_power_transfer(powered((H200,)), log_truth((H200,)), boosting=boosting(**SETTINGS))
    assert alone.errors == {}
    found = alone.predict(H200, AXES, log_truth((H200,))[0])
    assert np.median(np.abs(found - log_power((H200,))[0])) < 0.05


def test_rows_can_be_sampled() -> None:
    few = fit_power_transfer(
        powered(), log_truth(POWERED), boosting=boosting(**SETTINGS), rows_per_deployment=50
    )
    assert {gpu: len(error) for gpu, error in few.errors.items()} == {
        "h100_sxm": 50, "h200_sxm": 100, "l40s": 50,
    }  # fmt: skip
