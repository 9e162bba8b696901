"""Files of questions: same rows, same order, everything kept, answers beside."""

from __future__ import annotations

import csv
import datetime
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from perfcast.errors import DataError
from perfcast.serving import files
from perfcast.serving.files import predict_file
from perfcast.serving.predictor import GemmPredictor
from tests.standin import latency_ms, questions

HEADER = ["gpu", "framework", "framework_version", "dtype", "m", "n", "k"]
ANSWERS = [
    "latency_ms", "latency_ms_low", "latency_ms_high", "power_w", "power_w_low", "power_w_high",
    "energy_mj", "tflops", "status", "reasons", "latency_ms_status", "power_w_status", "model",
]  # fmt: skip


def write_csv(path: Path, rows: list[list[Any]], header: list[str] | None = None) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header or HEADER, *rows])
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def good(m: Any = 8) -> list[Any]:
    return ["h200_sxm", "vllm", "", "fp8", m, 8, 8]


def test_parquet_keeps_rows_types_and_metadata(gemm: GemmPredictor, tmp_path: Path) -> None:
    columns = questions(300)
    table = pa.table(
        {
            "when": pa.array([datetime.datetime(2026, 1, 1)] * 300, pa.timestamp("us")),  # noqa: DTZ001
            "gpu": pa.array(columns["gpu"].tolist()).dictionary_encode(),
            "framework": pa.array(columns["framework"].tolist(), pa.large_string()),
            "dtype": pa.array(columns["dtype"].tolist(), pa.string_view()),
            "m": pa.array(columns["m"], pa.int32()),
            "n": pa.array(columns["n"], pa.uint64()),
            "k": pa.array(columns["k"].astype(float), pa.float64()),
            "tags": pa.array([["a", "b"], None] * 150),
            "price": pa.array([Decimal("1.50")] * 300, pa.decimal128(10, 2)),
        }
    ).replace_schema_metadata({"note": "kept"})
    source, target = tmp_path / "q.parquet", tmp_path / "a.parquet"
    pq.write_table(table, source)
    report = predict_file(gemm, source, target)
    answers = pq.read_table(target)
    assert answers.column_names == [*table.column_names, *ANSWERS]
    assert answers.schema.metadata[b"note"] == b"kept"
    for name in table.column_names:
        assert answers[name].equals(table[name]), name
    expected = gemm.predict_columns(columns).columns()
    for name in ANSWERS:
        values = [
            v if isinstance(v, str) or math.isfinite(v) else None for v in expected[name].tolist()
        ]
        assert answers[name].to_pylist() == values
    assert (report.rows, report.invalid) == (300, 0)
    assert report.withheld == sum(value is None for value in answers["energy_mj"].to_pylist())
    assert not report.answered


def test_csv_keeps_its_text(gemm: GemmPredictor, tmp_path: Path) -> None:
    header = ["id", *HEADER, "note"]
    rows = [
        ["007", *good("8"), 'say "é", twice'],
        ["1e3", *good("+8"), ""],
        ["", *good("8.0"), "\n"],
    ]
    source = write_csv(tmp_path / "q.csv", rows, header)
    report = predict_file(gemm, source, tmp_path / "a.csv")
    assert report.answered
    answers = read_csv(tmp_path / "a.csv")
    assert list(answers[0]) == [*header, *ANSWERS]
    assert [[row[name] for name in header] for row in answers] == [
        [str(cell) for cell in row] for row in rows
    ]
    value = latency_ms(gpu="h200_sxm", dtype="fp8", m=8, n=8, k=8)
    assert len({row["latency_ms"] for row in answers}) == 1
    assert float(answers[0]["latency_ms"]) == pytest.approx(value, rel=1e-6)
    assert len(answers[0]["latency_ms"]) < 13, "no float64 tail behind a float32"


def test_rows_that_cannot_be_answered_keep_their_place(gemm: GemmPredictor, tmp_path: Path) -> None:
    bad: list[Any] = ["0", "-1", "1.5", "x", "", "nan", "1e30", "9" * 40, "true", " ", "4_096"]
    rows = [good(m) for m in ["8", *bad, "9"]]
    rows[3][0] = "h2000"
    report = predict_file(gemm, write_csv(tmp_path / "q.csv", rows), tmp_path / "a.csv")
    answers = read_csv(tmp_path / "a.csv")
    assert (report.rows, report.invalid, report.withheld) == (13, 11, 0)
    assert [row["m"] for row in answers] == ["8", *bad, "9"]
    for row in answers[1:-1]:
        assert row["status"] == "invalid"
        assert row["latency_ms"] == row["tflops"] == ""
        assert "m: " in row["reasons"]
    assert "gpu: unknown value 'h2000'" in answers[3]["reasons"]
    assert answers[0]["status"] == answers[-1]["status"] == "in_domain"
    assert {row["model"] for row in answers} == {"gemm@standin"}


