from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from perfcast.errors import DataError
from perfcast.features.tasks import GEMM
from perfcast.training.dataset import DataSet
from perfcast.training.reading import read_data_set
from tests.training.measurements import measurements, rows, write


def read(path: Path) -> DataSet:
    return read_data_set(path, task=GEMM)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_values_arrive_unchanged(tmp_path: Path, suffix: str) -> None:
    columns = measurements()
    data = read(write(tmp_path / f"gemm{suffix}", columns))
    assert len(data) == len(columns["m"])
    assert data.names == (
        "gpu", "framework", "framework_version", "dtype",
        "m", "n", "k", "latency_ms", "power_w", "power_limit_w",
    )  # fmt: skip
    keys = ("gpu", "framework", "framework_version", "dtype", "m", "n", "k")
    wanted = dict(
        zip(
            zip(*(columns[name] for name in keys), strict=True),
            zip(columns["latency_ms"], columns["power_w"], strict=True),
            strict=True,
        )
    )
    found = zip(*(data[name].tolist() for name in keys), strict=True)
    for key, latency, power in zip(found, data["latency_ms"], data["power_w"], strict=True):
        assert wanted[key] == (latency, None if np.isnan(power) else power)
    assert list(zip(*(data[name] for name in keys), strict=True)) == sorted(wanted)


def test_files_folders_and_order_do_not_matter(tmp_path: Path) -> None:
    columns = measurements()
    whole = read(write(tmp_path / "whole.parquet", columns))
    shuffled = random.Random(1).sample(range(len(whole)), len(whole))
    parts = tmp_path / "parts"
    parts.mkdir()
    third = len(shuffled) // 3
    write(parts / "a.csv", rows(columns, shuffled[:third]))
    write(parts / "b.parquet", rows(columns, shuffled[third:]))
    (parts / "notes.txt").write_text("not a table")
    joined = read(parts)
    assert joined.fingerprint() == whole.fingerprint()
    assert (joined["latency_ms"] == whole["latency_ms"]).all()
    listed = read_data_set([parts / "b.parquet", str(parts / "a.csv")], task=GEMM)
    assert listed.fingerprint() == whole.fingerprint()


def test_optional_columns(tmp_path: Path) -> None:
    columns = measurements()
    for name in ("power_w", "power_limit_w", "framework_version"):
        del columns[name]
    columns = rows(
        columns, [r for r in range(len(columns["m"])) if columns["gpu"][r] != "h200_sxm"]
    )
    columns["comment"] = ["ignored"] * len(columns["m"])
    columns["kernel_source"] = ["cublas"] * len(columns["m"])
    data = read(write(tmp_path / "few.parquet", columns))
    assert set(data["framework_version"]) == {""}
    assert np.isnan(data["power_w"]).all()
    assert "power_limit_w" not in data.names
    assert set(data["kernel_source"]) == {"cublas"}


