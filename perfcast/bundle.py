"""A Bundle is what training hands to serving, and nothing else does: `model.onnx` and `card.json`.

`model.onnx` takes a task's raw input columns (strings and int64, shape [N]) and returns, all [N]:

- `<quantity>` for each output of the task, and `<quantity>_low`, `<quantity>_high` for those with
  an interval: float32, NaN where the answer is withheld;
- `<quantity>_status` for each output with an interval: int64 codes into `prediction.STATUSES`;
- `reasons`: int64 bit set; bit i stands for the sentence `card["reasons"][i]`.

`card.json` is the model card, readable by people and by programs; `Bundle` names the fields that
programs rely on, `perfcast.card` checks them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from perfcast.card import CARD_FILE, SCHEMA, created, read_card
from perfcast.errors import BundleError

__all__ = ["CARD_FILE", "MODEL_FILE", "Bundle", "sha256_of", "write_bundle"]

MODEL_FILE = "model.onnx"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk.

    `card` holds at least: `schema`, `task`, `version`, `model_sha256`, `coverage` (0..1),
    `reasons` (sentences by bit), `deployments` (what was measured: a list of objects with the
    task's category columns), `self_test` (`inputs` and `outputs` columns).
    """

    path: Path
    card: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read and verify the bundle in folder `path`. Raises `BundleError`."""
        card = read_card(path)
        try:
            found = sha256_of(path / MODEL_FILE)
        except OSError as error:
            raise BundleError(f"{path.name}: no readable {MODEL_FILE}") from error
        if found != card["model_sha256"]:
            raise BundleError(f"{path.name}: {MODEL_FILE} does not match the hash in its card")
        return cls(path, card)

    @property
    def task(self) -> str:
        return str(self.card["task"])

    @property
    def version(self) -> str:
        return str(self.card["version"])

    @property
    def name(self) -> str:
        """How answers name this model: `task@version`."""
        return f"{self.task}@{self.version}"

    @property
    def created(self) -> datetime:
        """When it was made; the year 1 if its card does not say."""
        return created(self.card)

    @property
    def model_path(self) -> Path:
        return self.path / MODEL_FILE


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bundle(path: Path, model: bytes, card: Mapping[str, Any]) -> Bundle:
    """Write a bundle to folder `path`, replacing what was there only once the new one is whole.

    Other versions in folders below `path` stay.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    retired = path.with_name(f".{path.name}-retired-{os.getpid()}")
    try:
        (staging / MODEL_FILE).write_bytes(model)
        full = {**card, "schema": SCHEMA, "model_sha256": hashlib.sha256(model).hexdigest()}
        text = json.dumps(full, indent=1, allow_nan=False, ensure_ascii=False)
        (staging / CARD_FILE).write_text(text + "\n", encoding="utf-8")
        Bundle.open(staging)
        _keep_versions(path, staging)
        staging.chmod(0o755)
        if path.exists():
            path.rename(retired)
        staging.rename(path)
        shutil.rmtree(retired, ignore_errors=True)
    except BaseException:
        if retired.exists() and not path.exists():  # cut short between the two renames
            retired.rename(path)
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Bundle.open(path)


def _keep_versions(path: Path, staging: Path) -> None:
    """Let the folders in `path` stand in `staging` too: as links, which take no time or space."""
    for folder in path.iterdir() if path.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith("."):
            shutil.copytree(folder, staging / folder.name, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without them
        shutil.copy2(source, target)
