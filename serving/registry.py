"""The predictors that a service has loaded, by task and version, and how they are replaced."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perfcast.errors import BundleError, NotReady, UnknownTask, UnknownVersion
from perfcast.features.tasks import TASKS
from perfcast.serving.predictor import Predictor, open_predictor
from perfcast.serving.store import Stamp, folders, is_emptied, rank, stamp

__all__ = ["Changes", "Registry"]

_log = logging.getLogger("perfcast")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a look at the models directory has changed.

    `loaded` and `removed` name models as answers do; `refused` tells, by folder below the models
    directory, what is wrong with each bundle there that cannot be used, also with those that were
    refused before.
    """

    loaded: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Held:
    stamp: Stamp
    task: str
    predictor: Predictor


@dataclass(slots=True)
class _Refused:
    stamp: Stamp
    reason: str
    told: bool = False


class Registry:
    """Holds predictors of every task and version. Empty until `load_all`.

    Readers see one complete set of verified models or the next, never anything between: a change
    loads aside and is then put in place at once. Whoever got a predictor keeps it for as long as
    its answer takes. Reading and changing may happen in different threads.
    """

    def __init__(self) -> None:
        self._models_dir: Path | None = None
        self._held: dict[Path, _Held] = {}
        self._refused: dict[Path, _Refused] = {}
        self._seen_empty: set[str] = set()
        self._changing = threading.Lock()
        self._versions: Mapping[str, Mapping[str, Predictor]] = {}

    def load_all(self, models_dir: Path) -> None:
        """Load every bundle in `models_dir`, in place of whatever was loaded before.

        A damaged one is skipped with a line in the log if another version of its task can answer;
        else this raises its `BundleError`, and keeps what was loaded.
        """
        with self._changing:
            held: dict[Path, _Held] = {}
            refused: dict[Path, _Refused] = {}
            for task in sorted(TASKS):
                found = [(folder, stamp(folder)) for folder in folders(models_dir, task)]
                for folder, touched in found:
                    _open(folder, task, touched, held, refused)
                if found and not any(each.task == task for each in held.values()):
                    raise BundleError(refused[found[0][0]].reason)
            self._models_dir, self._held, self._refused = models_dir, held, refused
            self._seen_empty = set()
            self._put_in_place()
            for each in held.values():
                _log.info("loaded %s", each.predictor.bundle.name)
            for refusal in refused.values():
                _tell(refusal)

    def refresh(self) -> Changes:
        """Look at the models directory again: load what is new, let go of what is gone.

        A bundle that cannot be used is refused, in the log once and not before its files have come
        to rest, and is not tried again until they change; the version that its folder held before
        keeps answering. The last versions of a task stay even if their files are gone, until
        another one is there, or the task's folder stands empty (in two looks, so that whoever
        replaces everything has time to).
        """
        with self._changing:
            if self._models_dir is None:
                return Changes()
            before = {each.predictor.bundle.name for each in self._held.values()}
            held, present = dict(self._held), set[Path]()
            for task in sorted(TASKS):
                for folder in folders(self._models_dir, task):
                    present.add(folder)
                    touched = stamp(folder)
                    if folder in held and held[folder].stamp == touched:
                        self._refused.pop(folder, None)
                    elif folder in self._refused and self._refused[folder].stamp == touched:
                        _tell(self._refused[folder])
                    else:
                        _open(folder, task, touched, held, self._refused)
            for folder in self._refused.keys() - present:
                del self._refused[folder]
            for task in sorted(TASKS):
                self._let_go(task, held, present)
            loaded = [
                each.predictor.bundle.name
                for folder, each in held.items()
                if self._held.get(folder) is not each
            ]
            changed = held != self._held
            self._held = held
            if changed:
                self._put_in_place()
            after = {each.predictor.bundle.name for each in held.values()}
            changes = Changes(
                loaded=tuple(loaded),
                removed=tuple(sorted(before - after)),
                refused={
                    str(folder.relative_to(self._models_dir)): refusal.reason
                    for folder, refusal in sorted(self._refused.items())
                },
            )
        for name in changes.loaded:
            _log.info("loaded %s", name)
        for name in changes.removed:
            _log.info("removed %s", name)
        return changes

    def _let_go(self, task: str, held: dict[Path, _Held], present: set[Path]) -> None:
        """Take what has left the disk out of `held`, as far as `refresh` says it may go."""
        assert self._models_dir is not None
        own = {folder for folder, each in held.items() if each.task == task}
        emptied = is_emptied(self._models_dir, task)
        if own & present or (emptied and task in self._seen_empty):
            for folder in own - present:
                del held[folder]
        (self._seen_empty.add if emptied else self._seen_empty.discard)(task)

    def _put_in_place(self) -> None:
        """Show readers what is held now: versions by task, the default first."""
        found: dict[str, dict[str, Predictor]] = {}
        for folder in sorted(self._held):  # a task's own folder comes before those in it
            each = self._held[folder]
            found.setdefault(each.task, {}).setdefault(
                each.predictor.bundle.version, each.predictor
            )
        self._versions = {
            task: dict(sorted(versions.items(), key=_rank, reverse=True))
            for task, versions in found.items()
        }

    @property
    def ready(self) -> bool:
        return bool(self._versions)

    def __iter__(self) -> Iterator[Predictor]:
        """Every version of every task, the default first."""
        for versions in self._versions.values():
            yield from versions.values()

    def versions(self, task: str) -> tuple[str, ...]:
        """The loaded versions of `task`, the default first. Raises as `get` does."""
        return tuple(self._of(task))

    def get(self, task: str, version: str | None = None) -> Predictor:
        """The predictor of `task`, by default of its newest version.

        Raises `NotReady` before any is loaded, `UnknownTask`, or `UnknownVersion`.
        """
        versions = self._of(task)
        if version is None:
            return next(iter(versions.values()))
        if version not in versions:
            raise UnknownVersion(task, version, versions)
        return versions[version]

    def _of(self, task: str) -> Mapping[str, Predictor]:
        held = self._versions
        if not held:
            raise NotReady("no model is loaded")
        if task not in held:
            raise UnknownTask(task, held)
        return held[task]


def _rank(item: tuple[str, Predictor]) -> tuple[Any, ...]:
    return rank(item[1].bundle.card)


def _open(
    folder: Path,
    task: str,
    touched: Stamp,
    held: dict[Path, _Held],
    refused: dict[Path, _Refused],
) -> None:
    """Put the bundle in `folder` into `held`, if it is good, else into `refused`."""
    try:
        held[folder] = _Held(touched, task, open_predictor(folder, task))
    except BundleError as error:
        refused[folder] = _Refused(touched, str(error))
    except Exception as error:  # whatever a bundle makes go wrong, it must not stop the others
        _log.exception("%s", folder.name)
        refused[folder] = _Refused(touched, f"{folder.name}: {type(error).__name__}")
    else:
        refused.pop(folder, None)


def _tell(refusal: _Refused) -> None:
    if not refusal.told:
        refusal.told = True
        _log.warning("refused %s", refusal.reason)
