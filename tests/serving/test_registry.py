"""The registry holds whole sets of verified models, and changes from one set to the next."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perfcast.errors import BundleError, NotReady, UnknownTask
from perfcast.serving.registry import Registry


def test_it_answers_once_loaded(models_dir: Path) -> None:
    registry = Registry()
    with pytest.raises(NotReady):
        registry.get("gemm")
    registry.load_all(models_dir)
    assert registry.get("gemm").bundle.name == "gemm@standin"
    assert [held.task.name for held in registry] == ["gemm"]
    with pytest.raises(UnknownTask, match="did you mean 'gemm'"):
        registry.get("gem")


def test_a_failed_load_keeps_what_was_there(models_dir: Path, tmp_path: Path) -> None:
    registry = Registry()
    registry.load_all(models_dir)
    held = registry.get("gemm")
    shutil.copytree(models_dir / "gemm", tmp_path / "gemm")
    (tmp_path / "gemm" / "card.json").write_text("{}")
    with pytest.raises(BundleError):
        registry.load_all(tmp_path)
    assert registry.get("gemm") is held


def test_readiness(models_dir: Path, tmp_path: Path) -> None:
    registry = Registry()
    found = [registry.ready]
    for folder in (tmp_path, models_dir):
        registry.load_all(folder)
        found.append(registry.ready)
    assert found == [False, False, True]
