"""A Task is a kind of question: its name, its input columns and its output columns.

One definition drives the CLI's options, the REST schema, the OpenAPI document and validation,
and training reads the same columns from its data sets.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import InvalidInput, Problem, nearest, refusal

__all__ = ["Coded", "Input", "Output", "Task", "shown", "usable_text"]

_MAX_PROBLEMS = 100  # a file of a million bad rows must not become a million messages
_MAX_TEXT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input column of a task.

    `category` columns hold strings from `allowed`; `text` columns any short string;
    `integer` columns whole numbers within [`minimum`, `maximum`] in `unit`.
    An optional column (`required=False`) may be absent or null; `default_note` says what then.
    """

    name: str
    kind: Literal["category", "text", "integer"]
    description: str
    example: str | int
    unit: str | None = None
    required: bool = True
    default_note: str | None = None
    allowed: tuple[str, ...] = ()
    minimum: int = 1
    maximum: int = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One predicted quantity. `interval` says whether `<name>_low` and `<name>_high` come with it.

    A quantity without an interval is computed from those named in `derived_from` (default: all
    that have one) and is worth what the worst of them is worth.
    """

    name: str
    unit: str
    description: str
    interval: bool = True
    derived_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """A column [N] of strings among which few differ: row i holds `words[codes[i]]`.

    Whoever reads many rows quickly has it in this form, and checking each word once is enough.
    """

    words: Sequence[str]
    codes: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.codes)

    def tolist(self) -> list[str]:
        return [self.words[code] for code in self.codes.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of question."""

    name: str
    title: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.inputs)

    def input(self, name: str) -> Input:
        for column in self.inputs:
            if column.name == name:
                return column
        raise InvalidInput([Problem(name, f"no such column; {nearest(name, self.input_names)}")])

    def check_names(self, names: Sequence[str]) -> None:
        """Raise `InvalidInput` for a column this task does not have or one it needs and lacks."""
        problems = self._name_problems(names)
        if problems:
            raise InvalidInput(problems)

    def _name_problems(self, names: Sequence[str]) -> list[Problem]:
        known = self.input_names
        problems = [
            Problem(name, f"unknown column; {nearest(name, known)}")
            for name in names
            if name not in known
        ]
        problems += [
            Problem(column.name, "missing; it is required")
            for column in self.inputs
            if column.required and column.name not in names
        ]
        return problems

    def validate(
        self, columns: Mapping[str, Any], *, limit: int | None = _MAX_PROBLEMS
    ) -> tuple[dict[str, NDArray[Any]], list[Problem]]:
        """Check columns of equal length [N] (scalars broadcast) against this task.

        A column is a list, another sequence, an array or `Coded`.

        Returns `(checked, problems)`. `checked` has every input column: object arrays of `str`
        for categories and text ("" where an optional one is absent), int64 for integers (1 where
        the value was unusable, so that the other rows can still be answered). `problems` names
        the row and field of every unusable value, at most `limit` of them per column; a problem
        with a value given once for all rows has no row.

        Raises `InvalidInput` for unknown or missing columns, for columns of unequal length and
        for arrays of more than one dimension.
        """
        misnamed = self._name_problems(list(columns))
        given = {
            name: _listed(name, value)
            for name, value in columns.items()
            if name in self.input_names
        }
        lengths = {name: len(v) for name, v in given.items() if isinstance(v, _MANY)}
        if len(set(lengths.values())) > 1:
            detail = ", ".join(f"{name}: {length}" for name, length in lengths.items())
            raise InvalidInput([Problem("columns", f"lengths differ ({detail})")])
        size = next(iter(lengths.values()), 1)
        checked: dict[str, NDArray[Any]] = {}
        problems: list[Problem] = []
        for column in self.inputs:
            if column.required and column.name not in given:
                continue
            value = given.get(column.name)
            check = _integers if column.kind == "integer" else _strings
            if isinstance(value, _MANY):
                checked[column.name], bad = check(column, value, limit)
            else:
                one, bad = check(column, [value], 1)
                checked[column.name] = np.repeat(one, size)
                bad = [(None, reason) for _, reason in bad]
            problems += [Problem(column.name, reason, row) for row, reason in bad]
        if misnamed:
            raise InvalidInput([*misnamed, *problems])
        return checked, problems

    def require_valid(self, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """`validate`, raising `UnknownValue` or `InvalidInput` if anything is wrong."""
        checked, problems = self.validate(columns)
        if problems:
            raise refusal(problems)
        return checked


_Bad = list[tuple[int | None, str]]
_MANY = (list, np.ndarray, Coded)


def _listed(name: str, value: Any) -> Any:
    """`value` as a list or a one-dimensional array if it holds many values, else itself."""
    if isinstance(value, str | bytes | bytearray | memoryview | Coded):
        return value
    if isinstance(value, Sequence):
        return value if isinstance(value, list) else list(value)
    if not hasattr(value, "__array__"):
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise InvalidInput([Problem(name, "cannot be read as an array")]) from error
    if array.ndim > 1:
        shape = "x".join(map(str, array.shape))
        reason = f"must be a single value or a one-dimensional array, not {shape}"
        raise InvalidInput([Problem(name, reason)])
    return array[()] if array.ndim == 0 else array


def _strings(
    column: Input, values: list[Any] | NDArray[Any] | Coded, limit: int | None
) -> tuple[NDArray[np.object_], _Bad]:
    if isinstance(values, Coded):
        return _coded(column, values, limit)
    items: list[Any] = values if isinstance(values, list) else values.tolist()
    allowed = frozenset(column.allowed)
    try:  # the common case costs one pass over the rows and one look at each distinct value
        distinct = set(items)
    except TypeError:  # something unhashable hides among them
        distinct = None
    if distinct is not None and all(_fits(column, allowed, item) for item in distinct):
        if not all(type(item) is str for item in distinct):  # nulls, or numpy's own strings
            plain = {item: str(item) if isinstance(item, str) else "" for item in distinct}
            items = [plain[item] for item in items]
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array, []
    array = np.full(len(items), "", dtype=object)
    faults: dict[tuple[type, Hashable], str] = {}
    bad: _Bad = []
    for row, item in enumerate(items):
        if _fits(column, allowed, item):
            array[row] = str(item) if isinstance(item, str) else ""
        elif limit is None or len(bad) < limit:
            key = (type(item), item if isinstance(item, str) else None)
            if key not in faults:
                faults[key] = _fault(column, item)
            bad.append((row, faults[key]))
    return array, bad


def _coded(column: Input, values: Coded, limit: int | None) -> tuple[NDArray[np.object_], _Bad]:
    allowed = frozenset(column.allowed)
    fits = [_fits(column, allowed, word) for word in values.words]
    words = np.empty(len(fits), dtype=object)
    words[:] = [word if fine else "" for word, fine in zip(values.words, fits, strict=True)]
    array = words.take(values.codes)
    if all(fits):
        return array, []
    rows = np.flatnonzero(~np.array(fits, dtype=bool)[values.codes])[:limit]
    codes = values.codes[rows]
    faults = {code: _fault(column, values.words[code]) for code in set(codes.tolist())}
    return array, [(row, faults[c]) for row, c in zip(rows.tolist(), codes.tolist(), strict=True)]


def _fits(column: Input, allowed: frozenset[str], item: Any) -> bool:
    """Whether `item` can stand in a column of strings."""
    if isinstance(item, str):
        if item in allowed:
            return True
        return not column.required if item == "" else not allowed and usable_text(item)
    return not column.required and _absent(item)


def _absent(item: Any) -> bool:
    return item is None or (isinstance(item, float) and math.isnan(item))


def _fault(column: Input, item: Any) -> str:
    """Why `item`, which does not fit, cannot stand in a column of strings."""
    if _absent(item) or (isinstance(item, str) and not item):
        return "missing; it is required"
    if not isinstance(item, str):
        return f"must be a string, not {type(item).__name__}"
    if column.allowed and len(item) <= _MAX_TEXT:
        return f"unknown value {item!r}; {nearest(item, column.allowed)}"
    return f"must be printable text of at most {_MAX_TEXT} characters"


def usable_text(text: str) -> bool:
    """Whether `text` may stand in a text column: printable (so encodable) and not too long."""
    return len(text) <= _MAX_TEXT and text.isprintable()


def _integers(
    column: Input, values: list[Any] | NDArray[Any] | Coded, limit: int | None
) -> tuple[NDArray[np.int64], _Bad]:
    if isinstance(values, Coded):
        values = values.tolist()
    if isinstance(values, list) and set(map(type, values)) == {int}:
        with contextlib.suppress(OverflowError):  # found again below, with its row
            values = np.array(values, dtype=np.int64)
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        ok = (values >= column.minimum) & (values <= column.maximum)
        if values.dtype.kind == "f":
            ok &= values == np.floor(values)
        if ok.all():
            return values.astype(np.int64, copy=False), []
        array = np.where(ok, values, 1).astype(np.int64)
    else:
        items = values if isinstance(values, list) else values.tolist()
        whole = [_whole(item) for item in items]
        ok = np.array(
            [n is not None and column.minimum <= n <= column.maximum for n in whole], dtype=bool
        )
        array = np.array([n if fine else 1 for n, fine in zip(whole, ok, strict=True)], np.int64)
    unit = "" if column.unit is None else f" {column.unit}"
    accepted = f"must be a whole number from {column.minimum} to {column.maximum}{unit}"
    rows = np.flatnonzero(~ok)[:limit].tolist()
    return array, [
        (row, "missing; it " + accepted if item is None else f"{accepted}, not {shown(item)}")
        for row, item in ((row, values[row]) for row in rows)
    ]


def _whole(item: Any) -> int | None:
    if isinstance(item, bool | np.bool_):
        return None
    if isinstance(item, float | np.floating):
        return int(item) if float(item).is_integer() else None
    try:
        return operator.index(item)
    except TypeError:
        return None


def shown(item: Any) -> str:
    """`item` as messages show it: short, whatever it is."""
    if item is None:
        return "null"
    plain = item.item() if isinstance(item, np.generic) else item
    if isinstance(plain, int) and abs(plain) > 10**30:
        return "a number of more than 30 digits"  # int's own repr refuses beyond 4,300
    text = repr(plain) if isinstance(plain, str | int | float) else type(plain).__name__
    return text if len(text) <= 40 else text[:37] + "..."
