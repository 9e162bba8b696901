"""`perfcast models`: the list, the cards, and what comes and goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from perfcast.bundle import Bundle
from tests.cli.helpers import perfcast
from tests.standin import write_standin


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models directory with three versions; 2 is the newest, 3 the highest."""
    folder = tmp_path / "models"
    for version, month in (("1", 1), ("3", 2), ("2", 3)):
        place = "gemm" if version == "1" else f"gemm/{version}"
        created = f"2026-{month:02}-01T00:00:00Z"
        write_standin(folder, version=version, place=place, created=created)
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(folder))
    return folder


@pytest.mark.usefixtures("use_standin")
def test_the_list() -> None:
    done = perfcast("models")
    assert done.status == 0
    for word in ("gemm", "standin", "(default)", "latency_ms", "median_error_percent: 1.0"):
        assert word in done.out


@pytest.mark.usefixtures("use_standin")
def test_the_list_as_json() -> None:
    (model,) = perfcast("models", "--json").json
    assert (model["name"], model["version"], model["coverage"]) == ("gemm", "standin", 0.9)


def test_every_version_is_listed_the_default_first(shelf: Path) -> None:
    listed = perfcast("models", "--json").json
    assert [(each["version"], each["default"]) for each in listed] == [
        ("2", True), ("3", False), ("1", False),
    ]  # fmt: skip
    assert listed[0]["created"] == "2026-03-01T00:00:00Z"


def test_damaged_ones_do_not_hide_the_others(shelf: Path) -> None:
    (shelf / "gemm" / "card.json").write_text("{")
    (shelf / "gemm" / "3" / "model.onnx").write_bytes(b"other")
    done = perfcast("models", "--json")
    assert done.status == 1
    assert [each["version"] for each in done.json] == ["2"]
    assert "gemm: no readable card.json" in done.err
    assert "3: model.onnx does not match the hash" in done.err


@pytest.mark.usefixtures("use_standin")
def test_a_card(models_dir: Path) -> None:
    assert (
        perfcast("models", "show", "gemm", "--json").json == Bundle.open(models_dir / "gemm").card
    )
    assert "model_sha256" in perfcast("models", "show", "gemm").out


def test_the_card_of_a_version(shelf: Path) -> None:
    assert perfcast("models", "show", "gemm", "--json").json["version"] == "2"
    card = perfcast("models", "show", "gemm", "--version", "3", "--json").json
    assert card == Bundle.open(shelf / "gemm" / "3").card
    done = perfcast("models", "show", "gemm", "--version", "4")
    assert (done.status, done.out) == (2, "")
    assert "no version '4' of gemm; known: '1', '2', '3'" in done.err


@pytest.mark.usefixtures("use_standin")
def test_an_unknown_model() -> None:
    done = perfcast("models", "show", "gem")
    assert (done.status, done.out) == (2, "")
    assert "did you mean 'gemm'" in done.err


def test_json_before_a_subcommand_is_refused_not_dropped() -> None:
    done = perfcast("models", "--json", "show", "gemm")
    assert done.status == 2
    assert done.json["error"]["message"] == "--json belongs behind the subcommand"


def test_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(tmp_path))
    assert perfcast("models", "--json").json == []
    assert "no models in" in perfcast("models").out


def test_checking_a_folder(tmp_path: Path) -> None:
    bundle = write_standin(tmp_path, place="anywhere")
    assert perfcast("models", "check", str(bundle.path), "--json").json == {
        "model": "gemm@standin",
        "model_sha256": bundle.card["model_sha256"],
    }
    assert "is whole and answers its self-test" in perfcast("models", "check", str(bundle.path)).out
    bundle.model_path.write_bytes(b"")
    done = perfcast("models", "check", str(bundle.path))
    assert (done.status, done.out) == (1, "")
    assert "does not match the hash" in done.err


def test_a_model_of_an_unknown_task_does_not_check(tmp_path: Path) -> None:
    bundle = write_standin(tmp_path)
    (bundle.path / "card.json").write_text(json.dumps({**bundle.card, "task": "gem"}))
    done = perfcast("models", "check", str(bundle.path))
    assert done.status == 1
    assert "gemm: a model of gem; did you mean 'gemm'?" in done.err


def test_removing_a_version_leaves_the_others(shelf: Path) -> None:
    done = perfcast("models", "remove", "gemm", "2", "--json")
    assert done.json == {"model": "gemm@2", "folder": str(shelf / "gemm" / "2")}
    assert perfcast("models", "remove", "gemm", "1").status == 0
    assert [each["version"] for each in perfcast("models", "--json").json] == ["3"]
    assert sorted(path.name for path in shelf.rglob("*")) == [
        "3",
        "card.json",
        "gemm",
        "model.onnx",
    ]
    assert perfcast("models", "remove", "gemm", "1").status == 2


def test_pulling_without_mlflow(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store.db"
    store.touch()
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = perfcast(
        "models", "pull", "models:/gemm@champion", "--tracking-uri", f"sqlite:///{store}"
    )
    assert done.status == 1
    assert "pip install 'perfcast[train]'" in done.err
    assert sorted(path.name for path in shelf.iterdir()) == ["gemm"]


@pytest.mark.parametrize(
    "uri", ["gemm", "models:/gemm", "models:/gemm/latest", "models:/gemm/0", "models:/a/b@c"]
)
def test_pulling_what_is_no_model(shelf: Path, uri: str) -> None:
    done = perfcast("models", "pull", uri)
    assert (done.status, done.out) == (2, "")
    assert "uri: must be like models:/gemm@champion or models:/gemm/3" in done.err


def test_pulling_from_a_store_that_is_not_there(shelf: Path, tmp_path: Path) -> None:
    store = tmp_path / "nothing.db"
    done = perfcast("models", "pull", "models:/gemm/1", "--tracking-uri", f"sqlite:///{store}")
    assert (done.status, done.out) == (2, "")
    assert "nothing.db: no such file; --tracking-uri names the MLflow store" in done.err
    assert not store.exists()
