"""A Bundle is what training hands to serving, and nothing else does: `model.onnx` and `card.json`.

`model.onnx` takes a task's raw input columns (strings and int64, shape [N]) and returns, all [N]:

- `<quantity>` for each output of the task, and `<quantity>_low`, `<quantity>_high` for those with
  an interval: float32, NaN where the answer is withheld;
- `<quantity>_status` for each output with an interval: int64 codes into `prediction.STATUSES`;
- `reasons`: int64 bit set; bit i stands for the sentence `card["reasons"][i]`.

`card.json` is the model card, readable by people and by programs; `Card` names the fields that
programs rely on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfcast.errors import BundleError

__all__ = ["Bundle", "sha256_of", "write_bundle"]

SCHEMA = 1
MODEL_FILE, CARD_FILE = "model.onnx", "card.json"
_REQUIRED = ("schema", "task", "version", "model_sha256", "coverage", "reasons", "deployments")


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
        try:
            card = json.loads((path / CARD_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{path.name}: no readable {CARD_FILE}") from error
        absent = [key for key in _REQUIRED if not isinstance(card, dict) or key not in card]
        if absent:
            raise BundleError(f"{path.name}: {CARD_FILE} lacks {', '.join(absent)}")
        if card["schema"] != SCHEMA:
            raise BundleError(f"{path.name}: card schema {card['schema']!r}, expected {SCHEMA}")
        if not (path / MODEL_FILE).is_file():
            raise BundleError(f"{path.name}: no {MODEL_FILE}")
        if sha256_of(path / MODEL_FILE) != card["model_sha256"]:
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
    def model_path(self) -> Path:
        return self.path / MODEL_FILE


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bundle(path: Path, model: bytes, card: Mapping[str, Any]) -> Bundle:
    """Write a bundle to folder `path`, replacing what was there only once the new one is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    retired = path.with_name(f".{path.name}-retired-{os.getpid()}")
    try:
        (staging / MODEL_FILE).write_bytes(model)
        full = {**card, "schema": SCHEMA, "model_sha256": hashlib.sha256(model).hexdigest()}
        text = json.dumps(full, indent=1, allow_nan=False, ensure_ascii=False)
        (staging / CARD_FILE).write_text(text + "\n", encoding="utf-8")
        Bundle.open(staging)
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
