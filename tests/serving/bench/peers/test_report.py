"""Samples become figures, figures ratios, and ratios stand beside their bars."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from perfcast.serving.bench.peers.long import LongFigures
from perfcast.serving.bench.peers.report import BARS, Bar, Figures, Report, Sample, figures_of
from perfcast.serving.bench.peers.tables import bars_table, loads_table, long_table
from perfcast.serving.bench.peers.wrk import Load


def sample(
    p50_us: float, *, requests: int = 100, others: float | None = 0.0, server_s: float | None = 1.0
) -> Sample:
    load = Load(requests=requests, seconds=2.0, p50_us=p50_us, p90_us=0, p99_us=9, errors=1)
    return Sample(load=load, server_s=server_s, others=others)


def figures(p50_us: float, per_second: float) -> Figures:
    return Figures(
        p50_us=p50_us,
        p99_us=1000.0,
        per_second=per_second,
        server_us=150.4,
        samples=3,
        undisturbed=2,
        errors=0,
    )


def long(answer_ms: float) -> LongFigures:
    return LongFigures(
        rows=10_000, repeats=60, answer_ms=answer_ms, bare_ms=10.0, request_bytes=2**20,
        response_bytes=2**19, others=None,
    )  # fmt: skip


RATES = {"binary": 6000.0, "empty": 5000.0, "pydantic": 2000.0, "two": 9600.0, "mlserver": 800.0}


@pytest.fixture
def report() -> Report:
    loads = {(name, 16): figures(2000.0, rate) for name, rate in RATES.items()}
    loads |= {(name, 1): figures(300.0, 3000.0) for name in RATES}
    loads["empty", 1] = figures(250.0, 4000.0)
    return Report(
        model="gemm@standin",
        machine="2 processors",
        versions={"fastapi": {"python": "3.11.7", "fastapi": "0.115"}},
        labels={name: name.upper() for name in (*RATES, "bentoml")},
        loads=loads,
        long={"binary": long(11.0), "columns": long(17.0)},
        absent={"bentoml": "no network"},
    )


def test_medians_of_what_was_undisturbed() -> None:
    found = figures_of([sample(10), sample(99, others=0.5), sample(20), sample(12, others=None)])
    assert (found.p50_us, found.samples, found.undisturbed, found.errors) == (12, 4, 3, 4)
    assert found.per_second == 50.0
    assert found.server_us == 10_000.0


def test_medians_where_everything_was_disturbed() -> None:
    found = figures_of([sample(10, others=0.2), sample(30, others=1.0)])
    assert (found.p50_us, found.undisturbed) == (20, 0)


def test_processor_time_may_be_unknown() -> None:
    assert figures_of([sample(10, server_s=None)]).server_us is None
    assert figures_of([sample(10, requests=0)]).server_us is None


def test_a_sample_says_what_disturbed_it() -> None:
    assert str(sample(1234.0)) == "1,234 us, 50/s, 1 errors"
    assert str(sample(1.0, others=0.5)).endswith("(others: 0.50 processors)")


def test_ratios(report: Report) -> None:
    ratios = [bar.ratio(report) for bar in BARS]
    assert ratios == [pytest.approx(1.2), 3.0, 7.5, None, 1.6, pytest.approx(1.1), 1.7]
    reached = [
        ratio is not None and bar.reached(ratio) for bar, ratio in zip(BARS, ratios, strict=True)
    ]
    assert reached == [False, True, False, False, True, True, False]


def test_a_bar_is_reached_at_its_limit() -> None:
    least = Bar(what="x", limit=2.0, at_least=True, of=lambda _: 2.0)
    most = Bar(what="x", limit=2.0, at_least=False, of=lambda _: 2.0)
    assert least.reached(2.0) and not least.reached(1.99)
    assert most.reached(2.0) and not most.reached(2.01)
    assert (least.shown_limit, most.shown_limit) == ("at least 2", "at most 2")


def test_json(report: Report) -> None:
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert read["one_row"]["binary"]["16_connections"]["requests_per_second"] == 6000.0
    assert read["one_row"]["empty"]["1_connections"]["p50_us"] == 250.0
    assert [bar["reached"] for bar in read["bars"]] == [False, True, False, None, True, True, False]
    assert read["long"]["columns"]["ratio"] == 1.7
    assert read["absent"] == {"bentoml": "no network"}


def test_tables(report: Report) -> None:
    console = Console(width=200, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        console.print(bars_table(report), loads_table(report), long_table(report))
    text = capture.get()
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if "│" in line}
    assert "not measured" in lines[BARS[3].what]
    assert "reached" in lines[BARS[1].what] and "at least 2.5" in lines[BARS[1].what]
    assert "missed" in lines[BARS[0].what] and "1.2" in lines[BARS[0].what]
    assert "6,000" in lines["BINARY"] and "4 of 6" in lines["BINARY"]
    assert "150 us" in lines["BINARY"]
    assert "BENTOML" not in text
    assert "11.00 ms" in lines["10,000 rows, binary"]
