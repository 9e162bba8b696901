"""Every door finds the same bundles, in a task's folder and in folders below it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import perfcast
from perfcast.errors import BundleError, UnknownTask, UnknownVersion
from perfcast.serving import store
from tests.standin import write_standin


def test_versions_lie_in_the_tasks_folder_and_below_it(tmp_path: Path) -> None:
    own = write_standin(tmp_path, version="2", created="2026-02-01T00:00:00Z")
    old = write_standin(
        tmp_path, version="1", place="gemm/any name", created="2026-01-01T00:00:00Z"
    )
    new = write_standin(tmp_path, version="1.5", place="gemm/1.5", created="2026-03-01T00:00:00Z")
    (tmp_path / "gemm" / "notes").mkdir()
    shutil.copytree(own.path, tmp_path / "gemm" / ".staging")
    shutil.copytree(own.path, tmp_path / "towers")
    assert store.available(tmp_path) == ("gemm",)
    assert store.folders(tmp_path, "gemm") == (own.path, new.path, old.path)
    found, damaged = store.versions(tmp_path, "gemm")
    assert [each.version for each in found] == ["1.5", "2", "1"]
    assert damaged == ()
    assert store.find(tmp_path, "gemm") == new.path
    assert store.find(tmp_path, "gemm", "1") == old.path


def test_without_dates_the_higher_version_is_the_default(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0rc1"):
        write_standin(tmp_path, version=version, place=f"gemm/{version}")
    found, _ = store.versions(tmp_path, "gemm")
    assert [each.version for each in found] == ["1.10.0", "1.10.0rc1", "1.9.0"]


def test_a_date_counts_for_more_than_none(tmp_path: Path) -> None:
    write_standin(tmp_path, version="9", place="gemm/9")
    write_standin(tmp_path, version="1", place="gemm/1", created="1999-01-01T00:00:00Z")
    assert perfcast.load("gemm", models_dir=tmp_path).bundle.version == "1"


def test_of_two_folders_with_one_version_the_tasks_own_counts(tmp_path: Path) -> None:
    own = write_standin(tmp_path, version="1")
    write_standin(tmp_path, version="1", place="gemm/1", created="2026-03-01T00:00:00Z")
    found, _ = store.versions(tmp_path, "gemm")
    assert [each.folder for each in found] == [own.path]


def test_loading_a_version(tmp_path: Path) -> None:
    for number, version in enumerate(("2026.1", "2026.2"), start=1):
        write_standin(tmp_path, version=version, place=f"gemm/{version}", slower=number)
    row = {"gpu": "h200_sxm", "dtype": "fp8", "m": 64, "n": 64, "k": 64}
    answers = {
        version: perfcast.load("gemm", version=version, models_dir=tmp_path).predict_columns(row)
        for version in ("2026.1", "2026.2")
    }
    default = perfcast.load("gemm", models_dir=tmp_path).predict_columns(row)
    assert default.model == answers["2026.2"].model == "gemm@2026.2"
    ratio = answers["2026.2"]["latency_ms"].value / answers["2026.1"]["latency_ms"].value
    assert ratio == pytest.approx(2.0)
    with pytest.raises(UnknownVersion, match=r"no version '2026\.3' of gemm; did you mean"):
        perfcast.load("gemm", version="2026.3", models_dir=tmp_path)


def test_cards_that_cannot_be_read_are_told_beside_the_others(tmp_path: Path) -> None:
    good = write_standin(tmp_path, version="1", place="gemm/1")
    bad = write_standin(tmp_path, version="2", place="gemm/2")
    (bad.path / "card.json").write_text("{")
    foreign = write_standin(tmp_path, version="3", place="gemm/3")
    card = {**foreign.card, "task": "towers"}
    (foreign.path / "card.json").write_text(json.dumps(card))
    found, damaged = store.versions(tmp_path, "gemm")
    assert [each.folder for each in found] == [good.path]
    assert [str(error) for error in damaged] == [
        "2: no readable card.json",
        "3: a model of towers, not of gemm",
    ]
    shutil.rmtree(good.path)
    with pytest.raises(BundleError, match="2: no readable card"):
        store.find(tmp_path, "gemm")


@pytest.mark.parametrize("change", [{"note": "\ud800"}, {"rows": 2**65}])
def test_a_card_that_cannot_be_sent_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    bundle = write_standin(tmp_path)
    (bundle.path / "card.json").write_text(json.dumps({**bundle.card, **change}))
    with pytest.raises(BundleError, match="gemm@standin: its card cannot be sent as JSON"):
        perfcast.load("gemm", models_dir=tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert store.available(folder) == ()
        with pytest.raises(UnknownTask):
            store.find(folder, "gemm")
    (tmp_path / "gemm").write_text("a file")
    assert store.available(tmp_path) == ()


def test_a_stamp_changes_with_either_file(tmp_path: Path) -> None:
    bundle = write_standin(tmp_path)
    stamps = [store.stamp(bundle.path), store.stamp(bundle.path)]
    assert stamps[0] == stamps[1]
    with (bundle.path / "card.json").open("a") as file:
        file.write(" ")
    stamps.append(store.stamp(bundle.path))
    bundle.model_path.write_bytes(bundle.model_path.read_bytes() + b" ")
    stamps.append(store.stamp(bundle.path))
    bundle.model_path.unlink()
    stamps.append(store.stamp(bundle.path))
    assert len(set(stamps)) == 4


def test_only_a_folder_that_is_there_can_be_empty(tmp_path: Path) -> None:
    found = [store.is_emptied(tmp_path, "gemm")]
    (tmp_path / "gemm" / ".staging").mkdir(parents=True)
    found.append(store.is_emptied(tmp_path, "gemm"))
    (tmp_path / "gemm" / "README").touch()
    found.append(store.is_emptied(tmp_path, "gemm"))
    assert found == [False, True, False]
