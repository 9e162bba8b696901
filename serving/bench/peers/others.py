"""How much of the machine somebody else used meanwhile: figures of a busy machine mislead."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "parse_process", "usage_of_others", "used_between"]

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds that other processes have used until some moment (both in seconds)."""

    moment: float
    used: float


def usage_of_others(sessions: Collection[int], proc: Path = _PROC) -> Usage | None:
    """What all processes have used so far but this one and those in `sessions` (session ids).

    None where the system does not tell. What a virtual machine's host took away counts too.
    """
    if not (proc / "stat").exists():
        return None
    ticks = _stolen((proc / "stat").read_text())
    for folder in proc.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            session, used = parse_process((folder / "stat").read_text(errors="replace"))
        except OSError:  # it has just ended; its parent has its time
            continue
        if session not in sessions:
            ticks += used
    return Usage(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"))


def used_between(before: Usage | None, after: Usage | None) -> float | None:
    """Processors that others kept busy, on average; None where the system does not tell."""
    if before is None or after is None:
        return None
    return max(0.0, after.used - before.used) / (after.moment - before.moment)


def parse_process(text: str) -> tuple[int, int]:
    """Session and ticks used, with those of ended children, from a process's `stat`."""
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold spaces
    return int(fields[3]), sum(map(int, fields[11:15]))


def _stolen(text: str) -> int:
    fields = text.splitlines()[0].split()
    return int(fields[8]) if len(fields) > 8 else 0
