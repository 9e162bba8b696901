"""Parquet files cut at their row groups: everything once, in order."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.errors import DataError, MissingExtra
from perfcast.serving.row_groups import read_row_groups, split_row_groups


def write(path: Path, sizes: list[int]) -> Path:
    start = 0
    schema = pa.schema([("id", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for size in sizes:
            writer.write_table(
                pa.table({"id": list(range(start, start + size))}, schema=schema),
                row_group_size=max(size, 1),
            )
            start += size
    return path


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 12), st.integers(1, 10))
def test_the_runs_hold_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], rows: int, batch: int
) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "q.parquet", sizes)
    runs = split_row_groups(path, rows)
    read = [pa.table(read_row_groups(path, run, batch))["id"].to_pylist() for run in runs]
    assert [value for run in read for value in run] == list(range(sum(sizes)))
    assert all(len(run) >= rows for run in read[:-1])
    assert len(runs) >= 1


def test_it_reads_a_batch_at_a_time(tmp_path: Path) -> None:
    reader = read_row_groups(write(tmp_path / "q.parquet", [10, 10, 10]), range(1, 3), 4)
    sizes = [batch.num_rows for batch in reader]
    assert sum(sizes) == 20
    assert max(sizes) == 4


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "q.parquet").write_bytes(b"PAR1" + b"x" * 30 + b"PAR1")
    with pytest.raises(DataError, match=r"q\.parquet: cannot be read as Parquet"):
        split_row_groups(tmp_path / "q.parquet", 5)
    with pytest.raises(DataError, match=r"none\.parquet: cannot be read"):
        split_row_groups(tmp_path / "none.parquet", 5)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "q.parquet", [1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"perfcast\[ray\]"):
        split_row_groups(path, 5)
