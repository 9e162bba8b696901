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

__all__ = ["Process", "Usage", "family", "parse_process", "processes", "usage"]

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process's parent, and the ticks that it and its ended children have used.

    `ended`: it has, and only its parent has not asked yet.
    """

    parent: int
    ticks: int
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor time used until `moment`: by each server, and by others.

    A server is named by the id of its first process and includes all that descend from it.
    """

    moment: float
    servers: Mapping[int, float]
    others: float

    def others_since(self, before: Usage) -> float:
        """How many processors others kept busy, on average."""
        return max(0.0, self.others - before.others) / (self.moment - before.moment)

    def server_since(self, before: Usage, server: int) -> float:
        """Seconds that `server` used."""
        return self.servers[server] - before.servers[server]


def usage(servers: Collection[int], proc: Path = _PROC) -> Usage | None:
    """What all processes have used so far: `servers`, and others but for this one.

    None where the system does not tell. What a virtual machine's host took away counts as others'.
    """
    if not (proc / "stat").exists():
        return None
    found = processes(proc)
    used = {server: family(server, found) for server in servers}
    own = {os.getpid()}.union(*used.values())
    others = sum(each.ticks for pid, each in found.items() if pid not in own)
    others += _stolen((proc / "stat").read_text())
    tick = os.sysconf("SC_CLK_TCK")
    seconds = {
        server: sum(found[pid].ticks for pid in pids) / tick for server, pids in used.items()
    }
    return Usage(time.monotonic(), seconds, others / tick)


def processes(proc: Path = _PROC) -> dict[int, Process]:
    """Every process by its id; empty where the system does not tell."""
    found = {}
    for folder in proc.iterdir() if proc.is_dir() else ():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(errors="replace")
            except OSError:  # it has just ended; its parent has its time
                continue
            found[int(folder.name)] = parse_process(text)
    return found


def family(root: int, among: Mapping[int, Process]) -> set[int]:
    """`root`, if it is `among` these, and all that descend from it."""
    found = {root} & among.keys()
    while True:
        more = {pid for pid, each in among.items() if each.parent in found} - found
        if not more:
            return found
        found |= more


def parse_process(text: str) -> Process:
    """What a process's `stat` says."""
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold spaces
    return Process(int(fields[1]), sum(map(int, fields[11:15])), fields[0] in "ZX")


def _stolen(text: str) -> int:
    fields = text.splitlines()[0].split()
    return int(fields[8]) if len(fields) > 8 else 0
