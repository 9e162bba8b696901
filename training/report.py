"""The evaluation report: how wrong, how well covered, for whom, and beside which baselines."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from perfcast.errors import DataError
from perfcast.training.dataset import Category

__all__ = ["BREAKDOWNS", "Forecast", "Report", "ReportRow", "Scores", "evaluate", "score"]

BREAKDOWNS: tuple[tuple[str, ...], ...] = (
    (),
    ("gpu",),
    ("gpu", "framework"),
    ("gpu", "dtype"),
    ("gpu", "framework", "dtype"),
)
"""The groups a GEMM report is broken down by; () is all rows together."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predicted medians float [N], with interval bounds where there are any; NaN: withheld."""

    value: NDArray[Any]
    low: NDArray[Any] | None = None
    high: NDArray[Any] | None = None

    def take(self, rows: NDArray[Any]) -> Forecast:
        low = None if self.low is None else self.low[rows]
        high = None if self.high is None else self.high[rows]
        return Forecast(self.value[rows], low, high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Errors over one group of rows. None where a figure is undefined (no rows, no interval)."""

    rows: int
    answered: int
    """Rows whose answer was not withheld; all other figures are over these."""
    median_ape_percent: float | None = None
    """Absolute percentage error |predicted - true| / true: its median, mean, 90th percentile."""
    mean_ape_percent: float | None = None
    p90_ape_percent: float | None = None
    r2: float | None = None
    """Share of the variance explained."""
    r2_log: float | None = None
    """The same for logarithms: small values count as much as large ones."""
    coverage_percent: float | None = None
    """Rows whose truth lies within the interval, bounds included."""
    median_width_percent: float | None = None
    """Median of the interval's width relative to the prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One group: `by` names the columns, `values` their values; both empty for all rows."""

    by: tuple[str, ...]
    values: tuple[str, ...]
    scores: Scores
    baselines: Mapping[str, Scores]

    @property
    def label(self) -> str:
        return " / ".join(self.values) or "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Scores of one quantity on one split, group by group."""

    title: str
    quantity: str
    rows: tuple[ReportRow, ...]

    def row(self, group: Mapping[str, str] | None = None) -> ReportRow:
        """The row of a group such as `{"gpu": "h200_sxm"}`; without one, of all rows."""
        wanted = dict(group or {})
        for row in self.rows:
            if dict(zip(row.by, row.values, strict=True)) == wanted:
                return row
        raise DataError(f"report {self.title!r} has no group {wanted}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: no NaN, and no interval figures for forecasts that had none."""
        return {
            "title": self.title,
            "quantity": self.quantity,
            "rows": [
                {
                    "group": dict(zip(row.by, row.values, strict=True)),
                    **_scores_dict(row.scores),
                    "baselines": {name: _scores_dict(s) for name, s in row.baselines.items()},
                }
                for row in self.rows
            ],
        }

    def metrics(self) -> dict[str, float]:
        """Flat names for a tracker: "latency_ms/gpu-framework/h200_sxm/vllm/p90_ape_percent".

        A baseline's end in ":name". Undefined figures are left out.
        """
        flat: dict[str, float] = {}
        for row in self.rows:
            place = "/".join((self.quantity, "-".join(row.by) or "all", *row.values))
            scored = {"": row.scores, **{f":{k}": v for k, v in row.baselines.items()}}
            for suffix, scores in scored.items():
                for name, value in _scores_dict(scores).items():
                    flat[f"{place}/{name}{suffix}"] = float(value)
        return flat

    def to_markdown(self) -> str:
        """A Markdown table for each breakdown, under the title."""
        parts = [f"### {self.title}: {self.quantity}"]
        for by, rows in self._breakdowns():
            header = _header(by, rows)
            lines = [header, ["---"] + ["---:"] * (len(header) - 1), *map(_cells, rows)]
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return "\n\n".join(parts) + "\n"

    def to_tables(self) -> list[Table]:
        """A rich table for each breakdown. Narrow terminals wrap the labels, never the figures."""
        tables = []
        for by, rows in self._breakdowns():
            first, *others = _header(by, rows)
            cells = [_cells(row) for row in rows]
            # Text, because a title such as "site:a:" would read as the name of an emoji
            title = Text(f"{self.title}: {self.quantity}")
            table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
            table.add_column(Text(first), vertical="bottom", overflow="fold")
            for place, name in enumerate(others, start=1):
                width = max(len(row[place]) for row in cells)
                table.add_column(
                    Text(name), justify="right", vertical="bottom", min_width=width, overflow="fold"
                )
            for row in cells:
                table.add_row(*map(Text, row))
            tables.append(table)
        return tables

    def _breakdowns(self) -> Iterator[tuple[tuple[str, ...], list[ReportRow]]]:
        for by in dict.fromkeys(row.by for row in self.rows):
            yield by, [row for row in self.rows if row.by == by]


def evaluate(
    truth: NDArray[Any],
    forecast: Forecast,
    groups: Mapping[str, Category],
    *,
    title: str,
    quantity: str,
    baselines: Mapping[str, Forecast] | None = None,
    breakdowns: Sequence[Sequence[str]] = BREAKDOWNS,
) -> Report:
    """Score a forecast of `truth` [N], positive and finite, within every group that occurs.

    `groups` are the string columns (a data set's `categories`), `baselines` other forecasts of
    the same rows. Raises `DataError` for arrays of unequal length or an unusable truth.
    """
    others = dict(baselines or {})
    _check(truth, {"forecast": forecast, **others}, groups, breakdowns)
    rows: list[ReportRow] = []
    for by in breakdowns:
        for values, members in _members(len(truth), by, groups):
            rows.append(
                ReportRow(
                    by=tuple(by),
                    values=values,
                    scores=score(truth[members], forecast.take(members)),
                    baselines={
                        name: score(truth[members], other.take(members))
                        for name, other in others.items()
                    },
                )
            )
    return Report(title=title, quantity=quantity, rows=tuple(rows))


def score(truth: NDArray[Any], forecast: Forecast) -> Scores:
    """Errors of a forecast of positive `truth` [N], over the rows that were answered."""
    answered = np.isfinite(forecast.value)
    true = np.asarray(truth, dtype=np.float64)[answered]
    value = np.asarray(forecast.value, dtype=np.float64)[answered]
    count = len(true)
    if count == 0:
        return Scores(rows=len(truth), answered=0)
    error = 100 * np.abs(value - true) / true
    median, p90 = np.percentile(error, [50, 90])
    coverage = width = None
    if forecast.low is not None and forecast.high is not None:
        low, high = forecast.low[answered], forecast.high[answered]
        coverage = float(100 * np.mean((low <= true) & (true <= high)))
        width = float(100 * np.median((high - low) / value))
    positive = bool((value > 0).all())
    return Scores(
        rows=len(truth),
        answered=count,
        median_ape_percent=float(median),
        mean_ape_percent=float(error.mean()),
        p90_ape_percent=float(p90),
        r2=_r2(true, value),
        r2_log=_r2(np.log(true), np.log(value)) if positive else None,
        coverage_percent=coverage,
        median_width_percent=width,
    )


def _r2(true: NDArray[np.float64], value: NDArray[np.float64]) -> float | None:
    spread = float(np.sum((true - true.mean()) ** 2))
    if spread == 0:
        return None
    return 1 - float(np.sum((true - value) ** 2)) / spread


def _members(
    size: int, by: Sequence[str], groups: Mapping[str, Category]
) -> Iterator[tuple[tuple[str, ...], NDArray[np.int64]]]:
    """The groups that occur, in alphabetical order, with their row numbers."""
    codes = np.zeros(size, dtype=np.int64)
    for name in by:
        codes = codes * len(groups[name].levels) + groups[name].codes
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    for members in np.split(order, starts[1:]):
        first = int(members[0])
        yield tuple(groups[name].levels[int(groups[name].codes[first])] for name in by), members


def _check(
    truth: NDArray[Any],
    forecasts: Mapping[str, Forecast],
    groups: Mapping[str, Category],
    breakdowns: Sequence[Sequence[str]],
) -> None:
    if len(truth) == 0:
        raise DataError("nothing to evaluate: no rows")
    if not (np.isfinite(truth) & (truth > 0)).all():
        raise DataError("the truth of an evaluation must be positive and finite in every row")
    for by in breakdowns:
        for name in by:
            if name not in groups:
                raise DataError(f"no column {name!r} to break the report down by")
            if len(groups[name]) != len(truth):
                raise DataError(f"{name}: {len(groups[name])} rows, not {len(truth)}")
    for name, forecast in forecasts.items():
        for array in (forecast.value, forecast.low, forecast.high):
            if array is not None and np.shape(array) != (len(truth),):
                raise DataError(f"{name}: shape {np.shape(array)}, not ({len(truth)},)")


def _scores_dict(scores: Scores) -> dict[str, float | int]:
    return {k: v for k, v in dataclasses.asdict(scores).items() if v is not None}


def _header(by: tuple[str, ...], rows: Sequence[ReportRow]) -> list[str]:
    fixed = ["rows", "median %", "mean %", "P90 %", "R2", "R2 log", "cover %", "width %"]
    others = [f"{name}: median/P90 %" for name in rows[0].baselines]
    return [" / ".join(by) or "group", *fixed, *others]


def _cells(row: ReportRow) -> list[str]:
    own = row.scores
    rows = f"{own.rows:,}" if own.answered == own.rows else f"{own.answered:,} of {own.rows:,}"
    errors = [own.median_ape_percent, own.mean_ape_percent, own.p90_ape_percent]
    return [
        row.label,
        rows,
        *(_number(value, 2) for value in errors),
        *(_number(value, 4) for value in (own.r2, own.r2_log)),
        *(_number(value, 1) for value in (own.coverage_percent, own.median_width_percent)),
        *(
            f"{_number(other.median_ape_percent, 2)}/{_number(other.p90_ape_percent, 2)}"
            for other in row.baselines.values()
        ),
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
