"""What a process counts about its requests, in plain lists: about a microsecond a request.

prometheus_client's own counters lock, and in its multi-process mode write to a mapped file at every
step; here only the event loop counts, and `exposition` turns a snapshot into Prometheus' text when
somebody asks. A snapshot is JSON-ready, so that workers can show theirs to each other.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from perfcast.serving.tally import tallies

__all__ = ["BOUNDS_S", "Metrics", "Model", "Series", "resident_bytes"]

BOUNDS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper ends of the latency histogram's buckets; a last one holds the rest."""


class Model(NamedTuple):
    """A model that answers now."""

    task: str
    version: str


class Series:
    """Requests that one route answered."""

    __slots__ = ("counts", "route", "seconds", "statuses", "task")

    def __init__(self, route: str, task: str) -> None:
        self.route = route
        self.task = task
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0
        self.statuses: dict[int, int] = {}

    def answered(self, status: int, seconds: float) -> None:
        """One request that its route answered."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.seconds += seconds
        self.statuses[status] = self.statuses.get(status, 0) + 1


class Metrics:
    """The counts of one process. For one event loop."""

    def __init__(self, *, models: Callable[[], Iterable[Model]], ready: Callable[[], bool]) -> None:
        """`models` and `ready` are asked whenever a snapshot is taken."""
        self._models = models
        self._ready = ready
        self._series: dict[tuple[str, str], Series] = {}
        self._started = time.time()
        self.refused: dict[str, int] = {}
        """Requests turned away, by the name of the error they were told."""
        self.running = 0
        """Requests being answered."""
        self.arriving = 0
        """Requests whose body is on its way."""
        self.waiting_bytes = 0
        """Bytes of request bodies held for them."""

    def series(self, route: str, task: str) -> Series:
        """The counts of one route; `task` is empty for routes that belong to none."""
        series = self._series.get((route, task))
        if series is None:
            series = self._series[route, task] = Series(route, task)
        return series

    def refuse(self, reason: str) -> None:
        """One request turned away for `reason`, an error's name."""
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def snapshot(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "pid": os.getpid(),
            "started": self._started,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "resident_bytes": resident_bytes(),
            "ready": self._ready(),
            "running": self.running,
            "arriving": self.arriving,
            "waiting_bytes": self.waiting_bytes,
            "requests": [
                [each.route, each.task, each.counts, each.seconds, list(each.statuses.items())]
                for each in self._series.values()
                if each.statuses
            ],
            "refused": list(self.refused.items()),
            "rows": [[each.task, each.model, each.rows] for each in tallies()],
            "models": [list(model) for model in self._models()],
        }


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; elsewhere than on Linux the most it ever was."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # once a second, by workers
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
