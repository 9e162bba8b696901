"""Estimates made from a model's raw outputs, each when it is first looked at."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.prediction import Estimate
from perfcast.task import Output

__all__ = ["Estimates", "worst"]


class Estimates(Mapping[str, Estimate]):
    """The quantities of one prediction, by name, in the task's order.

    Making all of them costs as much as half a model run when there is a single row, and most
    callers look at one or two.
    """

    __slots__ = ("_made", "_outputs", "_raw")

    def __init__(self, outputs: Mapping[str, Output], raw: Mapping[str, NDArray[Any]]) -> None:
        """`raw` holds the model's outputs as `perfcast.bundle` describes them, each [N]."""
        self._outputs = outputs
        self._raw = raw
        self._made: dict[str, Estimate] = {}

    def __getitem__(self, name: str) -> Estimate:
        estimate = self._made.get(name)
        if estimate is None:
            estimate = self._made[name] = self._make(self._outputs[name])
        return estimate

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def __repr__(self) -> str:
        return repr(dict(self))

    def _make(self, output: Output) -> Estimate:
        value = self._raw[output.name].astype(np.float64)
        if output.interval:
            return Estimate(
                output.unit,
                value,
                self._raw[f"{output.name}_low"].astype(np.float64),
                self._raw[f"{output.name}_high"].astype(np.float64),
                self._raw[f"{output.name}_status"],
            )
        sources = output.derived_from or tuple(
            other.name for other in self._outputs.values() if other.interval
        )
        status = worst([self._raw[f"{source}_status"] for source in sources])
        return Estimate(output.unit, value, None, None, status)


def worst(statuses: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The worst of some quantities' statuses, row by row, [N]."""
    return functools.reduce(np.maximum, statuses)