def test_nulls_in_parquet_keep_their_place(gemm: GemmPredictor, tmp_path: Path) -> None:
    table = pa.table(
        {
            "gpu": pa.array(["l4", None, "l4"]),
            "framework": pa.nulls(3, pa.string()),
            "dtype": ["fp8"] * 3,
            "m": pa.array([1, 2, None], pa.int64()),
            "n": [5.0, 5.0, 5.5],
            "k": [1, 2**63 - 1, 3],
        }
    )
    pq.write_table(table, tmp_path / "q.parquet")
    predict_file(gemm, tmp_path / "q.parquet", tmp_path / "a.parquet")
    answers = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["status"] for row in answers] == ["in_domain", "invalid", "invalid"]
    assert answers[0]["latency_ms"] > 0
    assert answers[1]["reasons"].startswith("gpu: missing; it is required; k: must be a whole")
    assert "m: missing" in answers[2]["reasons"]
    assert "n: must be a whole number from 1 to 16777216, not 5.5" in answers[2]["reasons"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_many_chunks_make_one_file(
    gemm: GemmPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(files, "CHUNK_ROWS", 7)
    rows = [good(m) for m in range(1, 101)]
    rows[50][4] = 0
    source = write_csv(tmp_path / "q.csv", rows)
    seen: list[int] = []
    report = predict_file(gemm, source, tmp_path / f"a{suffix}", on_rows=seen.append)
    assert (report.rows, report.invalid) == (100, 1)
    assert seen == [*range(7, 100, 7), 100]
    if suffix == ".csv":
        sizes = [row["m"] for row in read_csv(tmp_path / "a.csv")]
        assert sizes == [str(row[4]) for row in rows]
    else:
        table = pq.read_table(tmp_path / "a.parquet")
        assert table["m"].type == pa.int64()
        assert table["m"].to_pylist() == [row[4] for row in rows]
        assert table["latency_ms"].null_count == 1


def test_text_that_is_no_number_is_null_in_parquet(gemm: GemmPredictor, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "q.csv", [good("x"), good("4")])
    predict_file(gemm, source, tmp_path / "a.parquet")
    first, second = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (first["m"], second["m"]) == (None, 4)
    assert "not 'x'" in first["reasons"]


def test_parquet_becomes_csv(gemm: GemmPredictor, tmp_path: Path) -> None:
    table = pa.table(
        {
            "gpu": ["l4", "l4"],
            "dtype": ["fp8", "fp8"],
            "m": [1, 2],
            "n": [3, 4],
            "k": [5, 6],
            "share": pa.array([0.1, None], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "q.parquet")
    predict_file(gemm, tmp_path / "q.parquet", tmp_path / "a.csv")
    answers = pyarrow.csv.read_csv(tmp_path / "a.csv")
    assert answers["m"].to_pylist() == [1, 2]
    assert [row["share"] for row in read_csv(tmp_path / "a.csv")] == ["0.1", ""]


def test_columns_called_like_answers_are_renamed(gemm: GemmPredictor, tmp_path: Path) -> None:
    header = [*HEADER, "latency_ms", "latency_ms_input", "status"]
    source = write_csv(tmp_path / "q.csv", [[*good(), "1", "2", "s"]], header)
    report = predict_file(gemm, source, tmp_path / "a.csv")
    assert report.renamed == {"latency_ms": "latency_ms_input1", "status": "status_input"}
    (row,) = read_csv(tmp_path / "a.csv")
    assert (row["latency_ms_input1"], row["latency_ms_input"], row["status_input"]) == (
        "1",
        "2",
        "s",
    )
    assert row["status"] == "in_domain"


def test_answers_may_be_asked_again(gemm: GemmPredictor, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "q.csv", [good()])
    predict_file(gemm, source, tmp_path / "a.csv")
    predict_file(gemm, tmp_path / "a.csv", tmp_path / "b.csv")
    predict_file(gemm, tmp_path / "b.csv", tmp_path / "c.csv")
    (row,) = read_csv(tmp_path / "c.csv")
    assert row["latency_ms"] == row["latency_ms_input"] == row["latency_ms_input1"]


def test_a_misspelt_optional_column_is_reported(gemm: GemmPredictor, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "q.csv", [["l4", "trtllm", "fp8", 1, 2, 3]],
                       ["gpu", "framwork", "dtype", "m", "n", "k"])  # fmt: skip
    report = predict_file(gemm, source, tmp_path / "a.csv")
    assert list(report.ignored) == ["framwork"]
    assert "'framework'" in report.ignored["framwork"]


def test_a_file_may_be_answered_in_place(gemm: GemmPredictor, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "q.csv", [good(), good(9)])
    predict_file(gemm, source, source)
    assert [row["m"] for row in read_csv(source)] == ["8", "9"]
    assert [path.name for path in tmp_path.iterdir()] == ["q.csv"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_no_rows_make_a_file_without_rows(gemm: GemmPredictor, tmp_path: Path, suffix: str) -> None:
    source = write_csv(tmp_path / "q.csv", [])
    target = tmp_path / f"a{suffix}"
    report = predict_file(gemm, source, target)
    assert (report.rows, report.answered) == (0, True)
    if suffix == ".csv":
        assert target.read_text() == ",".join([*HEADER, *ANSWERS]) + "\n"
    else:
        assert pq.read_table(target).column_names == [*HEADER, *ANSWERS]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.csv", b"", "empty; the first line must name the columns"),
        ("q.csv", b"gpu,m\nl4,1\n", "lacks the column 'dtype'"),
        ("q.csv", b"gpu,dtypes,m,n,k\n", "lacks the column 'dtype'; did you mean 'dtypes'"),
        ("q.csv", b"gpu,gpu,dtype,m,n,k\n", "column 'gpu' occurs twice"),
        ("q.csv", b"gpu,dtype,m,n,k\nl4,fp8,1,2\n", "line 2 has 4 cells, not 5"),
        ("q.csv", b"gpu,dtype,m,n,k\nl4,fp8,1,2,3,4\n", "line 2 has 6 cells, not 5"),
        ("q.csv", b"gpu,dtype,m,n,k\n\xff\xfe,fp8,1,2,3\n", "cannot be read as CSV"),
        ("q.csv", b'gpu,dtype,m,n,k\n"l4,fp8,1,2,3\n', "cannot be read as CSV"),
        ("q.parquet", b"", "not a Parquet file, or cut short"),
        ("q.parquet", b"PAR1" + b"x" * 30 + b"PAR1", "not a Parquet file, or cut short"),
        ("q.txt", b"gpu", "must end in .parquet or .csv"),
        ("missing.csv", None, "no such file"),
    ],
)
def test_unusable_files_are_named(
    gemm: GemmPredictor, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DataError, match=message) as caught:
        predict_file(gemm, tmp_path / name, tmp_path / "a.csv")
    assert name in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_cut_parquet_file_is_named(gemm: GemmPredictor, tmp_path: Path) -> None:
    pq.write_table(pa.table({name: [1] for name in HEADER}), tmp_path / "q.parquet")
    whole = (tmp_path / "q.parquet").read_bytes()
    (tmp_path / "q.parquet").write_bytes(whole[:-20])
    with pytest.raises(DataError, match="cut short"):
        predict_file(gemm, tmp_path / "q.parquet", tmp_path / "a.parquet")


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_fails_midway_leaves_the_old_output(
    gemm: GemmPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(files, "CHUNK_ROWS", 2)
    source = tmp_path / "q.csv"
    rows = "l4,fp8,1,2,3\n" * 5
    source.write_text(f"gpu,dtype,m,n,k\n{rows}l4,fp8\n")
    target = tmp_path / f"a{suffix}"
    target.write_text("old")
    with pytest.raises(DataError, match="line 7 has 2 cells"):
        predict_file(gemm, source, target)
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_an_interruption_leaves_nothing_behind(
    gemm: GemmPredictor, tmp_path: Path, suffix: str
) -> None:
    source = write_csv(tmp_path / "q.csv", [good()])

    def interrupt(_rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_file(gemm, source, tmp_path / f"a{suffix}", on_rows=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["q.csv"]


def test_a_folder_that_is_not_there_is_named(gemm: GemmPredictor, tmp_path: Path) -> None:
    source = write_csv(tmp_path / "q.csv", [good()])
    with pytest.raises(DataError, match="no such folder"):
        predict_file(gemm, source, tmp_path / "none" / "a.csv")
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        predict_file(gemm, source, tmp_path / "a.csv")
