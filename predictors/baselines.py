"""What a report puts beside a surrogate: the predictors one would write first.

All take X [N, len(COLUMNS)] from `baseline_columns` and predict milliseconds (the forest also
watts), in scikit-learn's conventions. None of them is ever exported or served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from perfcast.errors import InvalidInput, MissingExtra, Problem
from perfcast.features.gemm import device, flops, lanes, roofline_ms
from perfcast.features.hardware import gpu
from perfcast.predictors.interrupts import interrupts_deferred

__all__ = [
    "COLUMNS",
    "HistogramBoosting",
    "JointForest",
    "PlainXgboost",
    "RooflineFloor",
    "baseline_columns",
]

_DEPLOYMENT = ("gpu", "framework", "framework_version", "dtype")
_CODES = ("deployment", "framework", "dtype")
_FACTS = ("flops_per_ms", "bytes_per_ms", "num_sms", "tdp_w", "a_bytes", "b_bytes", "c_bytes")
COLUMNS: tuple[str, ...] = ("m", "n", "k", *_CODES, *_FACTS)
"""Columns of X: the shape, codes of what ran it, and what the hardware and dtype imply."""

Kind = Literal["deployment", "hardware"]


def baseline_columns(columns: Mapping[str, Any]) -> NDArray[np.float64]:
    """X [N, len(COLUMNS)] for the GEMM task's input columns [N].

    Codes number the strings that occur in these rows: encode a data set once, then split X.
    """
    text = {name: np.asarray(columns[name], dtype=object) for name in _DEPLOYMENT}
    rows = list(zip(*(text[name].tolist() for name in _DEPLOYMENT), strict=True))
    deployments = sorted(set(rows))
    place = {deployment: code for code, deployment in enumerate(deployments)}
    code = np.fromiter((place[row] for row in rows), dtype=np.int64, count=len(rows))
    frameworks, dtypes = (sorted({d[i] for d in deployments}) for i in (1, 3))
    table = np.array(
        [
            (position, frameworks.index(d[1]), dtypes.index(d[3]), *_facts(d[0], d[3]))
            for position, d in enumerate(deployments)
        ],
        dtype=np.float64,
    )
    shape = [np.asarray(columns[name], dtype=np.float64) for name in ("m", "n", "k")]
    return np.column_stack([*shape, table[code]])


def _facts(gpu_name: str, dtype: str) -> tuple[float, ...]:
    facts = device(gpu_name, dtype)
    if facts is None:
        raise InvalidInput([Problem("dtype", f"{gpu_name} has no hardware for {dtype!r}")])
    rates = (facts.flops_per_ms, facts.bytes_per_ms, facts.num_sms)
    return (*rates, gpu(gpu_name).tdp_w, *facts.operand_bytes)


class RooflineFloor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The roofline (Williams, Waterman, Patterson 2009): max(compute, memory), nothing learned."""

    def __init__(self, *, launch_ms: float = 0.0) -> None:
        self.launch_ms = launch_ms

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learns nothing; `y` is ignored."""
        del y
        self.n_features_in_ = _checked(X).shape[1]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Milliseconds [N]."""
        check_is_fitted(self)
        compute_ms, memory_ms = _lanes(_checked(X))
        return np.asarray(self.launch_ms + roofline_ms(np, compute_ms, memory_ms))


