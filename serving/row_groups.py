"""Some row groups of a Parquet file, so that many workers can share one file.

arro3 reads files from their beginning only, so this takes pyarrow, which comes with the extra
`[ray]`; no other module of this folder may.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from arro3.core import RecordBatchReader

from perfcast.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

__all__ = ["RowGroups", "read_row_groups", "split_row_groups"]

RowGroups = range
"""Numbers of row groups that follow one another."""


def split_row_groups(path: Path, rows: int) -> list[RowGroups]:
    """All row groups of `path`, in runs of at least `rows` rows (the last may be shorter).

    Raises `DataError` if `path` is no Parquet file, `MissingExtra` without pyarrow.
    """
    file = _opened(path)
    runs: list[RowGroups] = []
    start = held = 0
    for at in range(file.metadata.num_row_groups):
        held += file.metadata.row_group(at).num_rows
        if held >= rows:
            runs.append(range(start, at + 1))
            start, held = at + 1, 0
    if held or not runs:
        runs.append(range(start, file.metadata.num_row_groups))
    return runs


def read_row_groups(path: Path, row_groups: RowGroups, batch_rows: int) -> RecordBatchReader:
    """The rows of `row_groups` in order, at most `batch_rows` at a time, none of them read yet.

    Raises as `split_row_groups` does.
    """
    file = _opened(path)
    from pyarrow import RecordBatchReader as Reader

    batches = file.iter_batches(
        batch_size=batch_rows, row_groups=list(row_groups), use_threads=False
    )
    return RecordBatchReader.from_stream(Reader.from_batches(file.schema_arrow, batches))


def _opened(path: Path) -> ParquetFile:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "ray") from error
    try:
        return ParquetFile(path)
    except (ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: cannot be read as Parquet: {text}") from None
