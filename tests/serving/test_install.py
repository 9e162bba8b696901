"""Bundles are put together where nobody looks, and appear or go in one step."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from perfcast.bundle import Bundle
from perfcast.errors import BundleError, UnknownVersion
from perfcast.serving.install import install, remove, staging
from perfcast.serving.store import versions
from tests.standin import write_standin


def put_together(folder: Path, *, version: str = "2", slower: float = 1.0) -> Path:
    return write_standin(folder, version=version, slower=slower, place="bundle").path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_is_installed_under_its_version(tmp_path: Path) -> None:
    with staging(tmp_path / "models") as folder:
        assert folder.parent == tmp_path / "models"
        bundle, new = install(put_together(folder), tmp_path / "models")
    assert new and bundle.path == tmp_path / "models" / "gemm" / "2"
    assert Bundle.open(bundle.path).name == "gemm@2"
    assert names(tmp_path / "models") == ["gemm"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_happens_the_staging_folder_goes(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def fail(folder: Path) -> None:
        put_together(folder)
        raise error

    with pytest.raises(error), staging(tmp_path) as folder:
        fail(folder)
    assert names(tmp_path) == []


def test_a_file_that_appears_while_it_goes_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree, calls = shutil.rmtree, []

    def slow(path: Path, ignore_errors: bool) -> None:
        calls.append(path)
        if len(calls) > 1:  # the first time, somebody puts a file there behind its back
            rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr("perfcast.serving.install.shutil.rmtree", slow)
    with staging(tmp_path):
        pass
    assert len(calls) == 2
    assert names(tmp_path) == []


def test_what_a_killed_process_has_left_is_swept_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / ".pull-old", tmp_path / ".pull-new"
    for folder in (old, new):
        put_together(folder)
    os.utime(old, (1e9, 1e9))
    with staging(tmp_path):
        pass
    assert names(tmp_path) == [".pull-new"]


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_disk_that_fills_up_at_the_end_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with staging(tmp_path) as folder:
        path = put_together(folder)
        monkeypatch.setattr(os if call == "fsync" else Path, call, full)
        with pytest.raises(BundleError, match="gemm/2: cannot be written: No space left on device"):
            install(path, tmp_path)
    assert names(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BundleError, match="file: cannot be written: File exists"),
        staging(tmp_path / "file"),
    ):
        pass


def test_a_bad_bundle_is_not_installed(tmp_path: Path) -> None:
    with staging(tmp_path) as folder:
        path = put_together(folder)
        (path / "model.onnx").write_bytes(b"")
        with pytest.raises(BundleError, match="does not match the hash"):
            install(path, tmp_path)
    assert names(tmp_path) == []


def test_two_at_once_install_one(tmp_path: Path) -> None:
    start, outcomes = threading.Barrier(4), []

    def run() -> None:
        with staging(tmp_path) as folder:
            path = put_together(folder)
            start.wait()
            outcomes.append(install(path, tmp_path)[1])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]
    assert (names(tmp_path), names(tmp_path / "gemm")) == (["gemm"], ["2"])


def test_another_model_under_the_same_version_is_refused(tmp_path: Path) -> None:
    write_standin(tmp_path, version="2", slower=3.0)
    with staging(tmp_path) as folder:
        path = put_together(folder)
        with pytest.raises(BundleError, match="to replace it: perfcast models remove gemm 2"):
            install(path, tmp_path)


def test_a_version_is_removed_from_wherever_it_is(tmp_path: Path) -> None:
    own = write_standin(tmp_path, version="1")
    write_standin(tmp_path, version="2", place="gemm/any name")
    write_standin(tmp_path, version="3", place="gemm/3")
    with pytest.raises(UnknownVersion):
        remove(tmp_path, "gemm", "4")
    assert remove(tmp_path, "gemm", "2") == tmp_path / "gemm" / "any name"
    assert remove(tmp_path, "gemm", "1") == own.path
    assert [each.version for each in versions(tmp_path, "gemm")[0]] == ["3"]
    assert (names(tmp_path), names(tmp_path / "gemm")) == (["gemm"], ["3"])
    remove(tmp_path, "gemm", "3")
    assert (names(tmp_path), names(tmp_path / "gemm")) == (["gemm"], [])
