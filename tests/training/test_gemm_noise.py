from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perfcast.predictors.campaign import Campaign
from perfcast.training.gemm import Fit
from perfcast.training.gemm_noise import noise_summary
from tests.training.trained import Trained


@pytest.fixture(scope="module")
def shared(trained: Trained) -> Fit:
    """Two frameworks on one GPU, whose errors are one common part and one of their own."""
    fit = trained.fit
    pair = (fit.campaign.deployments[6], fit.campaign.deployments[6]._replace(framework="trtllm"))
    random = np.random.default_rng(0)
    common = random.normal(0, 0.04, fit.error.shape[1:])
    own = random.normal(0, 0.01, (2, *fit.error.shape[1:]))
    values = fit.campaign.values[[6, 6]]
    error = np.where(np.isfinite(values), common + own, np.nan)
    return dataclasses.replace(fit, campaign=Campaign(pair, fit.campaign.axes, values), error=error)


def test_what_is_common_can_be_told(shared: Fit) -> None:
    both = noise_summary(shared)
    assert [(row["framework"], row["told"]) for row in both] == [
        ("vllm", "trtllm"), ("trtllm", "vllm"),
    ]  # fmt: skip
    for row in both:
        assert (row["gpu"], row["dtype"]) == ("h200_sxm", "bfloat16")
        assert float(row["told_median_ape_percent"]) < 0.5 * float(row["alone_median_ape_percent"])
        assert float(row["told_p90_ape_percent"]) < 0.5 * float(row["alone_p90_ape_percent"])


def test_scatter_cannot_be_told(shared: Fit) -> None:
    scatter = np.random.default_rng(1).normal(0, 0.04, shared.error.shape)
    fit = dataclasses.replace(shared, error=np.where(np.isfinite(shared.error), scatter, np.nan))
    for row in noise_summary(fit):
        alone, told = (float(row[f"{name}_median_ape_percent"]) for name in ("alone", "told"))
        assert 0.9 * alone < told <= alone


def test_one_framework_alone_is_told_nothing(trained: Trained) -> None:
    rows = noise_summary(trained.fit)
    assert {(row["gpu"], row["dtype"]) for row in rows} == {("h200_sxm", "fp8")}
