"""Folders of questions: the files' names, rows and order stay; nothing half-done is left."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perfcast.errors import DataError
from perfcast.serving import folders
from perfcast.serving.files import FileReport, predict_file
from perfcast.serving.folders import Part, plan_parts, predict_folder, run_here
from perfcast.serving.predictor import GemmPredictor, Predictor
from perfcast.serving.row_groups import split_row_groups
from tests.standin import questions

CSV = "gpu,dtype,m,n,k\n"


def table(rows: int, seed: int = 0) -> pa.Table:
    return pa.table({name: values.tolist() for name, values in questions(rows, seed).items()})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three files of questions at two depths, and what is none."""
    folder = tmp_path / "questions"
    (folder / "more" / "_temporary").mkdir(parents=True)
    pq.write_table(table(40), folder / "b.parquet")
    pq.write_table(table(30, 1), folder / "more" / "a.parquet")
    (folder / "a.csv").write_text(f"{CSV}l4,fp8,1,2,3\nl4,fp8,0,2,3\n")
    (folder / "_SUCCESS").touch()
    (folder / "README.txt").touch()
    (folder / ".b.parquet").write_text("not Parquet")
    (folder / "more" / "_temporary" / "c.parquet").write_text("not Parquet")
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_every_file_is_answered_under_its_name(
    gemm: GemmPredictor, source: Path, tmp_path: Path
) -> None:
    told: list[int] = []
    report = predict_folder(gemm, source, tmp_path / "answers", on_rows=told.append)
    names = ["a.csv", "b.parquet", "more/a.parquet"]
    assert listing(tmp_path / "answers") == names
    alone = [
        predict_file(gemm, source / name, tmp_path / f"alone-{Path(name).name}") for name in names
    ]
    for name in names[1:]:
        predict_file(gemm, source / name, tmp_path / "alone.parquet")
        expected = pq.read_table(tmp_path / "alone.parquet")
        assert pq.read_table(tmp_path / "answers" / name).equals(expected)
    assert (report.rows, report.invalid) == (72, 1)
    assert report.withheld == sum(each.withheld for each in alone)
    assert report.model == gemm.bundle.name
    assert told[-1] == 72
    assert told == sorted(told)


def test_what_is_told_of_one_file_is_told_of_the_folder(
    gemm: GemmPredictor, tmp_path: Path
) -> None:
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "a.csv").write_text("gpu,framwork,dtype,m,n,k\nl4,vllm,fp8,1,2,3\n")
    (tmp_path / "q" / "b.csv").write_text("gpu,dtype,m,n,k,power_w\nl4,fp8,1,2,3,70\n")
    report = predict_folder(gemm, tmp_path / "q", tmp_path / "a")
    assert list(report.ignored) == ["framwork"]
    assert report.renamed == {"power_w": "power_w_input"}


def test_a_cut_file_gives_the_same_rows_in_order(
    gemm: GemmPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = table(100)
    whole = whole.append_column("id", pa.array(range(100), pa.int32()))
    whole = whole.append_column("tags", pa.array([["a"], None] * 50))
    whole = whole.set_column(0, "gpu", whole["gpu"].dictionary_encode())
    whole = whole.set_column(2, "dtype", whole["dtype"].cast(pa.string_view()))
    whole = whole.replace_schema_metadata({"note": "kept"})
    pq.write_table(whole, tmp_path / "q.parquet", row_group_size=15)
    monkeypatch.setattr(folders, "PART_ROWS", 25)
    report = predict_folder(
        gemm, tmp_path / "q.parquet", tmp_path / "answers", split=split_row_groups
    )
    predict_file(gemm, tmp_path / "q.parquet", tmp_path / "alone.parquet")
    names = listing(tmp_path / "answers")
    assert names == [f"q.0000{at}.parquet" for at in range(4)]
    parts = [pq.read_table(tmp_path / "answers" / name) for name in names]
    assert [part.num_rows for part in parts] == [30, 30, 30, 10]
    expected = pq.read_table(tmp_path / "alone.parquet")
    assert all(part.schema.equals(expected.schema, check_metadata=True) for part in parts)
    assert pa.concat_tables(parts).to_pylist() == expected.to_pylist()
    assert report.rows == 100


def test_a_name_between_parts_is_refused(tmp_path: Path) -> None:
    pq.write_table(table(4), tmp_path / "a.parquet", row_group_size=1)
    pq.write_table(table(4), tmp_path / "a.00001.parquet")

    def split(path: Path, _rows: int) -> Sequence[range]:
        return split_row_groups(path, 1)

    assert [part.target.name for part in plan_parts(tmp_path)] == ["a.00001.parquet", "a.parquet"]
    with pytest.raises(DataError, match="would mix up the order"):
        plan_parts(tmp_path, split)


def test_an_empty_folder_for_the_answers_is_as_good_as_none(
    gemm: GemmPredictor, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "answers").mkdir()
    predict_folder(gemm, source, tmp_path / "answers")
    assert len(listing(tmp_path / "answers")) == 3


@pytest.mark.parametrize(
    ("asked", "answers", "message"),
    [
        ("none", "answers", "no such file or folder"),
        ("empty", "answers", r"holds no file that ends in \.parquet or \.csv"),
        ("questions", "full", "must be a new or an empty folder"),
        ("questions", "full/file.txt", "must be a new or an empty folder"),
        ("questions", "questions", "must not lie in the folder of the questions"),
        ("questions", "questions/answers", "must not lie in the folder of the questions"),
        ("questions", "answers.parquet", "must be a folder here"),
        ("questions", "none/answers", "there is no such folder to write to"),
    ],
)
def test_unusable_folders_are_named(
    gemm: GemmPredictor, source: Path, tmp_path: Path, asked: str, answers: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file.txt").touch()
    before = listing(tmp_path)
    with pytest.raises(DataError, match=message):
        predict_folder(gemm, tmp_path / asked, tmp_path / answers)
    assert listing(tmp_path) == before


def test_one_bad_file_leaves_no_answers(gemm: GemmPredictor, source: Path, tmp_path: Path) -> None:
    (source / "z.csv").write_text("gpu,m,n,k\nl4,1,2,3\n")
    with pytest.raises(DataError, match=r"z\.csv: lacks the column 'dtype'"):
        predict_folder(gemm, source, tmp_path / "answers")
    assert [path.name for path in tmp_path.iterdir()] == ["questions"]


def test_an_interruption_stops_the_runner_and_leaves_nothing(
    gemm: GemmPredictor, source: Path, tmp_path: Path
) -> None:
    found_when_stopped: list[int] = []

    def run(
        predictor: Predictor, parts: Sequence[Part], on_rows: Callable[[int], None], /
    ) -> Generator[FileReport, None, None]:
        try:
            yield from run_here(predictor, parts, on_rows)
        finally:
            found_when_stopped.append(sum(part.target.exists() for part in parts))

    def interrupt(_rows: int) -> None:
        raise KeyboardInterrupt

    def interrupt_between(rows: int) -> None:
        if rows > 40:
            raise KeyboardInterrupt

    for on_rows in (interrupt, interrupt_between):
        with pytest.raises(KeyboardInterrupt):
            predict_folder(gemm, source, tmp_path / "answers", run=run, on_rows=on_rows)
        assert [path.name for path in tmp_path.iterdir()] == ["questions"]
    assert found_when_stopped == [0, 1], "stopped while its folder was still there"
