"""Columns of measurements, checked cell by cell: the first bad one is named and refused.

Every function takes the file's label and the column's name for its message, and raises `DataError`.
Rows are counted from 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perfcast.errors import DataError, nearest
from perfcast.task import Input

__all__ = ["integer_column", "positive_column", "refuse", "text_column"]


def refuse(
    label: str, name: str, bad: NDArray[np.bool_], reason: str | Callable[[int], str]
) -> None:
    """Raise for the first row [N] marked bad, saying how many more there are."""
    rows = np.flatnonzero(bad)
    if len(rows) == 0:
        return
    more = f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
    row = int(rows[0])
    why = reason if isinstance(reason, str) else reason(row)
    raise DataError(f"{label}: row {row} (from 0), column {name!r}: {why}{more}")


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def text_column(
    label: str, name: str, column: pa.ChunkedArray, declared: Input | None
) -> pa.DictionaryArray:
    """Strings among the declared ones; null is refused in a category and reads "" in a text."""
    array = _one_array(column)
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if not pa.types.is_dictionary(array.type):
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            raise DataError(f"{label}: column {name!r}: must hold strings, not {array.type}")
        array = array.dictionary_encode()
    nulls = np.asarray(array.is_null())
    if declared is not None and declared.kind == "category":
        refuse(label, name, nulls, "null")
    levels = array.dictionary.cast(pa.string()).to_pylist()
    codes = np.asarray(pc.fill_null(array.indices, -1)).astype(np.int32)
    codes = np.where(nulls, len(levels), codes)  # an optional text that is absent reads ""
    levels = ["" if level is None else level for level in levels] + [""]
    if declared is not None and declared.allowed:
        known = np.array([level in declared.allowed for level in levels])
        allowed = declared.allowed
        refuse(
            label, name, ~known[codes],
            lambda row: f"unknown {levels[codes[row]]!r}; {nearest(levels[codes[row]], allowed)}",
        )  # fmt: skip
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(levels, pa.string()))


def _numbers(
    label: str, name: str, column: pa.ChunkedArray
) -> tuple[NDArray[np.float64], pa.Array]:
    """Float64 [N], NaN for null; and the column as read."""
    array = _one_array(column)
    refusal = f"{label}: column {name!r}: must hold numbers, not {array.type}"
    if pa.types.is_boolean(array.type):
        raise DataError(refusal)
    try:
        values = array.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            raise DataError(refusal) from None
        words = array.to_pylist()
        bad = np.array([word is not None and not _is_number(word) for word in words])
        refuse(label, name, bad, lambda row: f"{words[row]!r} is not a number")
        raise DataError(refusal) from None  # a number to Python only, such as 1_000
    return np.asarray(values.fill_null(np.nan)), array


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def integer_column(label: str, declared: Input, column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Whole numbers within the declared bounds, in whatever type they are stored."""
    values, array = _numbers(label, declared.name, column)
    refuse(label, declared.name, np.isnan(values), "null")
    good = (values == np.floor(values)) & (values >= declared.minimum)
    good &= values <= declared.maximum
    bounds = f"must be a whole number from {declared.minimum} to {declared.maximum:,}"
    refuse(label, declared.name, ~good, lambda row: f"{bounds}, not {array[row].as_py()!r}")
    return values.astype(np.int64)


def positive_column(
    label: str, name: str, column: pa.ChunkedArray, *, required: bool
) -> NDArray[np.float64]:
    """Positive finite numbers; null and NaN become NaN unless the column is required."""
    values, array = _numbers(label, name, column)
    if required:
        refuse(label, name, np.isnan(values), "null or NaN")
    with np.errstate(invalid="ignore"):
        bad = ~np.isnan(values) & ~((values > 0) & (values < np.inf))
    wanted = "must be positive and finite"
    refuse(label, name, bad, lambda row: f"{wanted}, not {array[row].as_py()!r}")
    return values
