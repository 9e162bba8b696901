"""`perfcast predict`: options made from the task, answers for people and programs, and files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.features.tasks import GEMM
from perfcast.serving.predictor import GemmPredictor
from tests.cli.helpers import perfcast
from tests.standin import NO_POWER, questions

pytestmark = pytest.mark.usefixtures("use_standin")

QUESTION = ("--gpu", "h200_sxm", "--dtype", "fp8", "-m", "4096", "-n", "4096", "-k", "8192")


def test_one_question_as_json(gemm: GemmPredictor) -> None:
    done = perfcast("predict", "gemm", *QUESTION, "--json")
    answer = gemm.predict(gpu="h200_sxm", dtype="fp8", m=4096, n=4096, k=8192)
    assert done.status == 0
    assert done.err == ""
    assert done.json == {**answer.records()[0], "coverage": 0.9}


def test_one_question_as_a_table() -> None:
    done = perfcast("predict", "gemm", *QUESTION)
    assert done.status == 0
    for word in ("0.1503", "90% interval", "0.1366 to 0.1653", "ms", "in_domain", "gemm@standin"):
        assert word in done.out


def test_every_column_is_an_option(gemm: GemmPredictor) -> None:
    done = perfcast(
        "predict", "gemm", *QUESTION, "--framework", "trtllm", "--framework-version", "7", "--json"
    )
    answer = gemm.predict(
        gpu="h200_sxm", framework="trtllm", framework_version="7", dtype="fp8", m=4096, n=4096,
        k=8192,
    )  # fmt: skip
    assert done.json["latency_ms"] == answer.records()[0]["latency_ms"]
    assert done.json["status"] == "extrapolated"


def test_a_withheld_value_is_told_and_sets_the_status() -> None:
    question = ("predict", "gemm", *QUESTION, "--gpu", "l40s")
    done = perfcast(*question)
    assert done.status == 3
    assert "withheld" in done.out
    assert NO_POWER in done.out
    told = perfcast(*question, "--json")
    assert told.status == 3
    assert told.json["power_w"] is None
    assert told.json["reasons"] == [NO_POWER]


def test_every_problem_is_named_in_one_line() -> None:
    done = perfcast("predict", "gemm", "--gpu", "h200", "--dtype", "fp8", "-m", "40x96", "-n", "0")
    assert done.status == 2
    assert done.out == ""
    assert done.err.count("\n") == 1
    for words in ("did you mean 'h200_sxm'", "m: ", "'40x96'", "n: ", "k: missing; it is required"):
        assert words in done.err
    told = perfcast("predict", "gemm", "--gpu", "h200", "--json")
    assert told.status == 2
    assert {problem["field"] for problem in told.json["error"]["problems"]} == {
        "gpu", "dtype", "m", "n", "k",
    }  # fmt: skip


def test_the_options_are_those_of_the_task() -> None:
    done = perfcast("predict", "gemm", "--help")
    for column in GEMM.inputs:
        flag = f"-{column.name}" if len(column.name) == 1 else "--" + column.name.replace("_", "-")
        assert f" {flag} " in done.out


def test_files(tmp_path: Path) -> None:
    columns = questions(40)
    table = pa.table({name: values.tolist() for name, values in columns.items()})
    source, target = tmp_path / "q.parquet", tmp_path / "a.csv"
    pq.write_table(table, source)
    done = perfcast("predict", "gemm", "--input", str(source), "--output", str(target), "--json")
    with target.open(newline="") as file:
        answers = list(csv.DictReader(file))
    withheld = sum(row["energy_mj"] == "" for row in answers)
    assert done.json == {
        "rows": 40, "withheld": withheld, "invalid": 0, "model": "gemm@standin",
        "output": str(target),
    }  # fmt: skip
    assert done.status == 3
    assert [int(row["m"]) for row in answers] == columns["m"].tolist()


def test_files_that_are_answered_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "q.csv", tmp_path / "a.csv"
    source.write_text("gpu,framwork,dtype,m,n,k,power_w\nl4,trtllm,fp8,1,2,3,70\n")
    done = perfcast("predict", "gemm", "--input", str(source), "--output", str(target))
    assert done.status == 0
    assert "1 rows: 1 answered, 0 with values withheld, 0 unusable" in done.out.replace("\n", " ")
    assert "'power_w' is called 'power_w_input' in the output" in done.err
    assert "'framwork' is not used; did you mean 'framework'" in done.err


def test_a_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "a.csv").write_text("gpu,dtype,m,n,k\nl4,fp8,1,2,3\n")
    (tmp_path / "q" / "b.csv").write_text("gpu,dtype,m,n,k\nl4,fp8,1,2,3\nl4,fp8,0,2,3\n")
    folders = ("--input", str(tmp_path / "q"), "--output", str(tmp_path / "a"))
    done = perfcast("predict", "gemm", *folders, "--json")
    assert (done.status, done.json["rows"], done.json["invalid"]) == (3, 3, 1)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["a.csv", "b.csv"]
    again = perfcast("predict", "gemm", *folders)
    assert again.status == 2
    assert "must be a new or an empty folder" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ray", "-m", "1"), "--ray needs --input and --output"),
        (("--input", "{folder}/none.csv", "--output", "{folder}/a.csv"), "no such file"),
        (("--input", "{folder}/q.csv"), "--input and --output go together"),
        (("--output", "{folder}/a.csv"), "--input and --output go together"),
        (("--input", "{folder}/q.csv", "--output", "{folder}/a.txt"), "must end in"),
        (
            ("--input", "{folder}/q.csv", "--output", "{folder}/a.csv", "-m", "1"),
            "cannot be combined",
        ),
    ],
)
def test_unusable_files_are_status_two(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "q.csv").write_text("gpu,dtype,m,n,k\n")
    filled = [argument.format(folder=tmp_path) for argument in arguments]
    done = perfcast("predict", "gemm", *filled)
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert perfcast("predict", "gemm", *filled, "--json").json["error"]["message"]


def test_without_a_model_nothing_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(tmp_path))
    done = perfcast("predict", "gemm", *QUESTION)
    assert done.status == 2
    assert done.err == "perfcast: no model for task 'gemm'; none is known\n"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
bad_numbers = st.one_of(
    texts.filter(lambda text: not (text.strip("+").isdigit() and text.isascii())),
    st.sampled_from(["0", "-1", "1.5", "NaN", "inf", "1e30", str(2**63), "9" * 5000, "True", "[]"]),
)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(("m", "n", "k")), bad_numbers)
def test_no_bad_number_is_answered(models_dir: Path, name: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFCAST_MODELS_DIR", str(models_dir))
        done = perfcast("predict", "gemm", *QUESTION, f"-{name}", text)
    _refused(done)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(("gpu", "dtype")), texts)
def test_no_bad_name_is_answered(models_dir: Path, name: str, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERFCAST_MODELS_DIR", str(models_dir))
        done = perfcast("predict", "gemm", *QUESTION, f"--{name}={text}")
    _refused(done)


def _refused(done: Any) -> None:
    assert done.status == 2, done
    assert done.out == ""
    assert done.err.startswith("perfcast: ")
    assert done.err.count("\n") == 1
