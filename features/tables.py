"""Tables of questions and answers in Parquet and CSV files, read and written as numpy columns.

The base install has arro3 for Parquet, a fifth of pyarrow's size. Training reads its much larger
files with pyarrow, checking them as it goes (`perfcast.training.reading`).
"""

from __future__ import annotations

import csv
import math
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import DataError

__all__ = ["read_table", "write_table"]

SUFFIXES = (".parquet", ".csv")
_MAGIC = b"PAR1"
_INT64 = range(-(2**63), 2**63)


def read_table(path: Path, *, text: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """Every column of a file, all of one length [N], in the file's order.

    Numbers without nulls are int64 or float64 arrays; everything else is an object array, None
    where a cell is null or, in CSV, empty. CSV cells are read as numbers where they look like
    numbers, cell by cell, except in the columns named in `text`.

    Raises `DataError` for a file that is absent, of another kind, or damaged.
    """
    _check_suffix(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path, frozenset(text))


def write_table(path: Path, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> None:
    """Write columns of one length to a Parquet or CSV file, replacing it only once it is whole.

    None and NaN become nulls (empty cells in CSV). Values that are neither numbers, booleans nor
    strings are written as text. Raises `DataError` if the file cannot be written.
    """
    _check_suffix(path)
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise DataError(f"{path}: columns of unequal length: {sorted(lengths)}")
    try:
        handle, staging = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
        try:
            write = _write_parquet if path.suffix == ".parquet" else _write_csv
            write(Path(staging), arrays)
            Path(staging).chmod(0o666 & ~_umask())
            Path(staging).replace(path)
        except BaseException:
            Path(staging).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: must end in {' or '.join(SUFFIXES)}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_parquet(path: Path) -> dict[str, NDArray[Any]]:
    import arro3.core
    from arro3.io import read_parquet

    types: Any = arro3.core.DataType  # whose stubs declare these predicates always true

    with path.open("rb") as file:
        head = file.read(4)
        file.seek(-min(4, path.stat().st_size), os.SEEK_END)
        if head != _MAGIC or file.read(4) != _MAGIC:
            raise DataError(f"{path}: not a Parquet file, or cut short")
    try:
        table = read_parquet(path).read_all()
        columns: dict[str, NDArray[Any]] = {}
        for name in table.column_names:
            column: Any = table[name]
            numeric = types.is_integer(column.type) or types.is_floating(column.type)
            if numeric and len(column) > 0 and column.null_count == 0:
                columns[name] = _plain_numbers(np.asarray(column.to_numpy()))
            else:
                columns[name] = _objects(column.to_pylist())
    except BaseException as error:
        # arro3 panics on a damaged file, with a class of its own below BaseException
        if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
            raise
        raise DataError(f"{path}: cannot be read as Parquet: {_brief(error)}") from error
    return columns


def _plain_numbers(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    if array.dtype == np.uint64 and array.size and int(array.max()) not in _INT64:
        return array.astype(object)
    return array.astype(np.int64)


def _read_csv(path: Path, text: frozenset[str]) -> dict[str, NDArray[Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, None)
            if not header:
                raise DataError(f"{path}: empty; the first line must name the columns")
            twice = {name for name in header if header.count(name) > 1}
            if twice:
                raise DataError(f"{path}: column {sorted(twice)[0]!r} occurs twice")
            rows: list[list[str]] = []
            for row in reader:
                if len(row) != len(header):
                    if not row:  # a blank line
                        continue
                    raise DataError(
                        f"{path}: line {reader.line_num} has {len(row)} cells, not {len(header)}"
                    )
                rows.append(row)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read as CSV: {_brief(error)}") from error
    cells: Iterable[tuple[str, ...]] = zip(*rows, strict=True) if rows else [()] * len(header)
    return {
        name: _objects([cell or None for cell in column])
        if name in text
        else _numbers_where_possible(column)
        for name, column in zip(header, cells, strict=True)
    }


def _numbers_where_possible(cells: Sequence[str]) -> NDArray[Any]:
    values = [_parsed(cell) for cell in cells]
    kinds = {type(value) for value in values}
    if kinds and kinds <= {int, float} and all(value in _INT64 for value in _ints(values)):
        return np.array(values, dtype=np.int64 if kinds == {int} else np.float64)
    return _objects(values)


def _ints(values: Iterable[Any]) -> Iterable[int]:
    return (value for value in values if isinstance(value, int))


def _parsed(cell: str) -> int | float | str | None:
    if cell == "":
        return None
    if "_" in cell or len(cell) > 40:  # Python reads 1_000 as a number; nobody else does
        return cell
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return cell


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _write_parquet(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    from arro3.core import Array, DataType, Table
    from arro3.io import write_parquet

    kinds = {bool: DataType.bool(), int: DataType.int64(), float: DataType.float64()}
    columns: dict[str, Any] = {}
    for name, array in arrays.items():
        if array.dtype.kind in "iu":
            columns[name] = Array.from_numpy(np.ascontiguousarray(array))
            continue
        values = _cells(array)
        present = {type(value) for value in values if value is not None}
        if present <= {int, float} and len(present) == 2:
            values = [None if value is None else float(value) for value in values]
            present = {float}
        kind = kinds.get(present.pop()) if len(present) == 1 else None
        if kind is None or (kind == kinds[int] and any(v not in _INT64 for v in _ints(values))):
            values = [None if value is None else str(value) for value in values]
            kind = DataType.string()
        columns[name] = Array(values, type=kind)
    write_parquet(Table(columns), path, compression="zstd(3)")


def _write_csv(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(arrays)
        writer.writerows(zip(*(_cells(array) for array in arrays.values()), strict=True))


def _cells(array: NDArray[Any]) -> list[Any]:
    """Python values, None for NaN."""
    values: list[Any] = array.tolist()
    if array.dtype.kind == "f":
        if array.dtype.itemsize < 8:  # as short as the precision that was stored
            values = [float(str(item)) for item in array]
        return [None if math.isnan(value) else value for value in values]
    if array.dtype.kind != "O":
        return values
    return [None if isinstance(v, float) and math.isnan(v) else _native(v) for v in values]


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
