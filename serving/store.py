"""Where bundles lie: `<models_dir>/<task>/`, and `<models_dir>/<task>/<any name>/` beside it.

Each of those folders may hold one version; the card says which. Names that begin with a dot are
not looked at: that is where bundles are put together. The newest version by its card's `created`
answers by default, and where that says nothing, the higher version does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfcast.bundle import CARD_FILE, MODEL_FILE
from perfcast.card import created, read_card
from perfcast.errors import BundleError, UnknownTask, UnknownVersion
from perfcast.features.tasks import TASKS
from perfcast.features.versions import version_key

__all__ = [
    "Stamp", "Version", "available", "find", "folders", "is_emptied", "rank", "stamp", "versions",
]  # fmt: skip

Stamp = tuple[tuple[int, ...], ...]
"""What changes when a bundle's files do: of each, identity, size and times in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version on disk whose card could be read; its model has not been looked at."""

    folder: Path
    card: Mapping[str, Any]

    @property
    def version(self) -> str:
        return str(self.card["version"])


def folders(models_dir: Path, task: str) -> tuple[Path, ...]:
    """Folders with a card for `task`, whatever it is worth: the task's own one first."""
    own = models_dir / task
    found = [own, *sorted(_entries(own))]
    return tuple(folder for folder in found if _is_file(folder / CARD_FILE))


def available(models_dir: Path) -> tuple[str, ...]:
    """Names of the tasks that have a bundle in `models_dir`."""
    return tuple(name for name in sorted(TASKS) if folders(models_dir, name))


def versions(models_dir: Path, task: str) -> tuple[tuple[Version, ...], tuple[BundleError, ...]]:
    """`(found, damaged)`: the versions of `task`, the default first, and cards that say nothing.

    Of two folders that hold the same version, the first by `folders` counts.
    """
    found: dict[str, Version] = {}
    damaged = []
    for folder in folders(models_dir, task):
        try:
            card = read_card(folder)
            if card["task"] != task:
                raise BundleError(f"{folder.name}: a model of {card['task']}, not of {task}")
        except BundleError as error:
            damaged.append(error)
            continue
        found.setdefault(card["version"], Version(folder, card))
    newest = sorted(found.values(), key=lambda each: rank(each.card), reverse=True)
    return tuple(newest), tuple(damaged)


def find(models_dir: Path, task: str, version: str | None = None) -> Path:
    """The folder of a version of `task`, by default the newest.

    Raises `UnknownTask`, `UnknownVersion`, or `BundleError` if no card of the task can be read.
    """
    known = available(models_dir)
    if task not in known:
        raise UnknownTask(task, known)
    found, damaged = versions(models_dir, task)
    if not found:
        raise damaged[0]
    for each in found:
        if version in (None, each.version):
            return each.folder
    raise UnknownVersion(task, str(version), [each.version for each in found])


def rank(card: Mapping[str, Any]) -> tuple[Any, ...]:
    """A key that sorts cards from the oldest to the one that answers by default."""
    version = str(card["version"])
    return created(card), version_key(version), version


def stamp(folder: Path) -> Stamp:
    """Tells whether the bundle in `folder` was touched, at the price of two calls of stat."""
    return tuple(_stat(folder / name) for name in (CARD_FILE, MODEL_FILE))


def is_emptied(models_dir: Path, task: str) -> bool:
    """Whether the folder of `task` is there, and nothing in it: somebody wants no model of it.

    A folder that is gone altogether says less: it may be about to be replaced, or unmounted.
    """
    try:
        return all(path.name.startswith(".") for path in (models_dir / task).iterdir())
    except OSError:
        return False


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                folder / entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            ]
    except OSError:
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered
        return False


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
