"""Bundles open only if whole, and are replaced only by whole ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfcast.bundle import Bundle, sha256_of, write_bundle
from perfcast.errors import BundleError

CARD: dict[str, Any] = {
    "task": "gemm",
    "version": "7",
    "coverage": 0.9,
    "reasons": [],
    "deployments": [],
}


def test_what_is_written_opens(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "gemm", b"model", CARD)
    assert (bundle.task, bundle.version, bundle.name) == ("gemm", "7", "gemm@7")
    assert bundle.model_path.read_bytes() == b"model"
    assert bundle.card["model_sha256"] == sha256_of(bundle.model_path)


def test_a_new_bundle_replaces_the_old_one_and_leaves_nothing(tmp_path: Path) -> None:
    write_bundle(tmp_path / "gemm", b"old", CARD)
    bundle = write_bundle(tmp_path / "gemm", b"new", {**CARD, "version": "8"})
    assert bundle.version == "8"
    assert bundle.model_path.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["gemm"]


@pytest.mark.parametrize("card", [{"task": "gemm"}, {**CARD, "coverage": float("nan")}])
def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path, card: dict[str, Any]) -> None:
    write_bundle(tmp_path / "gemm", b"old", CARD)
    with pytest.raises((BundleError, ValueError)):
        write_bundle(tmp_path / "gemm", b"new", card)
    assert Bundle.open(tmp_path / "gemm").model_path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["gemm"]


def test_an_interruption_at_the_worst_moment_brings_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "gemm", b"old", CARD)
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if target == tmp_path / "gemm" and "retired" not in self.name:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "gemm", b"new", CARD)
    assert Bundle.open(tmp_path / "gemm").model_path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["gemm"]


def test_a_changed_model_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "gemm", b"model", CARD)
    bundle.model_path.write_bytes(b"other")
    with pytest.raises(BundleError, match="does not match the hash"):
        Bundle.open(tmp_path / "gemm")


def test_an_absent_model_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "gemm", b"model", CARD).model_path.unlink()
    with pytest.raises(BundleError, match=r"no readable model\.onnx"):
        Bundle.open(tmp_path / "gemm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no readable"),
        ("[]", "lacks schema, task"),
        ("null", "lacks schema, task"),
        (json.dumps({**CARD, "schema": 99, "model_sha256": ""}), "card schema 99"),
        (json.dumps({**CARD, "schema": 1}), "lacks model_sha256"),
        ("[" * 100_000, "no readable"),
        (json.dumps({**CARD, "coverage": float("nan")}), "no readable"),
    ],
)
def test_a_damaged_card_is_refused(tmp_path: Path, text: str, message: str) -> None:
    bundle = write_bundle(tmp_path / "gemm", b"model", CARD)
    (bundle.path / "card.json").write_text(text)
    with pytest.raises(BundleError, match=message):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 7}, "version in card.json must be at most 100 letters"),
        ({"version": "../7"}, "version in card.json must be at most 100 letters"),
        ({"version": ".7"}, "version in card.json must be"),
        ({"version": "7" * 101}, "version in card.json must be"),
        ({"version": "7\n"}, "version in card.json must be"),
        ({"task": ["gemm"]}, "task in card.json must be a name"),
        ({"coverage": 1}, "coverage in card.json must be a number between 0 and 1"),
        ({"coverage": "0.9"}, "coverage in card.json must be"),
        ({"reasons": "no"}, "reasons in card.json must be a list of at most 63 sentences"),
        ({"reasons": [""] * 64}, "reasons in card.json must be"),
        ({"deployments": [1]}, "deployments in card.json must be a list of objects"),
        ({"summary": []}, "summary in card.json must be an object"),
        ({"created": "yesterday"}, "created in card.json must be a date"),
        ({"created": 3}, "created in card.json must be a date"),
    ],
)
def test_fields_that_programs_rely_on_are_checked(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        write_bundle(tmp_path / "gemm", b"model", {**CARD, **change})
    assert list(tmp_path.iterdir()) == []


def test_when_it_was_created(tmp_path: Path) -> None:
    cards = [
        CARD,
        {**CARD, "created": "2026-11-22T12:00:00"},
        {**CARD, "created": "2026-11-22T14:30:00+02:00"},
        {**CARD, "created": "2026-11-22T12:45:00Z"},
    ]
    created = [write_bundle(tmp_path / "gemm", b"model", card).created for card in cards]
    assert created == sorted(created) and len(set(created)) == 4


def test_other_versions_below_stay_when_the_bundle_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "gemm"
    write_bundle(folder, b"old", CARD)
    below = write_bundle(folder / "6", b"older", {**CARD, "version": "6"})
    (folder / ".pull-1").mkdir()
    with pytest.raises(BundleError):
        write_bundle(folder, b"new", {**CARD, "version": ""})
    write_bundle(folder, b"new", {**CARD, "version": "8"})
    assert Bundle.open(folder).version == "8"
    assert Bundle.open(below.path).model_path.read_bytes() == b"older"
    assert sorted(path.name for path in folder.iterdir()) == ["6", "card.json", "model.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["gemm"]


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no readable"):
        Bundle.open(tmp_path / "nothing")
