"""`perfcast evaluate gemm`: the installed model on measured rows, plain baselines on a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.bundle import Bundle
from perfcast.features.tasks import GEMM
from perfcast.predictors.baselines import (
    HistogramBoosting,
    PlainXgboost,
    RooflineFloor,
    baseline_columns,
)
from perfcast.predictors.export import run_onnx
from perfcast.training.dataset import DataSet
from perfcast.training.paper import paper_protocol
from perfcast.training.reading import read_data_set
from perfcast.training.report import Forecast, Report, evaluate
from perfcast.training.splits import site_split

__all__ = ["baseline_report", "evaluate_gemm"]

SALT = "baselines"
CHUNK = 200_000


def evaluate_gemm(data: Path, *, bundle: Bundle, baselines: bool = False) -> dict[str, Report]:
    """Reports of a GEMM bundle on all rows of `data`: latency, and power if measured.

    With `baselines`, also of plain models trained here: on held-out sites of the newest versions
    (`baselines`), and under the GEMM paper's own protocol where power was measured.
    """
    measured = read_data_set(data, task=GEMM)
    answers = _answers(bundle.model_path.read_bytes(), measured)
    found = {}
    for quantity in ("latency_ms", "power_w"):
        seen = np.isfinite(measured[quantity])
        if not seen.any():
            continue
        rows = measured.take(seen)
        value, low, high = (answers[f"{quantity}{end}"][seen] for end in ("", "_low", "_high"))
        found[quantity] = evaluate(
            rows[quantity],
            Forecast(value, low, high),
            rows.categories,
            title=f"{bundle.name} on {data.resolve().name}",
            quantity=quantity,
        )
    if baselines:
        found["baselines"] = baseline_report(measured)
        if np.isfinite(measured["power_w"]).any():
            found["paper_latency"], found["paper_power"] = paper_protocol(measured)
    return found


def _answers(model: bytes, data: DataSet) -> dict[str, NDArray[Any]]:
    """The model's outputs for every row, in chunks that keep memory flat."""
    parts = []
    for start in range(0, len(data), CHUNK):
        rows = data.take(np.arange(start, min(start + CHUNK, len(data))))
        parts.append(run_onnx(model, {name: rows[name] for name in GEMM.input_names}))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def baseline_report(data: DataSet, *, test_fraction: float = 0.1) -> Report:
    """Plain xgboost on log time, with gradient boosting and the roofline beside it."""
    rows = data.newest_versions()
    X = baseline_columns({name: rows[name] for name in GEMM.input_names})
    y = rows["latency_ms"]
    split = site_split(rows, salt=SALT, test_fraction=test_fraction)
    forecasts = {}
    models: dict[str, PlainXgboost | HistogramBoosting | RooflineFloor] = {
        "plain xgboost": PlainXgboost(),
        "histogram boosting": HistogramBoosting(),
        "roofline": RooflineFloor(),
    }
    for name, model in models.items():
        model.fit(X[split.train], y[split.train])
        forecasts[name] = Forecast(model.predict(X[split.test]))
    test = rows.take(split.test)
    return evaluate(
        test["latency_ms"],
        forecasts.pop("plain xgboost"),
        test.categories,
        title=f"plain xgboost on {split.name}",
        quantity="latency_ms",
        baselines=forecasts,
    )
