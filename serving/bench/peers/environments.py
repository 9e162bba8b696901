"""Environments of the peers: each its own, below the cache folder, made once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["CannotInstall", "Environment", "prepare"]

_STAMP: Final = "requirements.json"
_VERSIONS: Final = """\
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found[name] = "not installed"
print(json.dumps(found))
"""


class CannotInstall(Exception):
    """A peer cannot be installed here."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where packages are installed: its Python; other programs stand beside it."""

    python: Path

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """Which versions of the packages `names` are installed, and which Python runs them."""
        ended = subprocess.run(
            [str(self.python), "-c", _VERSIONS, *names],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        found: dict[str, str] = json.loads(ended.stdout)
        return found


def prepare(folder: Path, requirements: Sequence[str], newest: tuple[int, int]) -> Environment:
    """The environment in `folder` with `requirements`, installed unless it is there already.

    `newest` is the last Python the packages run on; an older one is looked for if need be. Raises
    `CannotInstall`.
    """
    environment = Environment(folder / "bin" / "python")
    stamp = folder / _STAMP
    wanted = json.dumps([*requirements])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return environment
    if (folder / "pyvenv.cfg").exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([_python(newest), "-m", "venv", str(folder)])
    _run(
        [
            str(environment.python), "-m", "pip", "--disable-pip-version-check",
            "install", "--quiet", *requirements,
        ]
    )  # fmt: skip
    stamp.write_text(wanted, encoding="utf-8")
    return environment


def _python(newest: tuple[int, int]) -> str:
    if sys.version_info[:2] <= newest:
        return sys.executable
    for minor in range(newest[1], 10, -1):
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            return found
    raise CannotInstall(f"needs Python {newest[0]}.{newest[1]} or older, and none is here")


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise CannotInstall(f"{' '.join(command[:6])} ... failed: {ended.stderr[-1000:]}")
