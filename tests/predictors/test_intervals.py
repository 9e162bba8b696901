from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcast.predictors.intervals import (
    MIN_OFFSET,
    UNTESTED_OFFSET,
    conformal_factor,
    fit_quantiles,
    raw_offsets,
    scores,
    tail_offsets,
)

Rows = tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]


@given(
    st.lists(st.integers(0, 10**6), min_size=12, max_size=80, unique=True),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_one_more_score_is_covered(values: list[int], coverage: float) -> None:
    """The conformal guarantee itself: any of R + 1 scores is as likely to be the one left out."""
    score = np.array(values, dtype=np.float64)
    held = [score[i] <= conformal_factor(np.delete(score, i), coverage) for i in range(len(score))]
    assert np.mean(held) >= coverage
    assert np.mean(held) <= coverage + 2.0 / len(score), "nor is it wider than it has to be"


def test_few_scores() -> None:
    assert conformal_factor(np.array([]), 0.9) == 1.0
    assert conformal_factor(np.array([0.5, 3.0]), 0.9) == 3.0, "the largest is all there is"


def test_scores_by_hand() -> None:
    error = np.array([-0.2, 0.2, 0.0, np.nan])
    found = scores(error, np.array([[0.1, 0.4]] * 4))
    assert found[:3].tolist() == [2.0, 0.5, 0.0]
    assert np.isnan(found[3])


def test_tails() -> None:
    error = np.linspace(-1.0, 3.0, 401)
    low, high = tail_offsets(error, 0.9)
    assert (low, high) == pytest.approx((0.8, 2.8))
    assert np.mean((error >= -low - 1e-9) & (error <= high + 1e-9)) == pytest.approx(0.9, abs=0.01)
    assert tail_offsets(np.array([]), 0.9) == (UNTESTED_OFFSET, UNTESTED_OFFSET)
    assert tail_offsets(np.full(5, 0.75), 0.9) == (MIN_OFFSET, 0.75)
    assert tail_offsets(np.full(5, -0.75), 0.9) == (0.75, MIN_OFFSET)


def rows(count: int, seed: int) -> Rows:
    """Errors that grow with the first feature, twice as large in group 1, skewed upwards."""
    random = np.random.default_rng(seed)
    X = random.uniform(0, 1, (count, 3)).astype(np.float32)
    group = random.integers(0, 2, count)
    noise = random.standard_normal(count)
    size = (0.01 + 0.1 * X[:, 0]) * (1 + group)
    return X, np.where(noise > 0, 2 * noise, noise) * size, group


def half(count: int) -> NDArray[np.bool_]:
    return np.asarray(np.arange(count) % 2 == 0)


Models = tuple[Any, Any]


@pytest.fixture(scope="module")
def fitted() -> Models:
    X, error, _ = rows(4_000, 0)
    return fit_quantiles(X, error, half=half(4_000), coverage=0.9, trees=25, depth=3, threads=1)


def test_width_follows_difficulty(fitted: Models) -> None:
    easy, hard = (np.array([[x, 0.5, 0.5]], dtype=np.float32) for x in (0.05, 0.95))
    for model in fitted:
        narrow, wide = raw_offsets(model, easy), raw_offsets(model, hard)
        assert (wide > 1.5 * narrow).all()
        assert (wide[:, 1] > 1.5 * wide[:, 0]).all(), "upwards more than downwards"


def test_each_model_knows_one_half() -> None:
    """Errors of the other half could be anything."""
    X, error, _ = rows(2_000, 0)
    changed = np.where(half(2_000), error, 10 * error)

    def fit(values: NDArray[np.float64]) -> Models:
        return fit_quantiles(
            X, values, half=half(2_000), coverage=0.9, trees=10, depth=3, threads=1
        )

    (first, second), (same, other) = fit(error), fit(changed)
    assert np.array_equal(raw_offsets(first, X), raw_offsets(same, X))
    assert (raw_offsets(other, X) > 2 * raw_offsets(second, X)).mean() > 0.9


def test_it_repeats(fitted: Models) -> None:
    X, error, _ = rows(4_000, 0)
    again = fit_quantiles(X, error, half=half(4_000), coverage=0.9, trees=25, depth=3, threads=1)
    for one, other in zip(fitted, again, strict=True):
        assert np.array_equal(raw_offsets(one, X), raw_offsets(other, X))


def test_no_timer_is_that_good() -> None:
    X, _, _ = rows(400, 2)
    silent = fit_quantiles(
        X, np.zeros(400), half=half(400), coverage=0.9, trees=3, depth=2, threads=1
    )
    for model in silent:
        assert raw_offsets(model, X) == pytest.approx(MIN_OFFSET)
