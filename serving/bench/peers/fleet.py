"""All servers at once: installed, started, stopped together."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from perfcast.serving.bench.peers.environments import CannotInstall, Environment, prepare
from perfcast.serving.bench.peers.peers import SERVERS, Server
from perfcast.serving.bench.peers.processes import CannotStart, free_port, running
from perfcast.serving.bench.peers.usage import Usage, usage

__all__ = ["Fleet", "started"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The servers that run, by name: their ports, their first processes, what they are made of.

    `absent` says why another does not run; `work` is a folder for files.
    """

    work: Path
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def usage(self) -> Usage | None:
        """What these servers, and others, have used of the processors until now."""
        return usage(self.processes.values())


@contextmanager
def started(model: Path, cache: Path, say: Callable[[str], None]) -> Iterator[Fleet]:
    """Every server that can be had, serving `model`, while the block runs.

    All run all the time, so that they can be measured in turn; one that is not asked does nothing.
    Raises `CannotStart` if perfcast itself does not start.
    """
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="perfcast-bench-")
        fleet = Fleet(Path(stack.enter_context(temporary)))
        for server in SERVERS:
            try:
                _start(server, fleet, stack, model, cache, say)
            except (CannotInstall, CannotStart) as error:
                if server.name == "perfcast":
                    raise
                fleet.absent[server.name] = str(error)
                say(f"{server.name}: left out: {error}")
        yield fleet


def _start(
    server: Server,
    fleet: Fleet,
    stack: ExitStack,
    model: Path,
    cache: Path,
    say: Callable[[str], None],
) -> None:
    if server.requirements:
        say(f"{server.name}: installing, unless it is there")
    environment = _environment(server, cache)
    versions = environment.versions(server.packages)
    say(f"{server.name}: starting")
    port = free_port()
    folder = fleet.work / server.name
    folder.mkdir()
    start = server.start(environment.python, port, folder)
    process = running(
        start.command,
        port=port,
        ready=server.ready,
        environment={"BENCH_MODEL": str(model.resolve()), **start.environment},
        folder=folder,
    )
    fleet.processes[server.name] = stack.enter_context(process)
    fleet.ports[server.name] = port
    fleet.versions[server.name] = versions


def _environment(server: Server, cache: Path) -> Environment:
    if not server.requirements:
        return Environment(Path(sys.executable))
    same = f"onnxruntime=={version('onnxruntime')}"
    return prepare(cache / server.name, (*server.requirements, same), server.newest_python)
