"""The measurement of the wire runs both servers and compares like with like."""

from __future__ import annotations

from perfcast.serving.bench.wire import Line, measure


def test_every_door_is_measured() -> None:
    lines = measure(calls=2, repeats=1)
    assert [(line.what, line.rows) for line in lines] == [
        (what, rows)
        for rows in (1, 10_000)
        for what in ("v2 binary", "v2 JSON", "v1 columns", "v1 rows")
    ]
    assert {line.against for line in lines[:4]} == {"empty FastAPI"}
    assert {line.against for line in lines[4:]} == {"session.run"}
    assert all(line.answer_ms > 0 and line.against_ms > 0 for line in lines)


def test_a_line_says_its_ratio() -> None:
    line = Line(what="x", against="y", rows=1, answer_ms=3.0, against_ms=2.0)
    assert "ratio 1.50" in str(line)
