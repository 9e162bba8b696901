"""`perfcast train` and `perfcast evaluate`: to the end, cut off, and on data they cannot use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from perfcast.bundle import Bundle
from tests.cli.helpers import Outcome, perfcast
from tests.training.tiny_campaign import DEPLOYMENTS, columns, write
from tests.training.trained import Trained

ROOT = Path(__file__).parent.parent.parent
TINY = ("--trees", "8", "--depth", "3", "--folds", "2", "--threads", "1")
MAIN = "from perfcast.cli import main; main()"
BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
        return None

sys.meta_path.insert(0, Blocker())
"""


def start(folder: Path, *arguments: str, before: str = "") -> subprocess.Popen[str]:
    """The command line in a process whose working folder is `folder`."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "7", "PERFCAST_MODELS_DIR": str(folder / "models"),
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", before + MAIN, *arguments],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)


@dataclass(frozen=True)
class Story:
    """Interrupted from the keyboard after a stage, then run again, without --output."""

    folder: Path
    interrupted: Outcome
    left: list[str]
    kept: list[str]
    finished: Outcome


@pytest.fixture(scope="module")
def story(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("story")
    command = ("train", "gemm", "--data", str(trained.data), "--no-track", *TINY)
    process = start(folder, *command)
    stage = folder / ".perfcast-train" / "latency-hopper.npz"
    deadline = time.monotonic() + 120
    while not stage.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    interrupted = finish(process)
    left = sorted(path.name for path in folder.iterdir())
    kept = sorted(path.name for path in stage.parent.iterdir())
    return Story(folder, interrupted, left, kept, finish(start(folder, *command, "--json")))


def test_an_interruption_is_one_line_and_leaves_no_bundle(story: Story) -> None:
    assert story.interrupted.status == 130
    assert story.interrupted.out == ""
    assert story.interrupted.err == "perfcast: interrupted\n"
    assert story.left == [".perfcast-train"]
    assert {"key", "latency-hopper.npz"} <= set(story.kept)


def test_run_again_it_writes_the_bundle_where_the_models_are(
    story: Story, trained: Trained
) -> None:
    """The same model as another process made, whatever the hashes of strings."""
    assert (story.finished.status, story.finished.err) == (0, "")
    bundle = Bundle.open(story.folder / "models" / "gemm")
    assert story.finished.json == {"model": bundle.name, "summary": bundle.card["summary"]}
    assert bundle.card["model_sha256"] == trained.bundle.card["model_sha256"]
    assert bundle.card["summary"] == trained.bundle.card["summary"]
    assert [path.name for path in story.folder.iterdir()] == ["models"], "nor a tracking store"


def test_training_with_all_options_shows_the_report(trained: Trained, tmp_path: Path) -> None:
    data = write(tmp_path / "h200.csv", columns(DEPLOYMENTS[6:], powered=DEPLOYMENTS[6:]))
    done = perfcast(
        "train", "gemm", "--data", str(data), "--output", str(tmp_path / "out" / "gemm"),
        "--work", str(tmp_path / "work"), "--no-track", "--seed", "3", *TINY,
    )  # fmt: skip
    assert done.status == 0
    bundle = Bundle.open(tmp_path / "out" / "gemm")
    assert bundle.card["method"]["options"] == {
        "trees": 8, "patience": 30, "depth": 3, "folds": 2, "coverage": 0.9, "seed": 3,
        "threads": 1,
    }  # fmt: skip
    assert "sites left out: latency_ms" in done.out
    assert "sites left out: power_w" in done.out
    assert f"{bundle.name} written to" in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h200.csv", "out"]


def test_evaluation_as_json(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(trained.models_dir))
    done = perfcast("evaluate", "gemm", "--data", str(trained.data), "--json")
    assert (done.status, done.err) == (0, "")
    assert done.json.keys() == {"latency_ms", "power_w"}
    for name, document in done.json.items():
        assert document["quantity"] == name
        whole = document["rows"][0]
        assert whole["group"] == {} and whole["answered"] == whole["rows"]
        assert 0 < whole["median_ape_percent"] < 2


def test_evaluation_with_baselines(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(trained.models_dir))
    data = write(tmp_path / "new.parquet", columns(DEPLOYMENTS[6:7]))
    done = perfcast("evaluate", "gemm", "--data", str(data), "--baselines", "--json")
    assert done.status == 0
    titles = {name: document["title"] for name, document in done.json.items()}
    assert titles["latency_ms"].endswith("on new.parquet")
    assert titles["baselines"] == "plain xgboost on site:baselines"
    assert titles["paper_power"].startswith("paper's protocol, random:0")
    whole = done.json["baselines"]["rows"][0]
    assert whole["baselines"].keys() == {"histogram boosting", "roofline"}
    assert 0 < whole["median_ape_percent"] < 50


def test_evaluation_as_tables(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(trained.models_dir))
    done = perfcast("evaluate", "gemm", "--data", str(trained.data))
    assert done.status == 0
    assert f"{trained.bundle.name} on gemm.parquet: power_w" in done.out


def test_evaluation_without_a_model(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(tmp_path))
    done = perfcast("evaluate", "gemm", "--data", str(trained.data))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("perfcast: no model for task 'gemm'")
    assert done.err.count("\n") == 1


def test_evaluation_between_nodes(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a model: what is asked was not measured, as far as the fit can know."""
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(tmp_path))
    command = ("evaluate", "gemm-between", "--data", str(trained.data), *TINY)
    done = perfcast(*command, "--gpu", "a100_sxm", "--json")
    assert (done.status, done.err) == (0, "")
    assert {"n", "k", "m", "n_k_m", "m_above_1"} <= done.json.keys()
    for document in done.json.values():
        assert document["quantity"] == "latency_ms" and "8 trees" in document["title"]
        assert document["rows"][0]["answered"] == document["rows"][0]["rows"]
    shown = perfcast(*command)
    assert shown.status == 0, "the default GPU is in the data"
    for title in ("n between nodes", "n, k and m between nodes at once", "h200_sxm"):
        assert title in " ".join(shown.out.split())


