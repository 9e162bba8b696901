"""Typed settings, read from the environment with the prefix PERFCAST_. Unknown keys are refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from perfcast.errors import InvalidInput, Problem, nearest

__all__ = ["Settings"]

_PREFIX = "PERFCAST_"
_BOUNDS = {"port": (0, 65_535)}  # of whole numbers; every other one is positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a process of perfcast behaves."""

    models_dir: Path = Path(str(files("perfcast.models")))
    """Folder of bundles, one folder per task."""
    host: str = "127.0.0.1"
    """Address the service listens on."""
    port: int = 8000
    """Port the service listens on."""
    max_rows: int = 100_000
    """Most rows one REST request may ask about."""
    max_body_bytes: int = 8 * 2**20
    """Largest REST request body."""
    max_candidates: int = 1_000_000
    """Most shape x GPU x framework x dtype combinations one recommendation may rank."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from `PERFCAST_*` variables (default: this process's environment).

        Raises `InvalidInput` for an unknown key or a value of the wrong type.
        """
        source = os.environ if environ is None else environ
        known = {f"{_PREFIX}{field.name.upper()}": field for field in dataclasses.fields(cls)}
        values: dict[str, Path | str | int] = {}
        problems: list[Problem] = []
        for key, text in source.items():
            if not key.startswith(_PREFIX):
                continue
            if key not in known:
                problems.append(Problem(key, f"unknown setting; {nearest(key, known)}"))
                continue
            field = known[key]
            kind = {"Path": Path, "int": int}.get(str(field.type), str)
            try:
                values[field.name] = kind(text)
            except ValueError:
                problems.append(Problem(key, f"must be a whole number, not {text!r}"))
                continue
            low, high = _BOUNDS.get(field.name, (1, 2**40))
            if kind is int and not low <= int(text) <= high:
                problems.append(Problem(key, f"must be from {low} to {high}, not {text}"))
        if problems:
            raise InvalidInput(problems)
        return cls(**values)  # type: ignore[arg-type]
