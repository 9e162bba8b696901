"""The service to measure, as a process, and the requests to measure it with."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

import perfcast
from perfcast.serving.bench.peers.processes import free_port, running
from perfcast.serving.bench.peers.requests import FORMS, http_bytes
from perfcast.serving.bench.questions import answered_questions

__all__ = ["DOORS", "Door", "Target", "run_client", "target"]

Door = Literal["json", "binary"]
DOORS: dict[Door, tuple[str, str]] = {
    "json": ("rows", "/v1/gemm/predict"),
    "binary": ("binary", "/v2/models/gemm/infer"),
}
_CODE = "from perfcast.cli import main; main()"
_QUESTIONS = 2_000
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running service and what to ask it: distinct one-row questions, over and over."""

    port: int
    pid: int
    requests: list[bytes]

    def resident_mib(self) -> float:
        """Memory in RAM of the service's processes."""
        pids = [self.pid, *_children(self.pid)]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def target(door: Door, *, workers: int = 1, models_dir: Path | None = None) -> Iterator[Target]:
    """`perfcast serve` with the settings of the environment, while the block runs."""
    predictor = perfcast.load("gemm", models_dir=models_dir)
    form, path = DOORS[door]
    port = free_port()
    columns = answered_questions(predictor, np.random.default_rng(0), _QUESTIONS)
    requests = [
        http_bytes(
            "POST", path, port, FORMS[form].write({k: v[at : at + 1] for k, v in columns.items()})
        )
        for at in range(_QUESTIONS)
    ]
    environment = {"PERFCAST_MODELS_DIR": str(models_dir)} if models_dir else {}
    command = [sys.executable, "-c", _CODE, "serve", "--port", str(port), "--workers", str(workers)]
    with running(
        command, port=port, ready="/readyz", environment=environment, folder=Path.cwd()
    ) as pid:
        yield Target(port=port, pid=pid, requests=requests)


def run_client(client: Coroutine[Any, Any, _T]) -> _T:
    """Run the load in this process, on the faster event loop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(client)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(client)


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]