def test_column_types_of_other_tools(tmp_path: Path) -> None:
    """Whole numbers stored as floats, dictionary strings, and numbers in text."""
    columns = rows(measurements(), range(20))
    table = pa.table(
        {
            **columns,
            "gpu": pa.array(columns["gpu"]).dictionary_encode(),
            "dtype": pa.array(columns["dtype"], pa.large_string()),
            "m": pa.array(columns["m"], pa.float64()),
            "n": pa.array(columns["n"], pa.uint16()),
            "power_w": pa.nulls(20),
            "latency_ms": pa.array([str(value) for value in columns["latency_ms"]]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "odd.parquet")
    write(tmp_path / "plain.parquet", {**columns, "power_w": pa.nulls(20, pa.float64())})
    odd, plain = read(tmp_path / "odd.parquet"), read(tmp_path / "plain.parquet")
    assert odd.fingerprint() == plain.fingerprint()


BAD_CELLS: list[tuple[str, Any, str]] = [
    ("gpu", None, "null"),
    ("gpu", "h200", "unknown 'h200'; did you mean 'h200_sxm'"),
    ("framework", "vlm", "unknown 'vlm'; did you mean 'vllm'"),
    ("dtype", "fp_8", "unknown 'fp_8'; did you mean 'fp8'"),
    ("dtype", "nvfp4", "a100_sxm has no hardware for 'nvfp4'"),
    ("m", None, "null"),
    ("m", 1.5, "whole number from 1 to 16,777,216, not 1.5"),
    ("n", 0, "whole number from 1"),
    ("k", -4, "whole number from 1"),
    ("k", 2**30, "whole number from 1"),
    ("latency_ms", None, "null or NaN"),
    ("latency_ms", 0.0, "positive and finite, not 0"),
    ("latency_ms", -1.0, "positive and finite, not -1"),
    ("latency_ms", float("inf"), "positive and finite, not inf"),
    ("latency_ms", 1e-9, "faster than physically possible.* peak of a100_sxm in bfloat16 is 312"),
    ("power_w", 0.0, "positive and finite"),
    ("power_limit_w", -5.0, "positive and finite"),
]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize(("name", "value", "message"), BAD_CELLS)
def test_a_bad_cell_is_named(
    tmp_path: Path, suffix: str, name: str, value: Any, message: str
) -> None:
    columns = measurements()
    row = columns["m"].index(4096)
    columns[name][row] = value
    if value == 1.5:
        columns[name] = [float(item) for item in columns[name]]
    path = write(tmp_path / f"bad{suffix}", columns)
    with pytest.raises(
        DataError, match=rf"^bad{suffix}: row {row} \(from 0\).*'{name}': .*{message}"
    ):
        read(path)


def test_words_among_numbers_are_named(tmp_path: Path) -> None:
    columns = measurements()
    columns["n"] = [str(value) for value in columns["n"]]
    columns["n"][7] = "many"
    with pytest.raises(DataError, match=r"row 7 .*'n': 'many' is not a number"):
        read(write(tmp_path / "bad.csv", columns))
    columns["n"][7] = "1_000"
    with pytest.raises(DataError, match="'n': must hold numbers"):
        read(write(tmp_path / "bad.csv", columns))


def test_how_many_more_are_bad(tmp_path: Path) -> None:
    columns = measurements()
    columns["latency_ms"][5] = columns["latency_ms"][9] = columns["latency_ms"][2] = float("nan")
    with pytest.raises(DataError, match=r"row 2 .*\(and 2 more rows\)"):
        read(write(tmp_path / "bad.parquet", columns))


@pytest.mark.parametrize("name", ["gpu", "framework", "dtype", "m", "n", "k", "latency_ms"])
def test_missing_columns(tmp_path: Path, name: str) -> None:
    columns = measurements()
    columns[f"{name}s"] = columns.pop(name)
    hint = "latency" if name == "latency_ms" else ""
    with pytest.raises(DataError, match=rf"a\.parquet: no column '{name}'; .*{hint}"):
        read(write(tmp_path / "a.parquet", columns))


def test_columns_of_the_wrong_type(tmp_path: Path) -> None:
    columns = measurements()
    for name, kind in itertools.product(("gpu", "m", "latency_ms"), (bool, int)):
        if (name, kind) in {("m", int), ("latency_ms", int)}:
            continue
        bad = {**columns, name: [kind(1)] * len(columns["m"])}
        with pytest.raises(DataError, match=rf"'{name}': must hold (strings|numbers), not"):
            read(write(tmp_path / "a.parquet", bad))


def test_duplicates_are_found_across_files(tmp_path: Path) -> None:
    columns = measurements()
    write(tmp_path / "a.parquet", rows(columns, range(100)))
    again = rows(columns, [200, 201, 42])
    again["latency_ms"][2] *= 1.1  # another value for the same key is a duplicate too
    write(tmp_path / "b.csv", again)
    message = r"b\.csv row 2 \(from 0\) measures the same as a\.parquet row 42: gpu='a100_sxm'"
    with pytest.raises(DataError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1 garbage PAR1"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    for name in ("a.parquet", "a.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=name):
            read(path)
        path.unlink()


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="no Parquet or CSV file"):
        read(tmp_path)
    (tmp_path / "a.txt").write_text("m")
    with pytest.raises(DataError, match="must be a Parquet or CSV file"):
        read(tmp_path / "a.txt")
    with pytest.raises(DataError, match="no files given"):
        read_data_set([], task=GEMM)
    empty = {name: pa.array([], pa.array(column).type) for name, column in measurements().items()}
    pyarrow.parquet.write_table(pa.table(empty), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"empty\.parquet: no rows"):
        read(tmp_path / "empty.parquet")
