"""Reads measurements from Parquet and CSV files into a `DataSet`, and refuses bad ones by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perfcast.errors import DataError, nearest
from perfcast.features.hardware import peak_tflops
from perfcast.task import Input, Task
from perfcast.training.dataset import Category, DataSet, canonical_order

__all__ = ["read_data_set"]

SUFFIXES = (".parquet", ".csv", ".csv.gz")
EXTRA_NUMBERS = ("power_limit_w",)
EXTRA_TEXT = ("kernel_source",)
FASTEST = 1.05  # of peak: clocks may exceed the stated boost a little, arithmetic may not


def read_data_set(source: Path | str | Sequence[Path | str], *, task: Task) -> DataSet:
    """Measurements of `task` from one file, several, or every Parquet and CSV file of a folder.

    Required columns: the task's categories and integers, and its first output, positive
    everywhere. Optional: text inputs ("" where absent or null), the other outputs (null where
    not measured), `power_limit_w`, `kernel_source`. Further columns are ignored.

    Raises `DataError` naming file, row (counted from 0) and column for missing columns, nulls
    where none may be, unknown categories, numbers out of bounds, duplicates, and rows faster
    than the hardware can be.
    """
    files = _files([source] if isinstance(source, Path | str) else source)
    parts = [_read_file(label, path, task) for label, path in files]
    offsets = np.cumsum([0] + [part.rows for part in parts])
    if offsets[-1] == 0:
        raise DataError(f"{', '.join(label for label, _ in files)}: no rows")
    categories = {
        name: _join([part.text[name] for part in parts], offsets)
        for name in parts[0].text
        if name not in EXTRA_TEXT or any(part.has_extra[name] for part in parts)
    }
    numbers = {
        name: np.concatenate([part.numbers[name] for part in parts])
        for name in parts[0].numbers
        if name not in EXTRA_NUMBERS or any(part.has_extra[name] for part in parts)
    }
    order = canonical_order(task.input_names, categories, numbers)
    data = DataSet(task.name, task.input_names, categories, numbers).take(order)
    _refuse_duplicates(data, order, [label for label, _ in files], offsets)
    return data


@dataclass(frozen=True, slots=True)
class _Part:
    """One file's columns: dictionary arrays, and int64 or float64 arrays [rows]."""

    rows: int
    text: Mapping[str, pa.DictionaryArray]
    numbers: Mapping[str, NDArray[Any]]
    has_extra: Mapping[str, bool]


def _files(sources: Iterable[Path | str]) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES) and p.is_file())
            if not inside:
                raise DataError(f"{path}: no Parquet or CSV file in this folder")
            found += [(p.name, p) for p in inside]
        elif not path.is_file():
            raise DataError(f"{path}: no such file or folder")
        elif not path.name.endswith(SUFFIXES):
            raise DataError(f"{path}: must be a Parquet or CSV file ({', '.join(SUFFIXES)})")
        else:
            found.append((path.name, path))
    if not found:
        raise DataError("no files given")
    return found


def _read_file(label: str, path: Path, task: Task) -> _Part:
    table = _table(label, path, task)
    for column in task.inputs:
        if column.kind != "text" and column.name not in table.column_names:
            _missing(label, column.name, table.column_names)
    target = task.outputs[0].name
    if target not in table.column_names:
        _missing(label, target, table.column_names)

    def text(name: str, column: Input | None) -> pa.DictionaryArray:
        if name not in table.column_names:
            return pa.array([""]).dictionary_encode().take(pa.array(np.zeros(len(table), np.int8)))
        return _text(label, name, table[name], column)

    def measured(name: str) -> NDArray[np.float64]:
        if name not in table.column_names:
            return np.full(len(table), np.nan)
        return _positive(label, name, table[name], required=name == target)

    named = {column.name: column for column in task.inputs}
    texts = {c.name: text(c.name, c) for c in task.inputs if c.kind != "integer"}
    texts |= {name: text(name, None) for name in EXTRA_TEXT}
    numbers: dict[str, NDArray[Any]] = {
        name: _integers(label, column, table[name])
        for name, column in named.items()
        if column.kind == "integer"
    }
    outputs = [output.name for output in task.outputs if output.interval]
    numbers |= {name: measured(name) for name in (*outputs, *EXTRA_NUMBERS)}
    check = _PHYSICS.get(task.name)
    if check is not None and len(table):
        check(label, texts, numbers)
    extra = {name: name in table.column_names for name in (*EXTRA_TEXT, *EXTRA_NUMBERS)}
    return _Part(len(table), texts, numbers, extra)


def _table(label: str, path: Path, task: Task) -> pa.Table:
    texts = [column.name for column in task.inputs if column.kind != "integer"] + [*EXTRA_TEXT]
    wanted = {*task.input_names, *EXTRA_TEXT, *EXTRA_NUMBERS, *(o.name for o in task.outputs)}
    try:
        if path.name.endswith(".parquet"):
            with pq.ParquetFile(path, read_dictionary=texts) as file:
                names = [name for name in file.schema_arrow.names if name in wanted]
                return file.read(columns=names).combine_chunks()
        # a version such as 0.10 must not be read as a number
        types = {name: pa.string() for name in texts}
        options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
        return pyarrow.csv.read_csv(path, convert_options=options).combine_chunks()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{label}: cannot be read: {reason}") from error


def _missing(label: str, name: str, present: Sequence[str]) -> None:
    raise DataError(f"{label}: no column {name!r}; {nearest(name, present)}")


