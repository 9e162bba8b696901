"""Input tensors become a task's columns, and those what the model takes."""

from __future__ import annotations

import struct
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import MalformedRequest
from perfcast.serving.oip.plan import INTEGERS, Plan, Tensor
from perfcast.serving.oip.strings import read_strings
from perfcast.serving.scalars import ScalarFeeds
from perfcast.task import Task

__all__ = ["Reader", "make_reader"]

Feeds = dict[str, NDArray[Any]]


class Reader(Protocol):
    """Reads one request's data."""

    def __call__(self, body: bytes, start: int) -> Feeds:
        """Checked model inputs, each [N], from a `body` whose binary data begins at `start`.

        Raises `MalformedRequest` for data that is not what it was said to be, and what
        `Task.require_valid` raises.
        """


def make_reader(plan: Plan, task: Task, short_way: ScalarFeeds) -> Reader:
    """A reader for every request with this plan."""
    if plan.rows > 1:
        return _Rows(plan, task)
    if plan.repeatable:
        return _OneRow(plan, task, short_way)
    return _Mixed(plan, task, short_way)


def _single(columns: dict[str, Any], task: Task, short_way: ScalarFeeds) -> Feeds:
    """Checked inputs of one row."""
    feeds = short_way(columns)
    if feeds is None:  # as lists, so that what is wrong is named by its row
        feeds = task.require_valid({name: [value] for name, value in columns.items()})
    return feeds


class _OneRow:
    """One row, all binary: where everything stands is known before it comes."""

    def __init__(self, plan: Plan, task: Task, short_way: ScalarFeeds) -> None:
        layout = "<"
        self._slots: list[tuple[str, int | None]] = []  # name, length of its text
        for tensor in plan.inputs:
            if tensor.datatype == "BYTES":
                length = tensor.size - 4
                layout += f"I{length}s"
                self._slots.append((tensor.name, length))
            else:
                layout += INTEGERS[tensor.datatype]
                self._slots.append((tensor.name, None))
        self._unpack = struct.Struct(layout).unpack_from
        self._task = task
        self._short_way = short_way

    def __call__(self, body: bytes, start: int) -> Feeds:
        values = iter(self._unpack(body, start))
        columns: dict[str, Any] = {}
        for name, length in self._slots:
            value = next(values)
            if length is not None:
                if value != length:
                    raise MalformedRequest(
                        f"input {name}: a string of {value} bytes where {length} are left"
                    )
                value = next(values).decode("utf-8", "surrogateescape")
            columns[name] = value
        return _single(columns, self._task, self._short_way)


class _Rows:
    """Any number of rows, in any mixture of JSON and binary."""

    def __init__(self, plan: Plan, task: Task) -> None:
        self._inputs = plan.inputs
        self._rows = plan.rows
        self._task = task

    def __call__(self, body: bytes, start: int) -> Feeds:
        return self._task.require_valid(self._columns(body, start))

    def _columns(self, body: bytes, start: int) -> dict[str, Any]:
        return {tensor.name: self._column(tensor, body, start) for tensor in self._inputs}

    def _column(self, tensor: Tensor, body: bytes, start: int) -> Any:
        if tensor.data is not None:
            return tensor.data
        at = start + tensor.offset
        if tensor.datatype == "BYTES":
            try:
                return read_strings(body[at : at + tensor.size], self._rows)
            except MalformedRequest as error:
                raise MalformedRequest(f"input {tensor.name}: {error}") from None
        kind = f"<{_numpy_code(tensor.datatype)}"
        # a copy, because the place of the data in the body is seldom aligned
        return np.frombuffer(body, dtype=kind, count=self._rows, offset=at).copy()


class _Mixed(_Rows):
    """One row of which some or all is JSON."""

    def __init__(self, plan: Plan, task: Task, short_way: ScalarFeeds) -> None:
        super().__init__(plan, task)
        self._short_way = short_way

    def __call__(self, body: bytes, start: int) -> Feeds:
        columns = self._columns(body, start)
        one = {
            name: values[0] if isinstance(values, list) else values.tolist()[0]
            for name, values in columns.items()
        }
        return _single(one, self._task, self._short_way)


def _numpy_code(datatype: str) -> str:
    bits = int(datatype.lstrip("UINT"))
    return f"{'u' if datatype.startswith('U') else 'i'}{bits // 8}"
