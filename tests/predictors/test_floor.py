from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.predictors.campaign import site_lanes
from perfcast.predictors.floor import DEFAULT_CONSTANTS, calibrate, evaluate
from tests.predictors.campaigns import AXES, CONSTANTS, H200

RARE = np.random.default_rng(1).random(AXES.n.size * AXES.k.size * AXES.m.size) < 0.05


@pytest.fixture(scope="module")
def lanes() -> NDArray[np.float64]:
    return site_lanes(H200, AXES).reshape(3, -1)


@pytest.fixture(scope="module")
def k() -> NDArray[np.float64]:
    return np.broadcast_to(AXES.k[None, :, None], AXES.shape).ravel()


@pytest.fixture(scope="module")
def truth(lanes: NDArray[np.float64], k: NDArray[np.float64]) -> NDArray[np.float64]:
    return evaluate(CONSTANTS, lanes, k)


def off(value: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.abs(value / truth - 1))


def test_a_known_floor_is_found(
    lanes: NDArray[np.float64], k: NDArray[np.float64], truth: NDArray[np.float64]
) -> None:
    found = calibrate(lanes, k, truth)
    assert found.shape == (7,)
    assert off(evaluate(DEFAULT_CONSTANTS, lanes, k), truth).max() > 0.05
    assert off(evaluate(found, lanes, k), truth).max() < 0.01
    assert np.array_equal(calibrate(lanes, k, truth), found)


def test_disturbed_rows_do_not_bend_it(
    lanes: NDArray[np.float64], k: NDArray[np.float64], truth: NDArray[np.float64]
) -> None:
    found = calibrate(lanes, k, np.where(RARE, 3 * truth, truth))
    assert off(evaluate(found, lanes, k), truth).max() < 0.03


def test_a_start_close_by_saves_the_search(
    lanes: NDArray[np.float64], k: NDArray[np.float64], truth: NDArray[np.float64]
) -> None:
    found = calibrate(lanes, k, truth, start=CONSTANTS * 1.1)
    assert off(evaluate(found, lanes, k), truth).max() < 0.01


def test_constants_stay_physical(lanes: NDArray[np.float64], k: NDArray[np.float64]) -> None:
    """Absurd measurements, and a start outside the bounds, give bounded constants all the same."""
    for measured in (np.full(len(k), 1e-9), np.full(len(k), 1e6)):
        found = calibrate(lanes, k, measured, start=np.full(7, 1e9))
        assert np.isfinite(found).all() and (found > 0).all()
        assert found[2] >= 0.22 and found[4] <= 20
        assert np.isfinite(evaluate(found, lanes, k)).all()


def test_a_sample_is_enough(
    lanes: NDArray[np.float64], k: NDArray[np.float64], truth: NDArray[np.float64]
) -> None:
    few = calibrate(lanes, k, truth, max_rows=60, seed=3)
    assert off(evaluate(few, lanes, k), truth).max() < 0.05
    assert not np.array_equal(few, calibrate(lanes, k, truth, max_rows=60, seed=4))


def test_constants_may_differ_by_row(
    lanes: NDArray[np.float64], k: NDArray[np.float64], truth: NDArray[np.float64]
) -> None:
    rows = np.tile(CONSTANTS[:, None], len(k))
    rows[1, 0] += 1.0
    value = evaluate(rows, lanes, k)
    assert np.array_equal(value[1:], truth[1:])
    assert value[0] > truth[0] + 0.9
