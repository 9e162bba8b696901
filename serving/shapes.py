"""Lists of matrix shapes, read strictly from tuples, mappings or arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import InvalidInput, Problem, nearest
from perfcast.task import Input, Task

__all__ = ["COUNT", "Shapes", "read_shapes"]

Shape = Sequence[int] | Mapping[str, int]
Shapes = Shape | Sequence[Shape] | NDArray[np.int64]
"""(m, n, k) or (m, n, k, count), or a mapping with those names; one, or many; or [S, 3 or 4]."""

COUNT = Input(
    name="count", kind="integer", example=1, description="how often it runs", maximum=2**31
)


def read_shapes(task: Task, shapes: Shapes) -> tuple[dict[str, NDArray[np.int64]], NDArray[Any]]:
    """The task's integer columns and the counts, each int64 [S], S >= 1.

    Raises `InvalidInput` with every problem found, `row` being the shape's place in the list.
    """
    sizes = tuple(column for column in task.inputs if column.kind == "integer")
    names = tuple(column.name for column in sizes)
    form = f"must be ({', '.join(names)}) or ({', '.join(names)}, count)"
    problems: list[Problem] = []
    columns: dict[str, list[Any]] = {name: [] for name in (*names, "count")}
    for row, shape in enumerate(_listed(shapes, form)):
        if isinstance(shape, Mapping):
            unknown = [name for name in shape if name not in columns]
            problems += [
                Problem(str(name), f"unknown column; {nearest(name, columns)}", row)
                for name in unknown
            ]
            values = [shape.get(name) for name in names] + [shape.get("count", 1)]
        elif isinstance(shape, Sequence) and not isinstance(shape, str | bytes):
            values = [*shape, 1] if len(shape) == len(names) else list(shape)
        else:
            values = []
        if len(values) != len(columns):
            problems.append(Problem("shape", form, row))
            values = [1] * len(columns)  # stands in, so that the others are checked as well
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    if not columns["count"]:
        problems.append(Problem("shapes", "must hold at least one shape"))
    whole = Task(name="shapes", title="shapes", inputs=(*sizes, COUNT), outputs=())
    checked, found = whole.validate(columns)
    if problems or found:
        raise InvalidInput([*problems, *found])
    return {name: checked[name] for name in names}, checked["count"]


def _listed(shapes: Any, form: str) -> Sequence[Any]:
    """`shapes` as a list of shapes, wherever one was given alone."""
    if isinstance(shapes, np.ndarray):
        shapes = shapes.tolist()
    if isinstance(shapes, Mapping):
        return [shapes]
    if not isinstance(shapes, Sequence) or isinstance(shapes, str | bytes):
        raise InvalidInput([Problem("shapes", f"{form}, or a list of such")])
    alone = bool(shapes) and not any(isinstance(item, Sequence | Mapping) for item in shapes)
    return [shapes] if alone else shapes
