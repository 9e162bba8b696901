"""The protocol of a published GEMM predictor, run on our data for comparison.

A multi-output random forest on simple features of the shape predicts run time and power together;
rows are split at random. The paper reports R2 0.98 and a mean error of 15.57 % for run time, R2
0.78 and a median error of 5.42 % for power, on a GPU of its own. Random rows share their sites with
training rows, which flatters any model: read this beside the site split, never instead of it.
"""

from __future__ import annotations

import numpy as np

from perfcast.predictors.baselines import JointForest, baseline_columns
from perfcast.training.dataset import DataSet
from perfcast.training.report import Forecast, Report, evaluate
from perfcast.training.splits import random_split

__all__ = ["paper_protocol"]

TARGETS = ("latency_ms", "power_w")


def paper_protocol(
    data: DataSet, *, trees: int = 100, threads: int = 2, seed: int = 0, test_fraction: float = 0.2
) -> tuple[Report, Report]:
    """Reports on run time and on power, over a random fifth of the rows that have both.

    Raises `DataError` if no row has power.
    """
    rows = data.measured("power_w")
    split = random_split(rows, seed=seed, test_fraction=test_fraction)
    X = baseline_columns({name: rows[name] for name in rows.keys})
    y = np.column_stack([rows[name] for name in TARGETS])
    forest = JointForest(trees=trees, threads=threads, seed=seed)
    value = forest.fit(X[split.train], y[split.train]).predict(X[split.test])
    test = rows.take(split.test)
    runtime, power = (
        evaluate(
            test[name],
            Forecast(value[:, place]),
            test.categories,
            title=f"paper's protocol, {split.name}",
            quantity=name,
        )
        for place, name in enumerate(TARGETS)
    )
    return runtime, power
