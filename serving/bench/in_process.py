"""Speed of the Python API as ratios to the bare onnxruntime call, on the same rows, in one run.

Absolute times depend on the machine; what perfcast adds around the model does so far less. The two
are measured in turn, repeat by repeat, so that a noisy machine disturbs both.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.serving.bench.questions import draw_questions
from perfcast.serving.predictor import Predictor
from perfcast.serving.recommend import recommend

__all__ = ["BenchLine", "BenchReport", "run_bench"]

BATCH_ROWS = 10_000
RECOMMEND_ROWS = 100_000
_SINGLE_CALLS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchLine:
    """One comparison: medians over the repeats, milliseconds for `rows` rows."""

    what: str
    rows: int
    perfcast_ms: float
    bare_ms: float

    @property
    def ratio(self) -> float:
        return self.perfcast_ms / self.bare_ms

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.perfcast_ms * 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """What `perfcast bench` prints."""

    model: str
    repeats: int
    lines: tuple[BenchLine, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        lines = [
            {
                **dataclasses.asdict(line),
                "ratio": line.ratio,
                "rows_per_second": line.rows_per_second,
            }
            for line in self.lines
        ]
        return {"model": self.model, "repeats": self.repeats, "lines": lines}


def run_bench(predictor: Predictor, *, repeats: int = 15, seed: int = 0) -> BenchReport:
    """Compare one row, 10,000 distinct rows, and a recommendation over 100,000 candidates."""
    rng = np.random.default_rng(seed)
    lines = (
        _single(predictor, rng, repeats),
        _batch(predictor, rng, repeats),
        _recommendation(predictor, rng, max(1, repeats // 3)),
    )
    return BenchReport(model=predictor.bundle.name, repeats=repeats, lines=lines)


def _single(predictor: Predictor, rng: np.random.Generator, repeats: int) -> BenchLine:
    columns = _rows(predictor, rng, _SINGLE_CALLS)
    questions = [
        {name: values[row].item() if values.dtype != object else values[row]
         for name, values in columns.items()}
        for row in range(_SINGLE_CALLS)
    ]  # fmt: skip
    feeds = [predictor.task.require_valid(question) for question in questions]

    def api() -> None:
        for question in questions:
            predictor.predict_columns(question)

    def bare() -> None:
        for feed in feeds:
            predictor.session.runtime.run(None, feed)

    ours, theirs = _compare(api, bare, repeats)
    return BenchLine(
        what="one row",
        rows=1,
        perfcast_ms=ours / _SINGLE_CALLS,
        bare_ms=theirs / _SINGLE_CALLS,
    )


def _batch(predictor: Predictor, rng: np.random.Generator, repeats: int) -> BenchLine:
    columns = _rows(predictor, rng, BATCH_ROWS)
    feed = predictor.task.require_valid(columns)
    ours, theirs = _compare(
        lambda: predictor.predict_columns(columns),
        lambda: predictor.session.runtime.run(None, feed),
        repeats,
    )
    return BenchLine(what="10,000 distinct rows", rows=BATCH_ROWS, perfcast_ms=ours, bare_ms=theirs)


def _recommendation(predictor: Predictor, rng: np.random.Generator, repeats: int) -> BenchLine:
    deployments = int(
        np.prod([len(column.allowed) for column in predictor.task.inputs if column.allowed])
    )
    count = -(-RECOMMEND_ROWS // deployments)
    sizes = np.stack([rng.integers(1, 16_384, count) for _ in range(3)], axis=1)
    rows = count * deployments
    feed = predictor.task.require_valid(_rows(predictor, rng, rows))
    parts = [
        {name: values[start : start + 16_384] for name, values in feed.items()}
        for start in range(0, rows, 16_384)
    ]

    def bare() -> None:
        for part in parts:
            predictor.session.runtime.run(None, part)

    ours, theirs = _compare(lambda: recommend(predictor, sizes), bare, repeats)
    return BenchLine(
        what=f"recommend over {rows:,} candidates", rows=rows, perfcast_ms=ours, bare_ms=theirs
    )


def _rows(predictor: Predictor, rng: np.random.Generator, rows: int) -> dict[str, NDArray[Any]]:
    """Distinct questions, text (a framework's version) left to its default."""
    columns = draw_questions(predictor, rng, rows)
    texts = {column.name for column in predictor.task.inputs if column.kind == "text"}
    return {name: values for name, values in columns.items() if name not in texts}


def _compare(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> tuple[float, float]:
    """Median milliseconds of each, measured in turn after one warm-up."""
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for call, measured in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            call()
            if repeat:
                measured.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[0]), statistics.median(times[1])