class JointForest(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """One random forest for run time and power together, on simple features of the shape.

    Targets are standardised, so that neither outweighs the other in the choice of splits, and
    taken as they are: no logarithm, no floor.
    """

    def __init__(
        self, *, trees: int = 100, min_rows: int = 1, threads: int = 2, seed: int = 0
    ) -> None:
        self.trees = trees
        self.min_rows = min_rows
        self.threads = threads
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """X [N, len(COLUMNS)]; y [N, 2]: milliseconds and watts."""
        from sklearn.ensemble import RandomForestRegressor

        X, y = _checked(X), np.asarray(y, dtype=np.float64)
        self.mean_, self.scale_ = y.mean(axis=0), np.maximum(y.std(axis=0), 1e-12)
        self.forest_ = RandomForestRegressor(
            n_estimators=self.trees,
            min_samples_leaf=self.min_rows,
            n_jobs=self.threads,
            random_state=self.seed,
        )
        self.forest_.fit(_joint_features(X), (y - self.mean_) / self.scale_)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Milliseconds and watts [N, 2]."""
        check_is_fitted(self)
        scaled = self.forest_.predict(_joint_features(_checked(X)))
        return np.asarray(scaled * self.scale_ + self.mean_)


class HistogramBoosting(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's histogram boosting on the logarithm of time.

    `by="deployment"` tells rows apart by a code for each GPU, framework, version and dtype;
    `by="hardware"` by rates and sizes instead, which a GPU never measured has too.
    """

    def __init__(
        self,
        *,
        trees: int = 400,
        leaves: int = 127,
        learning_rate: float = 0.1,
        by: Kind = "deployment",
        seed: int = 0,
    ) -> None:
        self.trees = trees
        self.leaves = leaves
        self.learning_rate = learning_rate
        self.by = by
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """X [N, len(COLUMNS)]; y [N]: milliseconds."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        X = _checked(X)
        features, categorical = _shape_features(X, self.by)
        self.model_ = HistGradientBoostingRegressor(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            learning_rate=self.learning_rate,
            categorical_features=categorical,
            early_stopping=False,
            random_state=self.seed,
        )
        self.model_.fit(features, np.log(np.asarray(y, dtype=np.float64)))
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Milliseconds [N]."""
        check_is_fitted(self)
        features, _ = _shape_features(_checked(X), self.by)
        return np.exp(np.asarray(self.model_.predict(features), dtype=np.float64))


class PlainXgboost(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """xgboost on the logarithm of time, as one would first try it. `by` as above."""

    def __init__(
        self,
        *,
        trees: int = 800,
        depth: int = 8,
        learning_rate: float = 0.1,
        by: Kind = "deployment",
        threads: int = 2,
        seed: int = 0,
    ) -> None:
        self.trees = trees
        self.depth = depth
        self.learning_rate = learning_rate
        self.by = by
        self.threads = threads
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """X [N, len(COLUMNS)]; y [N]: milliseconds."""
        xgb = _xgboost()
        X = _checked(X)
        features, categorical = _shape_features(X, self.by)
        with interrupts_deferred():
            matrix = xgb.QuantileDMatrix(
                features,
                np.log(np.asarray(y, dtype=np.float64)),
                feature_types=["c" if flag else "q" for flag in categorical],
                enable_categorical=True,
                nthread=self.threads,
            )
        parameters = {
            "max_depth": self.depth,
            "eta": self.learning_rate,
            "nthread": self.threads,
            "seed": self.seed,
        }
        self.model_ = xgb.train(parameters, matrix, self.trees)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Milliseconds [N]."""
        check_is_fitted(self)
        features, categorical = _shape_features(_checked(X), self.by)
        matrix = _xgboost().DMatrix(
            features,
            feature_types=["c" if flag else "q" for flag in categorical],
            enable_categorical=True,
            nthread=self.threads,
        )
        return np.exp(np.asarray(self.model_.predict(matrix), dtype=np.float64))


def _checked(X: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(X, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(COLUMNS):
        reason = f"must have shape [N, {len(COLUMNS)}] as from baseline_columns, not {array.shape}"
        raise InvalidInput([Problem("X", reason)])
    return array


def _named(X: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return dict(zip(COLUMNS, X.T, strict=True))


def _lanes(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    c = _named(X)
    sizes = (c["a_bytes"], c["b_bytes"], c["c_bytes"])
    rates = (c["flops_per_ms"], c["bytes_per_ms"], c["num_sms"])
    compute_ms, memory_ms, _ = lanes(np, c["m"], c["n"], c["k"], *rates, *sizes)
    return compute_ms, memory_ms


def _shape_features(X: NDArray[np.float64], by: Kind) -> tuple[NDArray[np.float32], list[bool]]:
    """Features [N, F] and which of them are codes."""
    c = _named(X)
    shape = [np.log2(c[name]) for name in ("m", "n", "k")]
    if by == "deployment":
        parts, codes = [*shape, c["deployment"]], 1
    elif by == "hardware":
        rates = [np.log2(c[name]) for name in ("flops_per_ms", "bytes_per_ms", "num_sms")]
        parts, codes = [*shape, *rates, c["framework"], c["dtype"]], 2
    else:
        raise InvalidInput([Problem("by", f"must be 'deployment' or 'hardware', not {by!r}")])
    flags = [False] * (len(parts) - codes) + [True] * codes
    return np.column_stack(parts).astype(np.float32), flags


def _joint_features(X: NDArray[np.float64]) -> NDArray[np.float32]:
    """log m, n, k, dtype one-hot, operations, bytes, intensity, and the deployment."""
    c = _named(X)
    operations = flops(c["m"], c["n"], c["k"])
    moved = _lanes(X)[1] * c["bytes_per_ms"]
    one_hot = [c["dtype"] == code for code in range(8)]
    parts = [*(np.log(c[name]) for name in ("m", "n", "k")), *one_hot, operations, moved]
    parts += [operations / moved, c["flops_per_ms"], c["framework"], c["deployment"]]
    return np.column_stack(parts).astype(np.float32)


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtra("xgboost", "train") from error
    return xgboost
