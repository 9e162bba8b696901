"""Bundles come into the models directory whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from perfcast.bundle import CARD_FILE, MODEL_FILE, Bundle
from perfcast.card import read_card
from perfcast.errors import BundleError, nearest
from perfcast.features.tasks import TASKS
from perfcast.serving.predictor import open_predictor
from perfcast.serving.store import find, folders, versions

__all__ = ["install", "remove", "staging", "verified"]

_PREFIX = ".pull-"
_ABANDONED_S = 24 * 3600
_ATTEMPTS = 10


@contextlib.contextmanager
def staging(models_dir: Path) -> Iterator[Path]:
    """An empty folder inside `models_dir`, gone when the block ends, however it does.

    Nobody looks into it, and what is put together there is installed by renaming it. What fails
    to be written, in this block or before, is a `BundleError`.
    """
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        _sweep(models_dir)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=models_dir))
    except OSError as error:
        raise _unwritable(models_dir, error) from error
    try:
        yield folder
    except OSError as error:
        raise _unwritable(models_dir, error) from error
    finally:
        _remove_tree(folder)


def verified(folder: Path) -> Bundle:
    """The bundle in `folder`, checked in all that the service checks. Raises `BundleError`."""
    task = read_card(folder)["task"]
    if task not in TASKS:
        raise BundleError(f"{folder.name}: a model of {task}; {nearest(task, TASKS)}")
    return open_predictor(folder, task).bundle


def install(folder: Path, models_dir: Path) -> tuple[Bundle, bool]:
    """Verify the bundle in `folder` and move it to `models_dir/<task>/<version>`.

    Returns the installed bundle, and whether it is new: False if the same one was there already.
    `folder` must lie on the file system of `models_dir`, as `staging` provides, and hold nothing
    but the bundle. Raises `BundleError` if the bundle cannot be used, if that version is installed
    with another model, or if the directory cannot be written.
    """
    found = verified(folder)
    same = _installed(found, models_dir)
    if same is not None:
        return same, False
    target = models_dir / found.task / found.version
    try:
        _make_durable(folder)
        target.parent.mkdir(exist_ok=True)
        folder.rename(target)
        _flush(target.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            target.parent.rmdir()  # if it is empty
        same = _installed(found, models_dir)  # by somebody else, in this very moment
        if same is not None:
            return same, False
        raise _unwritable(target, error) from error
    return Bundle.open(target), True


def remove(models_dir: Path, task: str, version: str) -> Path:
    """Delete a version of `task`; returns its folder. A service lets go of it on its next look.

    The bundle leaves in one step, never half. Raises `UnknownTask`, `UnknownVersion`, or
    `BundleError` if it cannot be deleted.
    """
    folder = find(models_dir, task, version)
    with staging(models_dir) as away:
        if folder == models_dir / task:  # other versions may lie below it
            for name in (CARD_FILE, MODEL_FILE):  # without its card, a model is nothing
                (folder / name).rename(away / name)
        else:
            folder.rename(away / folder.name)
    return folder


def _installed(bundle: Bundle, models_dir: Path) -> Bundle | None:
    """The same bundle, if it is installed. Raises `BundleError` for another of the same name."""
    if not folders(models_dir, bundle.task):
        return None
    for each in versions(models_dir, bundle.task)[0]:
        if each.version == bundle.version:
            if each.card == bundle.card:
                return Bundle.open(each.folder)
            raise BundleError(
                f"{bundle.name} is already installed with another model or card; to replace it: "
                f"perfcast models remove {bundle.task} {bundle.version}"
            )
    return None


def _make_durable(folder: Path) -> None:
    """Readable for every user, and on disk before its name is."""
    for name in (CARD_FILE, MODEL_FILE):
        (folder / name).chmod(0o644)
        _flush(folder / name)
    folder.chmod(0o755)
    _flush(folder)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(models_dir: Path) -> None:
    """Delete what a process that was killed has left, long ago."""
    for folder in models_dir.glob(f"{_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_tree(folder: Path) -> None:
    """Also while a download that was interrupted is still putting files there."""
    for _ in range(_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


def _unwritable(path: Path, error: OSError) -> BundleError:
    return BundleError(f"{path}: cannot be written: {error.strerror or error}")
