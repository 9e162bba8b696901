"""Long trainings in stages that survive an interruption: each is kept once it is whole."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrays", "Stages"]

Arrays = dict[str, NDArray[Any]]


class Stages:
    """Results of stages as .npz files in `folder`, valid for one `key` (data and options).

    A folder with results of another key is emptied first: stale stages never mix with new ones.
    """

    def __init__(
        self, folder: Path, *, key: str, report: Callable[[str], None] = lambda _: None
    ) -> None:
        self._folder, self._report = folder, report
        self.seconds: dict[str, float] = {}
        mark = folder / "key"
        if folder.exists() and (not mark.is_file() or mark.read_text(encoding="utf-8") != key):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(key, encoding="utf-8")

    def run(self, name: str, compute: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
        """The arrays of stage `name`: computed, or read back if it was completed before."""
        path = self._folder / f"{name}.npz"
        if path.is_file():
            self._report(f"{name}: resumed")
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        started = time.monotonic()
        arrays = dict(compute())
        staging = path.with_suffix(".partial")
        with staging.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        staging.replace(path)
        self.seconds[name] = time.monotonic() - started
        self._report(f"{name}: {self.seconds[name]:.0f} s")
        return arrays

    def discard(self) -> None:
        """Remove everything, once the bundle is written."""
        shutil.rmtree(self._folder, ignore_errors=True)
