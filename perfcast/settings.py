"""Typed settings, read from the environment with the prefix PERFCAST_. Unknown keys are refused."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from perfcast.errors import InvalidInput, Problem, nearest

__all__ = ["Settings"]

_PREFIX = "PERFCAST_"
_BOUNDS = {"port": (0, 65_535), "rate_limit": (0, 10**6), "workers": (1, 256)}
"""Of whole numbers; every other one is positive."""
_MOST_SECONDS = 86_400
_LEVELS = ("debug", "info", "warning", "error")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,512}=*")  # what may follow "Bearer" in a header


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a process of perfcast behaves."""

    models_dir: Path = Path(str(files("perfcast.models")))
    """Folder of bundles, one folder per task."""
    reload_s: float = 5.0
    """Seconds between two looks at that folder for new models; 0 never looks again."""
    host: str = "127.0.0.1"
    """Address the service listens on."""
    port: int = 8000
    """Port the service listens on."""
    workers: int = 1
    """Processes that answer, all on one socket. Every limit below is for each of them."""
    max_rows: int = 100_000
    """Most rows one REST request may ask about."""
    max_body_bytes: int = 8 * 2**20
    """Largest REST request body."""
    max_candidates: int = 1_000_000
    """Most shape x GPU x framework x dtype combinations one recommendation may rank."""
    max_queue: int = 64
    """Most requests being answered or waiting for it; one more is refused with 503."""
    max_queue_bytes: int = 64 * 2**20
    """Most bytes of request bodies held at a time; a request beyond them is refused with 503."""
    max_connections: int = 4_096
    """Most open connections; one more is closed with 503."""
    deadline_ms: int = 60_000
    """Longest a request may take; then 504. Its header X-Request-Deadline-Ms may ask for less."""
    body_timeout_ms: int = 30_000
    """Longest the body of a request may take to arrive; then 408."""
    header_timeout_ms: int = 10_000
    """Longest the head of a request may take to arrive; then the connection is closed."""
    drain_ms: int = 1_000
    """After SIGTERM idle connections stay open this long, to be told 503 and not cut off."""
    shutdown_ms: int = 30_000
    """After SIGTERM accepted requests have this long to finish."""
    rate_limit: int = 0
    """Requests a second for each client, by token or else by address; 0 is no limit."""
    token: str = field(default="", repr=False)
    """What inference asks for as `Authorization: Bearer`; empty lets everybody in."""
    management_token: str = field(default="", repr=False)
    """The same for management, whose routes exist only if this is set."""
    metrics_open: bool = True
    """Whether /metrics answers without the token."""
    trusted_proxies: str = ""
    """Addresses, with commas, whose X-Forwarded-For is believed; * is everybody."""
    log_level: str = "warning"
    """Least level that is logged: debug, info, warning or error."""
    access_log: bool = False
    """Whether every request is a line in the log."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from `PERFCAST_*` variables (default: this process's environment).

        Raises `InvalidInput` for an unknown key or a value of the wrong type.
        """
        source = os.environ if environ is None else environ
        known = {f"{_PREFIX}{field.name.upper()}": field for field in dataclasses.fields(cls)}
        values: dict[str, Path | str | float | bool] = {}
        problems: list[Problem] = []
        for key, text in source.items():
            if not key.startswith(_PREFIX):
                continue
            if key not in known:
                problems.append(Problem(key, f"unknown setting; {nearest(key, known)}"))
                continue
            field = known[key]
            try:
                values[field.name] = _PARSERS[str(field.type)](field.name, text)
            except ValueError as error:
                problems.append(Problem(key, str(error)))
        if problems:
            raise InvalidInput(problems)
        return cls(**values)  # type: ignore[arg-type]


def _path(_name: str, text: str) -> Path:
    return Path(text)


def _whole(name: str, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"must be a whole number, not {text!r}") from None
    low, high = _BOUNDS.get(name, (1, 2**40))
    if not low <= number <= high:
        raise ValueError(f"must be from {low} to {high}, not {text}")
    return number


def _seconds(_name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None
    if not 0 <= number <= _MOST_SECONDS:  # which NaN is not
        raise ValueError(f"must be from 0 to {_MOST_SECONDS}, not {text}")
    return number


def _text(name: str, text: str) -> str:
    if name == "log_level" and text not in _LEVELS:
        raise ValueError(f"must be {', '.join(_LEVELS[:-1])} or {_LEVELS[-1]}, not {text!r}")
    if name.endswith("token") and text and not _TOKEN.fullmatch(text):
        # the value itself is a secret, also when it is a bad one
        raise ValueError("must be 16 to 512 letters, digits or . _ ~ + / - with = at the end")
    return text


def _flag(_name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"must be true or false, not {text!r}")
    return text == "true"


_PARSERS: dict[str, Callable[[str, str], Path | str | float | bool]] = {
    "Path": _path,
    "bool": _flag,
    "float": _seconds,
    "int": _whole,
    "str": _text,
}
