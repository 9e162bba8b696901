"""Long trainings in stages that survive an interruption: each is kept once it is whole."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import InvalidInput, Problem

__all__ = ["Arrays", "Stages"]

Arrays = dict[str, NDArray[Any]]

_MARK = "key"


class Stages:
    """Results of stages as .npz files in `folder`, valid for one `key` (data and options).

    Results of another key are removed first: stale stages never mix with new ones. Nothing else
    in the folder is ever removed. Raises `InvalidInput` for a folder that holds other things, or
    that is no folder. `progress` hears, after each stage, how many of how many are done.
    """

    def __init__(
        self,
        folder: Path,
        *,
        key: str,
        report: Callable[[str], None] = lambda _: None,
        progress: Callable[[int, int], None] = lambda _done, _of: None,
    ) -> None:
        self._folder, self._report, self._progress = folder, report, progress
        self.seconds: dict[str, float] = {}
        self.expected = 0
        """How many stages there will be, told by whoever runs them."""
        self._done = 0
        mark = folder / _MARK
        if folder.exists() and not folder.is_dir():
            raise InvalidInput([Problem("work", f"{folder} is not a folder")])
        if mark.is_file():
            if mark.read_text(encoding="utf-8") != key:
                self.discard()
        elif folder.exists() and any(folder.iterdir()):
            reason = f"{folder} holds files that are not a training's; name a folder of its own"
            raise InvalidInput([Problem("work", reason)])
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(key, encoding="utf-8")

    def run(self, name: str, compute: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
        """The arrays of stage `name`: computed, or read back if it was completed before."""
        arrays = self._stored(name)
        if arrays is None:
            started = time.monotonic()
            arrays = dict(compute())
            _save(self._folder / f"{name}.npz", arrays)
            self.seconds[name] = time.monotonic() - started
            self._report(f"{name}: {self.seconds[name]:.0f} s")
        self._done += 1
        self._progress(self._done, max(self.expected, self._done))
        return arrays

    def _stored(self, name: str) -> Arrays | None:
        path = self._folder / f"{name}.npz"
        if path.is_file():
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                    arrays = {key: stored[key] for key in stored.files}
            except (EOFError, OSError, ValueError, zipfile.BadZipFile):
                self._report(f"{name}: what was kept is damaged")
            else:
                self._report(f"{name}: resumed")
                return arrays
        return None

    def discard(self) -> None:
        """Remove all stages, once the bundle is written, and the folder if nothing else is in it.

        The mark goes last: cut short, what is left is still a training's folder.
        """
        for pattern in ("*.npz", "*.partial", _MARK):
            for path in self._folder.glob(pattern):
                path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


def _save(path: Path, arrays: Arrays) -> None:
    for key, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{path.stem}: {key} holds objects, which numpy would pickle")
    staging = path.with_suffix(".partial")
    with staging.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    staging.replace(path)