def bad(folder: Path, **changes: object) -> Path:
    """A CSV file of three rows, the last one changed."""
    table = {name: values[:3] for name, values in columns(DEPLOYMENTS[:1], powered=()).items()}
    for name, value in changes.items():
        table[name] = [*table[name][:2], value]
    return write(folder / "bad.csv", table)


@pytest.mark.usefixtures("use_standin")
@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu": "a100"}, ("bad.csv", "row 2", "gpu", "a100_sxm")),
        ({"m": 0}, ("bad.csv", "row 2", "m")),
        ({"latency_ms": -1.0}, ("bad.csv", "row 2", "latency_ms")),
        ({"latency_ms": 1e-9}, ("bad.csv", "row 2", "latency_ms", "faster than physically")),
        ({"dtype": "nvfp4"}, ("bad.csv", "row 2", "dtype", "no hardware")),
    ],
)
def test_bad_data_is_one_line(
    command: str,
    changes: dict[str, object],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = bad(tmp_path, **changes)
    done = perfcast(command, "gemm", "--data", str(data))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("perfcast: ") and done.err.count("\n") == 1
    for word in words:
        assert word in done.err
    told = perfcast(command, "gemm", "--data", str(data), "--json")
    assert told.status == 2
    assert told.json["error"]["type"] == "DataError"
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"], "no store, no stages"


def test_too_little_data_is_one_line(tmp_path: Path) -> None:
    data = write(tmp_path / "gemm.parquet", columns(DEPLOYMENTS[:1], powered=()))
    done = perfcast(
        "train", "gemm", "--data", str(data), "--work", str(tmp_path / "work"), "--no-track",
        "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert (done.status, done.out) == (2, "")
    assert "column power_w: empty in every row" in done.err
    assert not (tmp_path / "out").exists()


def test_a_path_that_looks_like_markup(tmp_path: Path) -> None:
    done = perfcast("train", "gemm", "--data", str(tmp_path / "[/red]"), "--no-track")
    assert done.status == 2
    assert "no such file or folder" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "gemm"),
        ("train", "gem", "--data", "x"),
        ("train", "gemm", "--data", "x", "--folds", "1"),
        ("train", "gemm", "--data", "x", "--threads", "many"),
        ("evaluate", "gemm"),
    ],
)
def test_nonsense(arguments: tuple[str, ...]) -> None:
    done = perfcast(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_without_the_extra(command: str, tmp_path: Path) -> None:
    done = finish(start(tmp_path, command, "gemm", "--data", "gemm.parquet", before=BLOCK))
    assert (done.status, done.out) == (1, "")
    assert done.err == "perfcast: sklearn is not installed; run: pip install 'perfcast[train]'\n"
