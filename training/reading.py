"""Reads measurements from Parquet and CSV files into a `DataSet`, and refuses bad ones by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perfcast.errors import DataError, nearest
from perfcast.features.hardware import peak_tflops
from perfcast.task import Input, Task
from perfcast.training.cells import integer_column, positive_column, refuse, text_column
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
    table, present = _table(label, path, task)
    for column in task.inputs:
        if column.kind != "text" and column.name not in table.column_names:
            _missing(label, column.name, present)
    target = task.outputs[0].name
    if target not in table.column_names:
        _missing(label, target, present)

    def text(name: str, column: Input | None) -> pa.DictionaryArray:
        if name not in table.column_names:
            return pa.array([""]).dictionary_encode().take(pa.array(np.zeros(len(table), np.int8)))
        return text_column(label, name, table[name], column)

    def measured(name: str) -> NDArray[np.float64]:
        if name not in table.column_names:
            return np.full(len(table), np.nan)
        return positive_column(label, name, table[name], required=name == target)

    named = {column.name: column for column in task.inputs}
    texts = {c.name: text(c.name, c) for c in task.inputs if c.kind != "integer"}
    texts |= {name: text(name, None) for name in EXTRA_TEXT}
    numbers: dict[str, NDArray[Any]] = {
        name: integer_column(label, column, table[name])
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


def _table(label: str, path: Path, task: Task) -> tuple[pa.Table, Sequence[str]]:
    """The columns a data set may use, and the names of all that the file has."""
    texts = [column.name for column in task.inputs if column.kind != "integer"] + [*EXTRA_TEXT]
    wanted = {*task.input_names, *EXTRA_TEXT, *EXTRA_NUMBERS, *(o.name for o in task.outputs)}
    try:
        if path.name.endswith(".parquet"):
            present = pq.read_schema(path).names
            encoded = [name for name in texts if name in present]
            with pq.ParquetFile(path, read_dictionary=encoded) as file:
                table = file.read(columns=[name for name in present if name in wanted])
                return table.combine_chunks(), present
        # a version such as 0.10 must not be read as a number
        types = {name: pa.string() for name in texts}
        options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True)
        table = pyarrow.csv.read_csv(path, convert_options=options).combine_chunks()
        return table, table.column_names
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{label}: cannot be read: {reason}") from error


def _missing(label: str, name: str, present: Sequence[str]) -> None:
    raise DataError(f"{label}: no column {name!r}; {nearest(name, present)}")


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
    refuse(
        label, "dtype", np.isnan(peak),
        lambda row: f"{gpus[gpu[row]]} has no hardware for {dtypes[dtype[row]]!r}",
    )  # fmt: skip
    operations = 2.0 * numbers["m"] * numbers["n"] * numbers["k"]
    tflops = operations / numbers["latency_ms"] * 1e-9
    refuse(
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
