"""Record batches written to Parquet or CSV as they come."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from arro3.core import Array, DataType, RecordBatch, RecordBatchReader, Schema

from perfcast.errors import DataError

__all__ = ["SUFFIXES", "check_suffix", "write_batches"]

SUFFIXES = (".parquet", ".csv")
_ROW_GROUP = 131_072


def check_suffix(path: Path) -> None:
    """Raise `DataError` unless the name says Parquet or CSV."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: must end in {' or '.join(SUFFIXES)}")


def write_batches(path: Path, named: Path, schema: Schema, batches: Iterator[RecordBatch]) -> None:
    """Write `batches` of one `schema` to `path`, in the format that `named`'s suffix says.

    What the iterator raises comes through unchanged. Raises `DataError` for values that the
    format cannot hold.
    """
    if named.suffix == ".csv":
        _write_csv(path, schema, batches)
    else:
        _write_parquet(path, named, schema, batches)


def _write_parquet(path: Path, named: Path, schema: Schema, batches: Iterator[RecordBatch]) -> None:
    from arro3.io import write_parquet

    failure: list[BaseException] = []

    def watched() -> Iterator[RecordBatch]:
        try:
            yield from batches
        except BaseException as error:  # arro3 would pass on its text alone
            failure.append(error)
            raise

    try:
        write_parquet(
            RecordBatchReader.from_batches(schema, watched()),
            path,
            compression="zstd(3)",
            max_row_group_size=_ROW_GROUP,
        )
    except BaseException as error:
        if failure:
            raise failure[0] from None
        if isinstance(error, Exception) and not isinstance(error, OSError):
            raise DataError(f"{named}: cannot be written as Parquet: {error}") from error
        raise


def _write_csv(path: Path, schema: Schema, batches: Iterator[RecordBatch]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(schema.names)
        for batch in batches:
            writer.writerows(zip(*map(_cells, batch.columns), strict=True))


def _cells(column: Array) -> list[Any]:
    """A column's values as csv writes them: null as nothing, float32 as short as it is."""
    values: list[Any] = list(column.to_pylist())
    if column.type == DataType.float32() or column.type == DataType.float16():
        narrow = np.float32 if column.type == DataType.float32() else np.float16
        return [None if value is None else str(narrow(value)) for value in values]
    return values
