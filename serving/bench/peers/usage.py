"""Who used the processors meanwhile: the server that is measured, and somebody else.

Figures of a busy machine mislead. What a server used of the processors misleads less: time that it
had to wait for one does not count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Usage", "parse_process", "usage"]

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor time used until `moment`: by each session, and by others."""

    moment: float
    sessions: Mapping[int, float]
    others: float

    def others_since(self, before: Usage) -> float:
        """How many processors others kept busy, on average."""
        return max(0.0, self.others - before.others) / (self.moment - before.moment)

    def session_since(self, before: Usage, session: int) -> float:
        """Seconds that the processes of `session` used."""
        return self.sessions[session] - before.sessions[session]


def usage(sessions: Collection[int], proc: Path = _PROC) -> Usage | None:
    """What all processes have used so far; those of `sessions` (ids) apart, this one not at all.

    None where the system does not tell. What a virtual machine's host took away counts as others'.
    """
    if not (proc / "stat").exists():
        return None
    ours = dict.fromkeys(sessions, 0)
    others = _stolen((proc / "stat").read_text())
    for folder in proc.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            session, used = parse_process((folder / "stat").read_text(errors="replace"))
        except OSError:  # it has just ended; its parent has its time
            continue
        if session in ours:
            ours[session] += used
        else:
            others += used
    tick = os.sysconf("SC_CLK_TCK")
    seconds = {session: used / tick for session, used in ours.items()}
    return Usage(time.monotonic(), seconds, others / tick)


def parse_process(text: str) -> tuple[int, int]:
    """Session and ticks used, with those of ended children, from a process's `stat`."""
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold spaces
    return int(fields[3]), sum(map(int, fields[11:15]))


def _stolen(text: str) -> int:
    fields = text.splitlines()[0].split()
    return int(fields[8]) if len(fields) > 8 else 0
