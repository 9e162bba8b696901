from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from perfcast.errors import DataError
from perfcast.training.dataset import Category, DataSet
from perfcast.training.report import BREAKDOWNS, Forecast, Report, evaluate, score


def test_figures_by_hand() -> None:
    truth = np.array([1.0, 2.0, 4.0, 8.0, 10.0])
    value = np.array([1.1, 1.8, 4.0, 12.0, np.nan])
    forecast = Forecast(value, value * 0.9, value * 1.1)
    scores = score(truth, forecast)
    assert (scores.rows, scores.answered) == (5, 4)
    assert scores.median_ape_percent == pytest.approx(10.0)
    assert scores.mean_ape_percent == pytest.approx((10 + 10 + 0 + 50) / 4)
    assert scores.p90_ape_percent == pytest.approx(38.0)
    assert scores.coverage_percent == pytest.approx(50.0)  # 1.0 in [0.99, 1.21], 4.0; not 2.0, 8.0
    assert scores.median_width_percent == pytest.approx(20.0)
    assert scores.r2 == pytest.approx(1 - (0.01 + 0.04 + 16) / 28.75)
    logs = np.log(truth[:4])
    residual = np.sum((logs - np.log(value[:4])) ** 2)
    assert scores.r2_log == pytest.approx(1 - residual / np.sum((logs - logs.mean()) ** 2))


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_a_perfect_forecast(values: list[float]) -> None:
    truth = np.array(values)
    scores = score(truth, Forecast(truth, truth, truth))
    assert scores.median_ape_percent == scores.p90_ape_percent == scores.mean_ape_percent == 0
    assert scores.coverage_percent == 100
    assert scores.r2 in (None, 1.0)


def test_undefined_figures_are_none() -> None:
    nothing = score(np.ones(3), Forecast(np.full(3, np.nan)))
    assert (nothing.rows, nothing.answered, nothing.median_ape_percent) == (3, 0, None)
    constant = score(np.ones(3), Forecast(np.array([1.0, -1.0, 2.0])))
    assert constant.r2 is None, "a constant has no variance to explain"
    assert constant.r2_log is None, "a negative forecast has no logarithm"
    assert constant.coverage_percent is None and constant.median_width_percent is None


@pytest.fixture
def report(data: DataSet) -> Report:
    truth = data["latency_ms"]
    noise = np.random.default_rng(0).normal(0, 0.05, len(data))
    value = truth * np.exp(noise)
    return evaluate(
        truth,
        Forecast(value, value * 0.9, value * 1.1),
        data.categories,
        title="site:a:1",
        quantity="latency_ms",
        baselines={"half": Forecast(truth / 2)},
    )


def test_every_group_is_scored_on_its_rows(data: DataSet, report: Report) -> None:
    assert [row.by for row in report.rows if row.by in ((), ("gpu",))] == [(), ("gpu",), ("gpu",)]
    assert {row.by for row in report.rows} == set(BREAKDOWNS)
    for by in BREAKDOWNS:
        assert sum(row.scores.rows for row in report.rows if row.by == by) == len(data)
    row = report.row({"gpu": "h200_sxm", "framework": "vllm", "dtype": "fp8"})
    assert row.scores.rows == int((data["dtype"] == "fp8").sum())
    assert row.label == "h200_sxm / vllm / fp8"
    assert row.baselines["half"].median_ape_percent == pytest.approx(50)
    doubled = np.where(data["gpu"] == "a100_sxm", 2, 1) * data["latency_ms"]
    half_only = evaluate(
        data["latency_ms"],
        Forecast(doubled),
        data.categories,
        title="t",
        quantity="latency_ms",
        breakdowns=[("gpu",)],
    )
    assert half_only.row({"gpu": "a100_sxm"}).scores.median_ape_percent == pytest.approx(100)
    assert half_only.row({"gpu": "h200_sxm"}).scores.median_ape_percent == 0
    with pytest.raises(DataError, match="no group"):
        half_only.row()


def test_json(report: Report) -> None:
    loaded = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    first, gpu = loaded["rows"][0], loaded["rows"][1]
    assert first["group"] == {} and gpu["group"] == {"gpu": "a100_sxm"}
    assert first["median_ape_percent"] == report.row().scores.median_ape_percent
    assert "coverage_percent" not in first["baselines"]["half"]


def test_metrics(report: Report) -> None:
    metrics = report.metrics()
    own = metrics["latency_ms/gpu-framework/h200_sxm/vllm/p90_ape_percent"]
    row = report.row({"gpu": "h200_sxm", "framework": "vllm"})
    assert own == row.scores.p90_ape_percent
    assert metrics["latency_ms/all/median_ape_percent:half"] == pytest.approx(50)
    assert np.isfinite(list(metrics.values())).all()


def test_markdown_is_a_table_for_each_breakdown(report: Report) -> None:
    text = report.to_markdown()
    assert text.startswith("### site:a:1: latency_ms\n")
    tables = text.strip().split("\n\n")[1:]
    assert len(tables) == len(BREAKDOWNS)
    for table in tables:
        widths = {line.count("|") for line in table.splitlines()}
        assert len(widths) == 1, "every line has the same number of cells"
    assert "| h200_sxm / vllm / fp8 | 64 |" in text
    assert "half: median/P90 %" in text


@pytest.mark.parametrize("width", [80, 160])
def test_terminals_show_every_figure(report: Report, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in report.to_tables():
        console.print(table)
    shown = console.export_text()
    assert "site:a:1: latency_ms" in shown
    overall = report.row().scores
    for figure in (overall.median_ape_percent, overall.p90_ape_percent):
        assert f"{figure:.2f}" in shown
    assert "…" not in shown.split("gpu / framework")[0]


def test_unusable_arguments() -> None:
    group = {"gpu": Category.of(["l4", "l4"])}
    two, three = np.ones(2), np.ones(3)

    def run(truth: np.ndarray, value: np.ndarray, by: tuple[str, ...] = ("gpu",)) -> None:
        evaluate(truth, Forecast(value), group, title="t", quantity="q", breakdowns=[by])

    with pytest.raises(DataError, match="no rows"):
        run(np.ones(0), np.ones(0))
    with pytest.raises(DataError, match="positive and finite"):
        run(np.array([1.0, np.nan]), two)
    with pytest.raises(DataError, match=r"forecast: shape \(3,\), not \(2,\)"):
        run(two, three)
    with pytest.raises(DataError, match="gpu: 2 rows, not 3"):
        run(three, three)
    with pytest.raises(DataError, match="no column 'dtype'"):
        run(two, two, ("dtype",))
