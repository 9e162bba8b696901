"""What a recommendation says: choices, what was excluded and why, and the closest miss."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["QUANTITIES", "Choice", "Exclusion", "Objective", "Recommendation", "Withheld"]

Objective = Literal["latency_ms", "power_w", "energy_mj"]
QUANTITIES: tuple[str, ...] = get_args(Objective)
INTERVAL_NOTE = (
    "interval ends are summed over the shapes as if all errors pointed the same way: conservative"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One deployment and what all the shapes cost on it. Power and energy are None if unknown.

    `status` is the worst over the shapes, `reasons` all of theirs. `measured` says whether this
    deployment is among those in the model's training data. `pareto` marks the choices that no
    other feasible one beats in latency, power and energy at once.
    """

    gpu: str
    framework: str
    dtype: str
    latency_ms: float
    latency_ms_low: float
    latency_ms_high: float
    power_w: float | None
    power_w_low: float | None
    power_w_high: float | None
    energy_mj: float | None
    energy_mj_low: float | None
    energy_mj_high: float | None
    status: str
    reasons: tuple[str, ...]
    measured: bool
    pareto: bool

    def to_record(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return {**dataclasses.asdict(self), "reasons": list(self.reasons)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """How many candidates a constraint excluded, and the value nearest to its limit among them.

    A candidate that breaks several constraints counts under each. `limit` is None for a quantity
    that a constraint or the objective needs and the model does not know.
    """

    constraint: str
    limit: float | None
    count: int
    closest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """How many candidates the model would not answer for at least one shape, and why."""

    count: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The ranking. `choices` is cut to the limit asked for; `pareto_front` is whole.

    `considered` = `feasible` + those excluded + those withheld. `closest_miss` is set when nothing
    is feasible: the candidate whose worst excess over a constraint is relatively the smallest.
    """

    task: str
    model: str
    coverage: float
    objective: str
    shapes: int
    considered: int
    feasible: int
    choices: tuple[Choice, ...]
    pareto_front: tuple[Choice, ...]
    excluded: tuple[Exclusion, ...]
    withheld: tuple[Withheld, ...]
    closest_miss: Choice | None
    note: str = INTERVAL_NOTE

    def to_records(self) -> list[dict[str, Any]]:
        """The ranked choices, best first, one JSON-ready dict each."""
        return [choice.to_record() for choice in self.choices]

    def to_dict(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        whole = dataclasses.asdict(self)
        for field in ("choices", "pareto_front", "excluded", "withheld"):
            whole[field] = [_plain(item) for item in whole[field]]
        if self.closest_miss is not None:
            whole["closest_miss"] = self.closest_miss.to_record()
        return whole


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """`record` with lists where it has tuples, as JSON would read back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}
