from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.features.hardware import GPUS, supports
from perfcast.predictors.campaign import Axes, Campaign, Deployment
from perfcast.predictors.transfer import (
    Transfer,
    fit_transfer,
    leave_one_gpu_out,
    unmeasured_deployments,
)
from tests.predictors.campaigns import AXES, H100, H200, boosting, campaign, constants_of, log_truth

L40S = H200._replace(gpu="l40s")
A100 = H200._replace(gpu="a100_sxm")
H200_TRTLLM_FP8 = Deployment("h200_sxm", "trtllm", "1.3.0rc20", "fp8")
SUPERSEDED = H200._replace(framework_version="0.9.0")
MEASURED = (A100, H100, H200_TRTLLM_FP8, SUPERSEDED, H200, L40S)
SETTINGS = {"folds": 1, "trees": 60, "depth": 5, "learning_rate": 0.15, "slope": 0.1, "clip": 2.0}


@pytest.fixture(scope="module")
def measured() -> Campaign:
    whole = campaign(MEASURED)
    values = whole.values.copy()
    values[3] *= 5.0  # what a superseded version took must not count
    return Campaign(whole.deployments, whole.axes, values)


@pytest.fixture(scope="module")
def constants() -> NDArray[np.float64]:
    return constants_of(MEASURED)


@pytest.fixture(scope="module")
def transfer(measured: Campaign, constants: NDArray[np.float64]) -> Transfer:
    return fit_transfer(measured, constants, boosting=boosting(**SETTINGS))


def test_a_gpu_that_was_measured(transfer: Transfer) -> None:
    log_floor, log_ratio = transfer.predict(H200, AXES)
    assert log_floor.shape == log_ratio.shape == AXES.shape
    error = np.abs(log_floor + log_ratio - log_truth((H200,))[0])
    assert np.median(error) < 0.05
    assert np.median(np.abs(log_floor - log_truth((H200,))[0])) > np.median(error)


def test_a_gpu_that_was_not(transfer: Transfer) -> None:
    other = H200._replace(gpu="b200_sxm")
    log_floor, log_ratio = transfer.predict(other, AXES)
    assert np.median(np.abs(log_floor + log_ratio - log_truth((other,))[0])) < 0.15
    small_floor, small_ratio = transfer.predict(H200._replace(gpu="l4"), AXES)
    slower = (small_floor + small_ratio - log_floor - log_ratio)[..., -1]
    assert (slower > 0).all(), "l4 against b200"


def test_other_axes(transfer: Transfer) -> None:
    axes = Axes(np.array([96.0]), np.array([16_384.0, 65_536.0]), np.array([3.0, 7.0, 100.0]))
    log_floor, log_ratio = transfer.predict(H100, axes)
    assert log_floor.shape == (1, 2, 3)
    assert np.abs(log_floor + log_ratio - log_truth((H100,), axes)[0]).max() < 0.5


def test_typical_constants_are_medians(measured: Campaign, constants: NDArray[np.float64]) -> None:
    varied = constants.copy()
    for row, factor in ((0, 1.0), (1, 2.0), (4, 16.0), (5, 8.0)):
        varied[row] *= factor
    varied[3] *= 1e3  # superseded
    fitted = fit_transfer(measured, varied, boosting=boosting(**{**SETTINGS, "trees": 1}))
    assert set(fitted.typical) == {("trtllm", "fp8"), ("vllm", "bfloat16")}
    assert fitted.typical["vllm", "bfloat16"] == pytest.approx(constants[0] * 4.0)
    assert fitted.typical["trtllm", "fp8"] == pytest.approx(varied[2])
    left = fit_transfer(
        measured, varied, boosting=boosting(**{**SETTINGS, "trees": 1}), without_gpu="h200_sxm"
    )
    assert set(left.typical) == {("vllm", "bfloat16")}
    assert left.typical["vllm", "bfloat16"] == pytest.approx(constants[0] * 2.0)


def test_gpus_have_equal_shares_and_a_seed(
    measured: Campaign, constants: NDArray[np.float64]
) -> None:
    few = [
        fit_transfer(
            measured, constants, boosting=boosting(**SETTINGS), rows_per_gpu=60, seed=seed
        ).predict(H200, AXES)[1]
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(few[0], few[1])
    assert not np.array_equal(few[0], few[2])


def left_out(measured: Campaign, constants: NDArray[np.float64]) -> dict[int, NDArray[np.float64]]:
    return dict(leave_one_gpu_out(measured, constants, boosting=boosting(**SETTINGS)))


def test_leaving_out_a_gpu(measured: Campaign, constants: NDArray[np.float64]) -> None:
    """Only newest deployments with a teacher elsewhere; the GPU's own times do not matter."""
    errors = left_out(measured, constants)
    assert sorted(errors) == [0, 1, 4, 5], "nobody else runs fp8 under trtllm"
    for error in errors.values():
        assert np.median(np.abs(error)) < 0.2
    values = measured.values.copy()
    values[4] *= 3.0
    slower = left_out(Campaign(measured.deployments, AXES, values), constants)
    assert slower[4] == pytest.approx(errors[4] + np.log(3.0), abs=1e-9)
    assert not np.allclose(slower[1], errors[1]), "but the others learned from them"


def test_a_single_gpu_leaves_nothing_to_learn_from() -> None:
    alone = campaign((H200,))
    assert left_out(alone, constants_of((H200,))) == {}


def test_unmeasured_deployments(measured: Campaign) -> None:
    found = unmeasured_deployments(measured)
    assert len(set(found)) == len(found)
    asked = {(d.gpu, d.framework, d.dtype) for d in found}
    assert not asked & {(d.gpu, d.framework, d.dtype) for d in MEASURED}
    assert all(supports(d.gpu, d.dtype) for d in found)
    # four GPUs teach vllm in bfloat16, to every vendor's; one teaches fp8 under trtllm, to hopper
    assert {gpu for gpu, framework, _ in asked if framework == "vllm"} == set(GPUS) - {
        "a100_sxm", "h100_sxm", "h200_sxm", "l40s",
    }  # fmt: skip
    assert {(g, d) for g, f, d in asked if f == "trtllm"} == {
        ("h100_pcie", "fp8"), ("h100_sxm", "fp8"),
    }  # fmt: skip
    assert all(d.framework_version == "0.24.0" for d in found if d.framework == "vllm")


def test_frameworks_that_need_nvidia() -> None:
    teachers = [H200._replace(gpu=gpu, framework="sglang") for gpu in ("h100_sxm", "h200_sxm")]
    found = {d.gpu for d in unmeasured_deployments(campaign(teachers))}
    assert "b200_sxm" in found and "b60" not in found
