"""The results, and the bars beside them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perfcast.serving.bench.peers.long import LongFigures
from perfcast.serving.bench.peers.wrk import Load

__all__ = ["BARS", "Bar", "Figures", "Report", "Sample", "figures_of"]

DISTURBED_ABOVE: Final = 0.05
"""Processors kept busy by others, beyond which a sample is disturbed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of wrk, and who used the processors meanwhile (None: not known).

    `server_s`: seconds that the server used; `others`: how many processors others kept busy.
    """

    load: Load
    server_s: float | None
    others: float | None

    @property
    def disturbed(self) -> bool:
        return self.others is not None and self.others > DISTURBED_ABOVE

    def __str__(self) -> str:
        load = self.load
        told = f"{load.p50_us:,.0f} us, {load.per_second:,.0f}/s"
        if load.errors:
            told += f", {load.errors} errors"
        return f"{told} (others: {self.others:.2f} processors)" if self.disturbed else told


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Medians over the samples of one target at one number of connections.

    Of the undisturbed ones, if there are any; `undisturbed` says how many. `server_us` is the
    processor time that the server used for a request (None: not known).
    """

    p50_us: float
    p99_us: float
    per_second: float
    server_us: float | None
    samples: int
    undisturbed: int
    errors: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "requests_per_second": self.per_second,
            "server_processor_us": self.server_us,
            "samples": self.samples,
            "undisturbed_samples": self.undisturbed,
            "errors": self.errors,
        }


def figures_of(samples: Sequence[Sample]) -> Figures:
    """What `samples`, of which there is at least one, come to."""
    calm = [sample for sample in samples if not sample.disturbed]
    counted = calm or samples
    loads = [sample.load for sample in counted]
    used = [
        sample.server_s / sample.load.requests * 1e6
        for sample in counted
        if sample.server_s is not None and sample.load.requests
    ]
    return Figures(
        p50_us=statistics.median(load.p50_us for load in loads),
        p99_us=statistics.median(load.p99_us for load in loads),
        per_second=statistics.median(load.per_second for load in loads),
        server_us=statistics.median(used) if used else None,
        samples=len(samples),
        undisturbed=len(calm),
        errors=sum(sample.load.errors for sample in samples),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was measured. `loads` has (target, connections) as keys."""

    model: str
    machine: str
    versions: Mapping[str, Mapping[str, str]]
    labels: Mapping[str, str]
    loads: Mapping[tuple[str, int], Figures]
    long: Mapping[str, LongFigures]
    absent: Mapping[str, str]
    """What could not be measured, and why."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        loads: dict[str, dict[str, Any]] = {}
        for (target, connections), figures in self.loads.items():
            loads.setdefault(target, {})[f"{connections}_connections"] = figures.to_dict()
        return {
            "model": self.model,
            "machine": self.machine,
            "versions": {name: dict(found) for name, found in self.versions.items()},
            "one_row": loads,
            "long": {name: figures.to_dict() for name, figures in self.long.items()},
            "bars": [bar.to_dict(self) for bar in BARS],
            "absent": dict(self.absent),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A ratio, and the least or the most it shall be. `of` raises KeyError if a part is absent."""

    what: str
    limit: float
    at_least: bool
    of: Callable[[Report], float]

    def ratio(self, report: Report) -> float | None:
        """The ratio measured; None if something it needs was not."""
        try:
            return self.of(report)
        except KeyError:
            return None

    def reached(self, ratio: float) -> bool:
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    @property
    def shown_limit(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"

    def to_dict(self, report: Report) -> dict[str, Any]:
        """Plain values for JSON; `reached` is None where nothing was measured."""
        ratio = self.ratio(report)
        return {
            "what": self.what,
            "ratio": ratio,
            "limit": self.limit,
            "at_least": self.at_least,
            "reached": None if ratio is None else self.reached(ratio),
        }


def _latency(one: str, other: str) -> Callable[[Report], float]:
    return lambda report: report.loads[one, 1].p50_us / report.loads[other, 1].p50_us


def _rate(one: str, other: str) -> Callable[[Report], float]:
    return lambda report: report.loads[one, 16].per_second / report.loads[other, 16].per_second


def _long(form: str) -> Callable[[Report], float]:
    return lambda report: report.long[form].ratio


BARS: Final[tuple[Bar, ...]] = (
    Bar(
        what="one row, median time over an empty FastAPI GET route's",
        limit=1.0, at_least=False, of=_latency("binary", "empty"),
    ),
    Bar(
        what="requests a second, 16 connections, over FastAPI with a pydantic route",
        limit=2.5, at_least=True, of=_rate("binary", "pydantic"),
    ),
    Bar(
        what="requests a second, 16 connections, over MLServer",
        limit=8.0, at_least=True, of=_rate("binary", "mlserver"),
    ),
    Bar(
        what="requests a second, 16 connections, over BentoML",
        limit=15.0, at_least=True, of=_rate("binary", "bentoml"),
    ),
    Bar(
        what="requests a second, 16 connections, two workers over one",
        limit=1.5, at_least=True, of=_rate("two", "binary"),
    ),
    Bar(
        what="10,000 rows over /v2 binary, time over onnxruntime alone",
        limit=1.15, at_least=False, of=_long("binary"),
    ),
    Bar(
        what="10,000 rows in JSON columns, time over onnxruntime alone",
        limit=1.6, at_least=False, of=_long("columns"),
    ),
)  # fmt: skip
