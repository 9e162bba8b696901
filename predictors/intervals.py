"""Conformal intervals: learned offsets around the median, calibrated on rows they never saw.

Conformalised quantile regression (Romano, Patterson, Candes 2019) on logarithmic errors. Quantiles
are fitted on one half of the sites and calibrated on the other, both ways round; `offsets.py` does
that on the grid, with one calibration factor for each deployment (Mondrian).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import MissingExtra
from perfcast.predictors.interrupts import interrupts_deferred

__all__ = [
    "MIN_OFFSET",
    "UNTESTED_OFFSET",
    "balanced",
    "conformal_factor",
    "fit_quantiles",
    "raw_offsets",
    "scores",
    "tail_offsets",
    "worst_offsets",
]  # fmt: skip

MIN_OFFSET = 0.002
"""No interval claims to be narrower than +-0.2 %: timers are not that good."""

UNTESTED_OFFSET = float(np.log(2.0))
"""A factor of two each way, where no measurement could be left out to test an answer."""


def fit_quantiles(
    X: NDArray[np.float32],
    error: NDArray[np.float64],
    *,
    half: NDArray[np.bool_],
    coverage: float,
    trees: int = 120,
    depth: int = 7,
    max_rows: int = 600_000,
    threads: int = 2,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Models of both tails of log errors [R] given X [R, F]: one fitted where `half` [R], one
    where not. `raw_offsets` reads them."""
    xgb = _xgboost()
    tail = (1.0 - coverage) / 2.0
    parameters = {
        "objective": "reg:quantileerror",
        "quantile_alpha": [tail, 1.0 - tail],
        "max_depth": depth,
        "eta": 0.12,
        "subsample": 0.7,
        "colsample_bytree": 0.6,
        "min_child_weight": 50,
        "nthread": threads,
        "seed": seed,
    }
    random = np.random.default_rng(seed)
    models = []
    for side in (half, ~half):
        rows = random.permutation(np.flatnonzero(side))[:max_rows]
        with interrupts_deferred():
            matrix = xgb.QuantileDMatrix(X[rows], error[rows], nthread=threads)
        models.append(xgb.train(parameters, matrix, trees))
    first, second = models
    return first, second


def conformal_factor(score: NDArray[np.float64], coverage: float) -> float:
    """The factor that covers a share `coverage` of scores [R] (1 + 1/R corrected); 1 if none."""
    if len(score) == 0:
        return 1.0
    rank = min(1.0, coverage * (1.0 + 1.0 / len(score)))
    return float(np.quantile(score, rank, method="higher"))


def tail_offsets(error: NDArray[np.float64], coverage: float) -> tuple[float, float]:
    """Fixed offsets (below, above) that hold `coverage` of log errors [R]; if none, a guess."""
    if len(error) == 0:
        return UNTESTED_OFFSET, UNTESTED_OFFSET
    tail = (1.0 - coverage) / 2.0
    low, high = np.quantile(error, [tail, 1.0 - tail])
    return max(-float(low), MIN_OFFSET), max(float(high), MIN_OFFSET)


def balanced(errors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Errors of several GPUs pooled in equal shares, however many rows each has: [Q].

    For intervals of a GPU that is none of them: each is one example of what may come.
    """
    levels = np.linspace(0.0, 1.0, 1001)
    kept = [error[np.isfinite(error)] for error in errors]
    return np.concatenate([np.zeros(0), *(np.quantile(e, levels) for e in kept if len(e))])


def worst_offsets(errors: Sequence[NDArray[np.float64]], coverage: float) -> tuple[float, float]:
    """Offsets (below, above) that hold `coverage` of the log errors of every GPU alike."""
    pairs = [tail_offsets(error, coverage) for error in errors if len(error)]
    untested = UNTESTED_OFFSET
    return (
        max((low for low, _ in pairs), default=untested),
        max((high for _, high in pairs), default=untested),
    )


def scores(error: NDArray[np.float64], offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the offsets [..., 2] would have to grow to hold each error [...]."""
    return np.where(error < 0, -error / offsets[..., 0], error / offsets[..., 1])


def raw_offsets(model: Any, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Offsets [R, 2] of one quantile model, before calibration."""
    quantiles = model.inplace_predict(X).astype(np.float64)
    below, above = -quantiles[:, 0], quantiles[:, 1]
    return np.asarray(np.maximum(np.stack([below, above], axis=1), MIN_OFFSET))


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise MissingExtra("xgboost", "train") from error
    return xgboost
