from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from perfcast.errors import InvalidInput
from perfcast.predictors.baselines import (
    COLUMNS,
    HistogramBoosting,
    JointForest,
    PlainXgboost,
    RooflineFloor,
    baseline_columns,
)
from tests.training.measurements import measurements

SMALL: list[BaseEstimator] = [
    RooflineFloor(launch_ms=0.003),
    HistogramBoosting(trees=60, leaves=15),
    HistogramBoosting(trees=60, leaves=15, by="hardware"),
    PlainXgboost(trees=60, depth=4, threads=1),
    PlainXgboost(trees=60, depth=4, threads=1, by="hardware"),
]
JOINT = JointForest(trees=20, threads=1)


@pytest.fixture(scope="module")
def columns() -> dict[str, NDArray[Any]]:
    return {name: np.array(values) for name, values in measurements().items()}


@pytest.fixture(scope="module")
def X(columns: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    return baseline_columns(columns)


def median_error(truth: NDArray[Any], value: NDArray[Any]) -> float:
    return float(np.median(np.abs(value / truth - 1)))


def test_columns(columns: dict[str, NDArray[Any]], X: NDArray[np.float64]) -> None:
    assert X.shape == (len(columns["m"]), len(COLUMNS))
    named = dict(zip(COLUMNS, X.T, strict=True))
    assert np.array_equal(named["n"], columns["n"])
    assert len(np.unique(named["deployment"])) == 5
    fp8 = columns["dtype"] == "fp8"
    assert set(named["flops_per_ms"][fp8]) == {1978e9}
    assert set(named["a_bytes"][fp8]) == {1.0} and set(named["a_bytes"][~fp8]) == {2.0}
    with pytest.raises(InvalidInput, match="a100_sxm has no hardware for 'fp8'"):
        baseline_columns({**columns, "dtype": np.full(len(X), "fp8")})


def test_roofline_by_hand(columns: dict[str, NDArray[Any]], X: NDArray[np.float64]) -> None:
    rows = {name: column[:1] for name, column in columns.items()}
    rows |= {"gpu": np.array(["h200_sxm"]), "dtype": np.array(["bfloat16"])}
    rows |= {name: np.array([8192]) for name in "mnk"}
    big = RooflineFloor().fit(X).predict(baseline_columns(rows))
    assert big[0] == pytest.approx(2 * 8192**3 / 989e9)
    rows["m"] = np.array([1])
    thin = RooflineFloor(launch_ms=1.0).fit(X).predict(baseline_columns(rows))
    assert thin[0] == pytest.approx(1 + 2 * (8192 + 8192**2 + 8192) / 4800e6)


@pytest.mark.parametrize("estimator", SMALL, ids=repr)
def test_learns_and_repeats(
    estimator: BaseEstimator, columns: dict[str, NDArray[Any]], X: NDArray[np.float64]
) -> None:
    truth = columns["latency_ms"]
    train = np.arange(len(X)) % 4 > 0
    fitted = clone(estimator).fit(X[train], truth[train])
    value = fitted.predict(X[~train])
    assert value.shape == (int((~train).sum()),)
    assert (value > 0).all()
    assert median_error(truth[~train], value) < 0.3
    again = clone(estimator).fit(X[train], truth[train]).predict(X[~train])
    assert np.array_equal(again, value)


def test_the_forest_answers_both_at_once(
    columns: dict[str, NDArray[Any]], X: NDArray[np.float64]
) -> None:
    rows = np.flatnonzero([power is not None for power in columns["power_w"]])
    y = np.column_stack([columns["latency_ms"][rows], columns["power_w"][rows]]).astype(float)
    value = clone(JOINT).fit(X[rows], y).predict(X[rows])
    assert value.shape == (len(rows), 2)
    assert median_error(y[:, 0], value[:, 0]) < 0.3
    assert median_error(y[:, 1], value[:, 1]) < 0.1


@pytest.mark.parametrize("estimator", [*SMALL, JOINT], ids=repr)
def test_conventions(estimator: BaseEstimator, X: NDArray[np.float64]) -> None:
    copy = clone(estimator)
    assert copy is not estimator
    assert copy.get_params() == estimator.get_params()
    for name in estimator.get_params():
        with pytest.raises(TypeError):
            type(estimator)(**{f"{name}_": 1})
    with pytest.raises(NotFittedError):
        copy.predict(X)
    with pytest.raises(InvalidInput, match=r"must have shape \[N, 13\]"):
        copy.fit(X[:, :3], X[:, 0])


def test_grid_search(columns: dict[str, NDArray[Any]], X: NDArray[np.float64]) -> None:
    search = GridSearchCV(PlainXgboost(trees=20, threads=1), {"depth": [1, 4]}, cv=2)
    search.fit(X, columns["latency_ms"])
    assert search.best_params_ == {"depth": 4}


@pytest.mark.parametrize("estimator", SMALL[1:], ids=repr)
def test_a_deployment_never_seen_is_answered(
    estimator: BaseEstimator, columns: dict[str, NDArray[Any]], X: NDArray[np.float64]
) -> None:
    seen = columns["gpu"] != "h200_sxm"
    value = clone(estimator).fit(X[seen], columns["latency_ms"][seen]).predict(X[~seen])
    assert np.isfinite(value).all() and (value > 0).all()


def test_an_unknown_kind_of_features(X: NDArray[np.float64]) -> None:
    with pytest.raises(InvalidInput, match="by: must be 'deployment' or 'hardware'"):
        PlainXgboost(by="gpu").fit(X, X[:, 0])  # type: ignore[arg-type]
