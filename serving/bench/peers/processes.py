"""Servers as processes: started, waited for, and stopped with everything they started."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from perfcast.serving.bench.peers.usage import family, processes

__all__ = ["CannotStart", "free_port", "running"]

_START_S = 90.0
_STOP_S = 15.0
_ORPHANS_S = 2.0


class CannotStart(Exception):
    """A server ended, or did not answer in time. Says what it printed last."""


def free_port() -> int:
    """A port on which nothing listens, for a server that cannot be handed a socket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str], *, port: int, ready: str, environment: Mapping[str, str], folder: Path
) -> Iterator[int]:
    """Run `command` in `folder` while the block runs, from when GET `ready` succeeds on `port`.

    Gives the id of its process. `environment` is added to this process's. Raises `CannotStart`.
    """
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + _START_S
            while not _answers(port, ready):
                if process.poll() is not None or time.monotonic() > deadline:
                    printed.seek(0)
                    said = printed.read()[-2000:].decode(errors="replace")
                    raise CannotStart(f"{' '.join(map(str, command))}\n{said}")
                time.sleep(0.1)
            yield process.pid
        finally:
            _stop(process)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, and make sure that it and its descendants have."""
    children = family(process.pid, processes()) - {process.pid}
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_STOP_S)
    process.kill()
    process.wait()
    for pid in _left(children):
        with contextlib.suppress(ProcessLookupError):  # it has just ended after all
            os.kill(pid, signal.SIGKILL)
    _left(children)


def _left(children: set[int]) -> set[int]:
    """Those of `children` that run on although they had time to end."""
    deadline = time.monotonic() + _ORPHANS_S
    while True:
        left = {pid for pid, each in processes().items() if pid in children and not each.ended}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)
