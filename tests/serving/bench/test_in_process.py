"""The benchmark compares like with like and reports ratios; how fast is not for a test to say."""

from __future__ import annotations

import json

from perfcast.serving.bench.in_process import BATCH_ROWS, RECOMMEND_ROWS, BenchLine, run_bench
from perfcast.serving.predictor import GemmPredictor


def test_three_lines_of_ratios(gemm: GemmPredictor) -> None:
    report = run_bench(gemm, repeats=1)
    single, batch, recommendation = report.lines
    assert report.model == "gemm@standin"
    assert (single.rows, batch.rows) == (1, BATCH_ROWS)
    assert recommendation.rows >= RECOMMEND_ROWS
    for line in report.lines:
        assert line.perfcast_ms > 0
        assert line.bare_ms > 0
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [line["ratio"] for line in read["lines"]] == [line.ratio for line in report.lines]


def test_ratio_and_rate() -> None:
    line = BenchLine(what="x", rows=1000, perfcast_ms=4.0, bare_ms=2.0)
    assert line.ratio == 2.0
    assert line.rows_per_second == 250_000
