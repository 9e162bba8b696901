"""Parquet and CSV files of questions, read a batch at a time."""

from __future__ import annotations

import csv
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, Any

from arro3.core import Array, DataType, Field, RecordBatch, Schema

from perfcast.errors import DataError, PerfcastError
from perfcast.serving.row_groups import RowGroups, read_row_groups

__all__ = ["Source", "open_source"]

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,30}(\.0*)?\s*", re.ASCII)
_MAGIC = b"PAR1"


class Source(ABC):
    """A file of questions. `schema` is known at once; `batches` may be read once."""

    schema: Schema
    is_text: bool

    @abstractmethod
    def batches(self) -> Iterator[RecordBatch]:
        """The rows in order. Raises `DataError` where the file turns out to be damaged."""

    @abstractmethod
    def values(self, column: Array, *, integer: bool) -> Any:
        """A column as `Task.validate` takes it: a list, or an array without nulls."""


def open_source(path: Path, chunk_rows: int, row_groups: RowGroups | None = None) -> Source:
    """Open a file by its suffix, of Parquet only `row_groups` if given. Raises `DataError`."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".csv":
        return _Csv(path, chunk_rows)
    return _Parquet(path, chunk_rows, row_groups)


class _Parquet(Source):
    is_text = False

    def __init__(self, path: Path, chunk_rows: int, row_groups: RowGroups | None) -> None:
        from arro3.io import read_parquet

        self._path = path
        try:
            with path.open("rb") as file:
                _check_frame(file, path)
            if row_groups is None:
                self._reader = read_parquet(path, batch_size=chunk_rows)
            else:
                self._reader = read_row_groups(path, row_groups, chunk_rows)
            self.schema = self._reader.schema
        except PerfcastError:
            raise
        except BaseException as error:
            raise _unreadable(path, error) from None

    def batches(self) -> Iterator[RecordBatch]:
        while True:
            try:
                batch = next(self._reader)
            except StopIteration:
                return
            except BaseException as error:
                raise _unreadable(self._path, error) from None
            yield batch

    def values(self, column: Array, *, integer: bool) -> Any:
        if integer and column.null_count == 0:
            try:
                return column.to_numpy()
            except (TypeError, ValueError):
                pass
        return list(column.to_pylist())


def _check_frame(file: IO[bytes], path: Path) -> None:
    """Refuse what is no whole Parquet file before arro3 sees it, which would panic aloud."""
    size = file.seek(0, os.SEEK_END)
    if size >= 12:
        file.seek(0)
        head = file.read(4)
        file.seek(-8, os.SEEK_END)
        footer, tail = int.from_bytes(file.read(4), "little"), file.read(4)
        if head == tail == _MAGIC and footer <= size - 12:
            return
    raise DataError(f"{path}: not a Parquet file, or cut short")


def _unreadable(path: Path, error: BaseException) -> BaseException:
    """arro3 panics on a damaged file with a class of its own, below BaseException alone."""
    if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError | GeneratorExit):
        return error
    return DataError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())[:200]}")


class _Csv(Source):
    is_text = True

    def __init__(self, path: Path, chunk_rows: int) -> None:
        self._path = path
        self._chunk_rows = chunk_rows
        rows = self._rows()
        header = next(rows, None)
        rows.close()
        if not header:
            raise DataError(f"{path}: empty; the first line must name the columns")
        self.schema = Schema([Field(name, DataType.string(), nullable=True) for name in header])

    def batches(self) -> Iterator[RecordBatch]:
        rows = self._rows()
        next(rows)
        chunk: list[list[str]] = []
        for row in rows:
            chunk.append(row)
            if len(chunk) == self._chunk_rows:
                yield self._batch(chunk)
                chunk = []
        if chunk:
            yield self._batch(chunk)

    def values(self, column: Array, *, integer: bool) -> Any:
        cells = list(column.to_pylist())
        return [_number(cell) for cell in cells] if integer else cells

    def _batch(self, rows: list[list[str]]) -> RecordBatch:
        columns = [Array(list(cells), type=DataType.string()) for cells in zip(*rows, strict=True)]
        return RecordBatch.from_arrays(columns, schema=self.schema)

    def _rows(self) -> Generator[list[str], None, None]:
        """The header, then every row of as many cells; blank lines are skipped."""
        width = None
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                for row in reader:
                    if not row:
                        continue
                    width = len(row) if width is None else width
                    if len(row) != width:
                        raise DataError(
                            f"{self._path}: line {reader.line_num} has {len(row)} cells, "
                            f"not {width} as the header"
                        )
                    yield row
        except (csv.Error, UnicodeDecodeError, OSError) as error:
            raise DataError(f"{self._path}: cannot be read as CSV: {error}") from None


def _number(cell: str) -> int | str | None:
    """A whole number where the cell is one; else its text, which the task refuses by name."""
    if cell.isdigit() and cell.isascii() and len(cell) <= 30:
        return int(cell)
    if not cell:
        return None
    return int(cell.partition(".")[0]) if _WHOLE.fullmatch(cell) else cell
