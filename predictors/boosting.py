"""Cross-fitted gradient boosting: every row is predicted by models that never saw its group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from perfcast.errors import InvalidInput, MissingExtra, Problem
from perfcast.predictors.interrupts import interrupts_deferred

__all__ = ["WATCHED_FOLD", "CrossFitBoosting"]

WATCHED_FOLD = 0
"""The fold whose left-out error decides when to stop; errors on it are no honest figures then."""


class CrossFitBoosting(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """`folds` xgboost models, each fitted without one fold of groups (Chernozhukov et al. 2018).

    `predict` averages the models: for groups none of them saw that is bagging. `predict_left_out`
    answers a training row with the one model that did not see its group. With one fold, one model
    is fitted to everything and nothing is left out. The loss is the
    pseudo-Huber loss at `slope`, quadratic for small residuals and linear for outliers.

    With `patience`, the first model stops once that many trees have not lowered its loss on the
    fold it leaves out, and the other models, to whom that fold is training data, grow as many
    trees (`rounds_`) as served it best.

    Parameters
    ----------
    patience
        Trees without gain before stopping; 0 grows all `trees`.
    folds, trees, depth, learning_rate, subsample, columns, min_rows, slope, clip
        As usual for boosting; targets are clipped to +-`clip` so that one wild row cannot steer.
    threads, seed
        The result depends on `seed` alone.
    """

    def __init__(
        self,
        *,
        folds: int = 5,
        trees: int = 300,
        depth: int = 9,
        learning_rate: float = 0.1,
        subsample: float = 0.7,
        columns: float = 0.5,
        min_rows: float = 20.0,
        slope: float = 0.02,
        clip: float = 0.3,
        patience: int = 0,
        threads: int = 2,
        seed: int = 0,
    ) -> None:
        self.folds = folds
        self.trees = trees
        self.depth = depth
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.columns = columns
        self.min_rows = min_rows
        self.slope = slope
        self.clip = clip
        self.patience = patience
        self.threads = threads
        self.seed = seed

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        groups: ArrayLike,
        progress: Callable[[int, int], None] | None = None,
    ) -> Self:
        """Fit on X [R, F], y [R]; `groups` [R] are fold numbers in [0, folds).

        Raises `InvalidInput` for groups that are no folds, `MissingExtra`.
        """
        xgb = _xgboost()
        X = np.asarray(X, dtype=np.float32)
        y = np.clip(np.asarray(y, dtype=np.float64), -self.clip, self.clip)
        groups = self._folds_of(groups)
        parameters = {
            "objective": "reg:pseudohubererror",
            "huber_slope": self.slope,
            "base_score": 0.0,
            "max_depth": self.depth,
            "eta": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bytree": self.columns,
            "min_child_weight": self.min_rows,
            "nthread": self.threads,
            "seed": self.seed,
        }
        self.models_: list[Any] = []
        self.rounds_ = self.trees
        for fold in range(self.folds):
            kept = groups != fold if self.folds > 1 else np.ones(len(y), dtype=bool)
            watched: dict[str, Any] = {}
            with interrupts_deferred():
                matrix = xgb.QuantileDMatrix(X[kept], y[kept], nthread=self.threads)
                if self.patience and fold == WATCHED_FOLD and not kept.all():
                    watch = xgb.QuantileDMatrix(
                        X[~kept], y[~kept], ref=matrix, nthread=self.threads
                    )
                    watched = {
                        "evals": [(watch, "watched")],
                        "early_stopping_rounds": self.patience,
                        "verbose_eval": False,
                    }
            model = xgb.train(parameters, matrix, self.rounds_, **watched)
            if watched:
                self.rounds_ = model.best_iteration + 1
                model = model[: self.rounds_]
            self.models_.append(model)
            if progress is not None:
                progress(fold + 1, self.folds)
        self.n_features_in_ = X.shape[1]
        return self

    def _folds_of(self, groups: ArrayLike) -> NDArray[np.int64]:
        """`groups` as an array. Raises `InvalidInput` unless all are folds."""
        found = np.asarray(groups)
        if found.dtype.kind not in "iu" or (found < 0).any() or (found >= self.folds).any():
            reason = f"must be whole numbers from 0 to {self.folds - 1}"
            raise InvalidInput([Problem("groups", reason)])
        return found.astype(np.int64)

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """The models' mean for groups that none of them saw: X [R, F] -> [R]."""
        check_is_fitted(self, "models_")
        matrix = _xgboost().DMatrix(np.asarray(X, dtype=np.float32), nthread=self.threads)
        answers = [model.predict(matrix) for model in self.models_]
        return np.asarray(np.mean(answers, axis=0, dtype=np.float64))

    def predict_left_out(self, X: ArrayLike, groups: ArrayLike) -> NDArray[np.float64]:
        """For rows of the training set: each by the model fitted without its fold."""
        check_is_fitted(self, "models_")
        X, groups = np.asarray(X, dtype=np.float32), self._folds_of(groups)
        out = np.empty(len(X))
        for fold, model in enumerate(self.models_):
            rows = groups == fold
            if rows.any():
                matrix = _xgboost().DMatrix(X[rows], nthread=self.threads)
                out[rows] = model.predict(matrix)
        return out


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtra("xgboost", "train") from error
    return xgboost
