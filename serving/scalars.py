"""The short way for one question with plain values: from Python scalars to model inputs.

`Task.validate` handles everything and costs tens of microseconds for a single row, about as much
as the model itself. This handles only what is certainly right, in a few, and hands on the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.task import Input, Task, usable_text

__all__ = ["ScalarFeeds"]


class ScalarFeeds:
    """Turns one row of a task's plain values into arrays of length one."""

    def __init__(self, task: Task) -> None:
        self._names = frozenset(task.input_names)
        self._categories: dict[str, dict[str | None, NDArray[np.object_]]] = {
            column.name: _ready(column) for column in task.inputs if column.kind != "integer"
        }
        self._texts = frozenset(column.name for column in task.inputs if column.kind == "text")
        self._bounds = tuple(
            (column.name, column.minimum, column.maximum)
            for column in task.inputs
            if column.kind == "integer"
        )

    def __call__(self, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """Model inputs, each [1]; None for anything out of the ordinary, valid or not."""
        feeds: dict[str, NDArray[Any]] = {}
        if not columns.keys() <= self._names:
            return None
        for name, ready in self._categories.items():
            value = columns.get(name)
            if value is not None and type(value) is not str:
                return None
            array = ready.get(value)
            if array is None:
                if name not in self._texts or not value or not usable_text(value):
                    return None
                array = np.array([value], dtype=object)
            feeds[name] = array
        for name, minimum, maximum in self._bounds:
            value = columns.get(name)
            if type(value) is not int or not minimum <= value <= maximum:
                return None
            feeds[name] = np.array((value,), dtype=np.int64)
        return feeds


def _ready(column: Input) -> dict[str | None, NDArray[np.object_]]:
    """A column's known values, each as the array that the model takes."""
    ready: dict[str | None, NDArray[np.object_]] = {
        value: np.array([value], dtype=object) for value in column.allowed
    }
    if not column.required:
        ready[None] = ready[""] = np.array([""], dtype=object)
    return ready
