"""Which GPU, framework and dtype to run some matrix multiplications on: evaluate all, then rank.

Every candidate is asked about every shape in one batch. A candidate's latency and energy are sums
over the shapes (times their counts), its power is energy over latency. Interval ends are summed
like the values, as if all errors pointed the same way: conservative, since errors partly cancel.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import InvalidInput, Problem, TooLarge, nearest, refusal
from perfcast.prediction import STATUSES, Prediction
from perfcast.serving.predictor import Predictor
from perfcast.serving.recommendation import (
    QUANTITIES,
    Choice,
    Exclusion,
    Objective,
    Recommendation,
    Withheld,
)
from perfcast.serving.shapes import Shapes, read_shapes
from perfcast.task import Task, shown

__all__ = ["MAX_CANDIDATES", "recommend"]

MAX_CANDIDATES: Final = 1_000_000


def recommend(
    predictor: Predictor,
    shapes: Shapes,
    *,
    gpus: Sequence[str] | None = None,
    frameworks: Sequence[str] | None = None,
    dtypes: Sequence[str] | None = None,
    max_latency_ms: float | None = None,
    max_power_w: float | None = None,
    max_energy_mj: float | None = None,
    objective: Objective = "latency_ms",
    limit: int | None = 10,
    max_candidates: int = MAX_CANDIDATES,
) -> Recommendation:
    """Rank the deployments that can run `shapes` within the constraints, best `objective` first.

    `shapes` is one (m, n, k) or many, each optionally with a fourth number, how often it runs (a
    layer's list). `gpus`, `frameworks` and `dtypes` restrict the candidates (default: all that the
    task knows). Constraints bound the totals: summed latency, mean power, summed energy.

    Raises `InvalidInput` or `UnknownValue` naming every bad argument, and `TooLarge` beyond
    `max_candidates` combinations of deployment and shape.
    """
    bounds = {"latency_ms": max_latency_ms, "power_w": max_power_w, "energy_mj": max_energy_mj}
    _check_options(bounds, objective, limit)
    limits = {name: None if bound is None else float(bound) for name, bound in bounds.items()}
    axes = _axes(predictor.task, {"gpu": gpus, "framework": frameworks, "dtype": dtypes})
    sizes, counts = read_shapes(predictor.task, shapes)
    deployments = list(itertools.product(*axes.values()))
    rows = len(deployments) * len(counts)
    if rows > max_candidates:
        raise TooLarge(
            f"{len(deployments)} deployments x {len(counts)} shapes = {rows} candidates, "
            f"more than {max_candidates}"
        )
    columns: dict[str, NDArray[Any]] = {
        name: np.repeat(np.array([row[at] for row in deployments], dtype=object), len(counts))
        for at, name in enumerate(axes)
    }
    columns |= {name: np.tile(size, len(deployments)) for name, size in sizes.items()}
    prediction = predictor.predict_columns(columns)
    totals = _Totals(prediction, len(deployments), counts)
    measured = {
        tuple(deployment.get(name) for name in axes)
        for deployment in predictor.bundle.card["deployments"]
    }

    known = np.isfinite(totals.value["latency_ms"])
    excluded, feasible = _apply(totals, limits, objective, known)
    pareto = _pareto(totals, feasible)
    choices = [
        totals.choice(row, deployments[row], deployments[row] in measured, bool(pareto[row]))
        for row in _ranked(totals, objective, feasible)
    ]
    miss = None if choices else _closest_miss(totals, limits, objective, known)
    return Recommendation(
        task=prediction.task,
        model=prediction.model,
        coverage=prediction.coverage,
        objective=objective,
        shapes=len(counts),
        considered=len(deployments),
        feasible=len(choices),
        choices=tuple(choices if limit is None else choices[: int(limit)]),
        pareto_front=tuple(choice for choice in choices if choice.pareto),
        excluded=excluded,
        withheld=totals.withheld(known),
        closest_miss=None
        if miss is None
        else totals.choice(miss, deployments[miss], deployments[miss] in measured, False),
    )


class _Totals:
    """Sums over the shapes for D deployments: `value`, `low`, `high` map a quantity to [D]."""

    def __init__(self, prediction: Prediction, deployments: int, counts: NDArray[np.int64]) -> None:
        grid = (deployments, len(counts))
        latency, power = prediction["latency_ms"], prediction["power_w"]
        self.value: dict[str, NDArray[np.float64]] = {}
        self.low: dict[str, NDArray[np.float64]] = {}
        self.high: dict[str, NDArray[np.float64]] = {}
        seconds = latency.value.reshape(grid) * counts
        for ends, times, watts in (
            (self.value, latency.value, power.value),
            (self.low, latency.low, power.low),
            (self.high, latency.high, power.high),
        ):
            assert times is not None  # both quantities have intervals
            assert watts is not None
            busy = times.reshape(grid) * counts
            ends["latency_ms"] = busy.sum(axis=1)
            ends["energy_mj"] = (busy * watts.reshape(grid)).sum(axis=1)
            # mean power: each shape's power weighted by the time it is expected to take
            ends["power_w"] = (seconds * watts.reshape(grid)).sum(axis=1) / seconds.sum(axis=1)
        self._status = prediction.status.reshape(grid).max(axis=1)
        self._reasons = prediction.reasons
        self._bits = np.bitwise_or.reduce(prediction.reasons.bits.reshape(grid), axis=1)

    def choice(self, row: int, deployment: Sequence[str], measured: bool, pareto: bool) -> Choice:
        numbers = {
            name + suffix: _number(ends[name][row])
            for name in QUANTITIES
            for suffix, ends in (("", self.value), ("_low", self.low), ("_high", self.high))
        }
        gpu, framework, dtype = deployment
        return Choice(
            gpu=gpu,
            framework=framework,
            dtype=dtype,
            status=STATUSES[self._status[row]],
            reasons=self._reasons.sentences(int(self._bits[row])),
            measured=measured,
            pareto=pareto,
            **numbers,  # type: ignore[arg-type]  # latency is known for every choice
        )

    def withheld(self, known: NDArray[np.bool_]) -> tuple[Withheld, ...]:
        groups = Counter(self._bits[~known].tolist()).most_common()
        return tuple(
            Withheld(count=count, reasons=self._reasons.sentences(bits)) for bits, count in groups
        )


def _check_options(limits: Mapping[str, object], objective: object, limit: object) -> None:
    problems = []
    for name, bound in limits.items():
        if bound is not None and not _positive(bound):
            reason = f"must be a positive number, not {shown(bound)}"
            problems.append(Problem(f"max_{name}", reason))
    if objective not in QUANTITIES:
        known = ", ".join(QUANTITIES)
        problems.append(Problem("objective", f"must be one of {known}, not {shown(objective)}"))
    if limit is not None and not _whole(limit):
        reason = f"must be a positive whole number, not {shown(limit)}"
        problems.append(Problem("limit", reason))
    if problems:
        raise InvalidInput(problems)


def _whole(limit: object) -> bool:
    """Whether `limit` counts something; 10.0 does too, as it does in every column."""
    if type(limit) is float:
        return limit.is_integer() and limit >= 1
    return type(limit) is int and limit >= 1


def _positive(bound: object) -> bool:
    if type(bound) is int:
        return 0 < bound < 2**1023  # what a float can hold
    if not isinstance(bound, float | np.floating | np.integer):
        return False
    return math.isfinite(bound) and float(bound) > 0


def _axes(task: Task, asked: Mapping[str, Sequence[str] | None]) -> dict[str, tuple[str, ...]]:
    """The values of each category to try, in the order asked for. Raises `UnknownValue`."""
    axes: dict[str, tuple[str, ...]] = {}
    problems = []
    for name, values in asked.items():
        allowed = task.input(name).allowed
        listed: Sequence[object] = allowed
        if values is not None:
            alone = isinstance(values, str) or not isinstance(values, Iterable)
            listed = [values] if alone else list(values)
        if not listed:
            problems.append(Problem(f"{name}s", "must name at least one"))
        for value in listed:
            if not isinstance(value, str):
                problems.append(Problem(f"{name}s", f"must be strings, not {shown(value)}"))
            elif value not in allowed:
                reason = f"unknown value {shown(value)}; {nearest(value, allowed)}"
                problems.append(Problem(f"{name}s", reason))
        axes[name] = tuple(dict.fromkeys(value for value in listed if isinstance(value, str)))
    if problems:
        raise refusal(problems)
    return axes


def _apply(
    totals: _Totals,
    limits: Mapping[str, float | None],
    objective: str,
    known: NDArray[np.bool_],
) -> tuple[tuple[Exclusion, ...], NDArray[np.bool_]]:
    """What each constraint excludes among the `known` [D], and which deployments are left [D]."""
    feasible = known.copy()
    excluded = []
    for name, bound in limits.items():
        values = totals.value[name]
        if bound is None and name != objective:
            continue
        absent = known & ~np.isfinite(values)
        if absent.any():
            excluded.append(
                Exclusion(constraint=name, limit=None, count=int(absent.sum()), closest=None)
            )
        feasible &= ~absent
        if bound is None:
            continue
        over = known & (values > bound)
        if over.any():
            closest = float(values[over].min())
            excluded.append(
                Exclusion(
                    constraint=f"max_{name}",
                    limit=float(bound),
                    count=int(over.sum()),
                    closest=closest,
                )
            )
        feasible &= ~over
    return tuple(excluded), feasible


def _ranked(totals: _Totals, objective: str, feasible: NDArray[np.bool_]) -> list[int]:
    rows = np.flatnonzero(feasible)
    keys = (totals.value["latency_ms"][rows], totals.value[objective][rows])
    order: list[int] = rows[np.lexsort(keys)].tolist()
    return order


def _pareto(totals: _Totals, feasible: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Feasible deployments that no other one beats, [D]; those without power are not compared."""
    costs = np.stack([totals.value[name] for name in QUANTITIES], axis=1)
    front = np.zeros(len(feasible), dtype=np.bool_)
    rows = np.flatnonzero(feasible & np.isfinite(costs).all(axis=1))
    rivals = costs[rows]
    for row in rows:
        no_worse = (rivals <= costs[row]).all(axis=1)
        better = (rivals < costs[row]).any(axis=1)
        front[row] = not (no_worse & better).any()
    return front


def _closest_miss(
    totals: _Totals,
    limits: Mapping[str, float | None],
    objective: str,
    known: NDArray[np.bool_],
) -> int | None:
    excess = np.where(known & np.isfinite(totals.value[objective]), 0.0, np.inf)
    for name, bound in limits.items():
        if bound is not None:
            with np.errstate(over="ignore"):  # a bound can be next to nothing
                ratio = totals.value[name] / bound
            excess = np.maximum(excess, np.where(np.isfinite(ratio), ratio, np.inf))
    return int(excess.argmin()) if np.isfinite(excess).any() else None


def _number(value: np.float64) -> float | None:
    return float(f"{value:.7g}") if np.isfinite(value) else None