def _refuse(
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


def _text(
    label: str, name: str, column: pa.ChunkedArray, declared: Input | None
) -> pa.DictionaryArray:
    array = _one_array(column)
    if pa.types.is_null(array.type):
        array = array.cast(pa.string())
    if not pa.types.is_dictionary(array.type):
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            raise DataError(f"{label}: column {name!r}: must hold strings, not {array.type}")
        array = array.dictionary_encode()
    nulls = np.asarray(array.is_null())
    if declared is not None and declared.kind == "category":
        _refuse(label, name, nulls, "null")
    levels = array.dictionary.cast(pa.string()).to_pylist()
    codes = np.asarray(pc.fill_null(array.indices, -1)).astype(np.int32)
    codes = np.where(nulls, len(levels), codes)  # an optional text that is absent reads ""
    levels = ["" if level is None else level for level in levels] + [""]
    if declared is not None and declared.allowed:
        known = np.array([level in declared.allowed for level in levels])
        allowed = declared.allowed
        _refuse(
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
        _refuse(label, name, bad, lambda row: f"{words[row]!r} is not a number")
        raise
    return np.asarray(values.fill_null(np.nan)), array


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _integers(label: str, declared: Input, column: pa.ChunkedArray) -> NDArray[np.int64]:
    values, array = _numbers(label, declared.name, column)
    _refuse(label, declared.name, np.isnan(values), "null")
    good = (values == np.floor(values)) & (values >= declared.minimum)
    good &= values <= declared.maximum
    bounds = f"must be a whole number from {declared.minimum} to {declared.maximum:,}"
    _refuse(label, declared.name, ~good, lambda row: f"{bounds}, not {array[row].as_py()!r}")
    return values.astype(np.int64)


def _positive(
    label: str, name: str, column: pa.ChunkedArray, *, required: bool
) -> NDArray[np.float64]:
    values, array = _numbers(label, name, column)
    if required:
        _refuse(label, name, np.isnan(values), "null or NaN")
    with np.errstate(invalid="ignore"):
        bad = ~np.isnan(values) & ~((values > 0) & (values < np.inf))
    wanted = "must be positive and finite"
    _refuse(label, name, bad, lambda row: f"{wanted}, not {array[row].as_py()!r}")
    return values


def _gemm_physics(
    label: str, texts: Mapping[str, pa.DictionaryArray], numbers: Mapping[str, NDArray[Any]]
) -> None:
    """A multiplication of 2 m n k operations cannot beat its GPU's dense peak."""
    gpus, dtypes = (texts[name].dictionary.to_pylist() for name in ("gpu", "dtype"))
    gpu, dtype = (np.asarray(texts[name].indices) for name in ("gpu", "dtype"))
    peaks = np.array(
        [[(peak_tflops(g, d) or np.nan) if g and d else np.nan for d in dtypes] for g in gpus]
    )
    peak = peaks[gpu, dtype]
    _refuse(
        label, "dtype", np.isnan(peak),
        lambda row: f"{gpus[gpu[row]]} has no hardware for {dtypes[dtype[row]]!r}",
    )  # fmt: skip
    operations = 2.0 * numbers["m"] * numbers["n"] * numbers["k"]
    tflops = operations / numbers["latency_ms"] * 1e-9
    _refuse(
        label, "latency_ms", tflops > FASTEST * peak,
        lambda row: f"faster than physically possible: {tflops[row]:,.0f} TFLOP/s, where the dense "
        f"peak of {gpus[gpu[row]]} in {dtypes[dtype[row]]} is {peak[row]:,.0f}",
    )  # fmt: skip


_PHYSICS: Mapping[
    str, Callable[[str, Mapping[str, pa.DictionaryArray], Mapping[str, NDArray[Any]]], None]
] = {"gemm": _gemm_physics}


def _join(parts: Sequence[pa.DictionaryArray], offsets: NDArray[np.int64]) -> Category:
    levels = sorted({level for part in parts for level in part.dictionary.to_pylist()})
    place = {level: code for code, level in enumerate(levels)}
    codes = np.empty(int(offsets[-1]), dtype=np.int32)
    for part, start, end in zip(parts, offsets, offsets[1:], strict=False):
        table = np.array([place[level] for level in part.dictionary.to_pylist()], dtype=np.int32)
        codes[start:end] = table[np.asarray(part.indices)]
    return Category(codes, tuple(levels))


def _refuse_duplicates(
    data: DataSet, order: NDArray[np.int64], labels: Sequence[str], offsets: NDArray[np.int64]
) -> None:
    """`order[i]` is the row of the joined files that became row i of `data`, which is sorted."""
    same = np.ones(max(len(data) - 1, 0), dtype=bool)
    for name in data.keys:
        codes = data.categories[name].codes if name in data.categories else data.numbers[name]
        same &= codes[1:] == codes[:-1]
    found = np.flatnonzero(same)
    if len(found) == 0:
        return
    first = int(found[0])
    key = ", ".join(f"{name}={_plain(data[name][first])}" for name in data.keys)
    places = []
    for row in (int(order[first]), int(order[first + 1])):
        file = int(np.searchsorted(offsets, row, side="right")) - 1
        places.append(f"{labels[file]} row {row - int(offsets[file])}")
    more = f" (and {len(found) - 1} more duplicates)" if len(found) > 1 else ""
    raise DataError(f"{places[1]} (from 0) measures the same as {places[0]}: {key}{more}")


def _plain(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value)
