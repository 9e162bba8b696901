"""The predictors that a service has loaded, by task."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from perfcast.errors import NotReady, UnknownTask
from perfcast.serving.predictor import Predictor, available, load

__all__ = ["Registry"]

_log = logging.getLogger("perfcast")


class Registry:
    """Holds one predictor per task. Empty until `load_all`; readers never see a half-loaded one."""

    def __init__(self) -> None:
        self._predictors: dict[str, Predictor] = {}

    def load_all(self, models_dir: Path) -> None:
        """Load every bundle in `models_dir`. Raises `BundleError` and keeps what was loaded."""
        loaded = {name: load(name, models_dir) for name in available(models_dir)}
        for predictor in loaded.values():
            _log.info("loaded %s", predictor.bundle.name)
        self._predictors = loaded

    @property
    def ready(self) -> bool:
        return bool(self._predictors)

    def __iter__(self) -> Iterator[Predictor]:
        return iter(self._predictors.values())

    def get(self, task: str) -> Predictor:
        """The predictor of `task`. Raises `NotReady` before any is loaded, or `UnknownTask`."""
        predictors = self._predictors
        if not predictors:
            raise NotReady("no model is loaded")
        if task not in predictors:
            raise UnknownTask(task, predictors)
        return predictors[task]
