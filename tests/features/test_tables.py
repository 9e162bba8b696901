from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfcast.errors import DataError
from perfcast.features.tables import read_table, write_table

SUFFIXES = (".parquet", ".csv")
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=12)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "word": st.one_of(st.none(), WORDS.filter(bool)),
    "whole": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    "real": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=8))
def test_what_is_written_is_read(tmp_path: Path, suffix: str, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / f"table{suffix}"
    columns = {name: [row[name] for row in rows] for name in CELLS}
    write_table(path, columns)
    back = read_table(path, text={"word"})
    assert {name: back[name].tolist() for name in CELLS} == columns


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_keep_their_kind(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_table(
        path,
        {
            "m": np.array([1, 2], dtype=np.int32),
            "latency_ms": np.array([0.1, 0.2], dtype=np.float32),
            "power_w": np.array([np.nan, 1.0]),
            "gpu": np.array(["l4", "b60"], dtype=object),
        },
    )
    back = read_table(path)
    assert back["m"].dtype == np.int64
    assert back["latency_ms"].dtype == np.float64
    assert back["latency_ms"].tolist() == [0.1, 0.2]
    assert back["power_w"].tolist() == [None, 1.0]
    assert back["gpu"].tolist() == ["l4", "b60"]


def test_csv_cells_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "questions.csv"
    path.write_text("framework_version,m,n,k\n0.10,4096,,1.5\n0.9,many,7,2\n\n")
    table = read_table(path, text={"framework_version"})
    assert table["framework_version"].tolist() == ["0.10", "0.9"]
    assert table["m"].tolist() == [4096, "many"]
    assert table["n"].tolist() == [None, 7]
    assert table["k"].tolist() == [1.5, 2.0]


def test_other_values_are_written_as_text(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(path, {"when": [datetime.date(2026, 1, 2), None], "big": [2**70, 1]})
    back = read_table(path)
    assert back["when"].tolist() == ["2026-01-02", None]
    assert back["big"].tolist() == [str(2**70), "1"]


def test_no_rows(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"empty{suffix}"
        write_table(path, {"gpu": [], "m": np.array([], dtype=np.int64)})
        back = read_table(path)
        assert {name: len(column) for name, column in back.items()} == {"gpu": 0, "m": 0}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"m,n\n1,2\n1,2,3\n", "line 3 has 3 cells, not 2"),
        ("a.csv", b"m,m\n1,2\n", "'m' occurs twice"),
        ("a.csv", b"m\n\xff\xfe\n", "cannot be read as CSV"),
        ("a.parquet", b"", "not a Parquet file"),
        ("a.parquet", b"gpu,m\nl4,1\n", "not a Parquet file"),
        ("a.parquet", b"PAR1 nothing of use PAR1", "cannot be read as Parquet"),
        ("a.parquet", b"PAR1" + bytes(8) + b"PAR1", "cannot be read as Parquet"),
        ("a.txt", b"m\n1\n", r"must end in \.parquet or \.csv"),
    ],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "a.csv")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(path, {"m": [1]})
    with pytest.raises(DataError, match="unequal length"):
        write_table(path, {"m": [1, 2], "n": [1]})
    with pytest.raises(DataError, match="cannot be written"):
        write_table(tmp_path / "absent" / "table.csv", {"m": [1]})
    assert path.read_text() == "m\n1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
