"""How many rows each model has answered, by status: one small sum per run of a model.

`Engine` counts every run, so each door that asks an engine (`/v1`, `/v2`) is counted by asking.
A door that runs a model in another way calls `observe` once per run. Whoever exports metrics reads
`tallies`. Counting belongs to one thread, the event loop's; two would lose a row now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perfcast.prediction import STATUSES
from perfcast.serving.estimates import worst

__all__ = ["Tally", "observe", "tallies", "tally_of"]

_WORST: Final = len(STATUSES) - 1
_TALLIES: dict[tuple[str, str], Tally] = {}


class Tally:
    """Rows answered by one model of one task: `rows[i]` had the status `STATUSES[i]`."""

    __slots__ = ("_names", "model", "rows", "task")

    def __init__(self, task: str, model: str, statuses: Sequence[str]) -> None:
        """`statuses` names the model's outputs that hold a status, one per quantity."""
        self.task = task
        self.model = model
        self.rows = [0] * len(STATUSES)
        self._names = tuple(statuses)

    def add(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Count the rows of one run's `outputs`, each [N]; a row's status is its worst one."""
        columns = [outputs[name] for name in self._names]
        if columns and len(columns[0]) == 1:
            # one row is the usual question, and a call into NumPy would cost more than all this
            status = max([int(column[0]) for column in columns])
            self.rows[min(max(status, 0), _WORST)] += 1
        elif columns:
            self.count(worst(columns))

    def count(self, statuses: NDArray[np.int64]) -> None:
        """Count rows by their overall `statuses` [N], as indices of `STATUSES`."""
        counts = np.bincount(np.clip(statuses, 0, _WORST), minlength=len(STATUSES))
        for status, rows in enumerate(counts.tolist()):
            self.rows[status] += rows


def tally_of(task: str, model: str, statuses: Sequence[str] = ()) -> Tally:
    """The one tally of `model` in this process; it outlives the model, as a counter must."""
    tally = _TALLIES.get((task, model))
    if tally is None:
        tally = _TALLIES[task, model] = Tally(task, model, statuses)
    return tally


def observe(task: str, model: str, statuses: NDArray[np.int64]) -> None:
    """Count one run that no engine made: rows [N] of `model`, by overall status."""
    tally_of(task, model).count(statuses)


def tallies() -> Iterable[Tally]:
    """Every tally of this process."""
    return tuple(_TALLIES.values())
