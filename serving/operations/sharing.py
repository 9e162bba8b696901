"""Workers show each other their counts, so that whichever is asked for metrics tells all of them.

Each writes its snapshot to a file of its own once a second, and before it tells anybody. What is
told comes from the files alone: a counter that was told once is in a file, and cannot go back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import orjson

__all__ = ["Shared", "Snapshots"]

_EVERY_S: Final = 1.0
Snapshots = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Of processes that run, and of those that have ended."""


class Shared:
    """The snapshots of all workers that know one folder; of this process alone without one."""

    def __init__(self, folder: Path | None, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._folder = folder
        self._snapshot = snapshot
        self._own = f"{os.getpid()}-{secrets.token_hex(4)}.json"  # process numbers are used again

    def collect(self) -> Snapshots:
        """Everybody's latest snapshots, this process's own included."""
        if self._folder is None:
            return [self._snapshot()], []
        self._write(self._folder)
        alive: list[dict[str, Any]] = []
        ended: list[dict[str, Any]] = []
        for path in sorted(self._folder.glob("*.json")):
            found = orjson.loads(path.read_bytes())
            (alive if path.name == self._own or _runs(found["pid"]) else ended).append(found)
        return alive, ended

    @contextlib.asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """While the block runs, the others see this process's counts, a second old at most."""
        if self._folder is None:
            yield
            return
        task = asyncio.create_task(self._keep(self._folder))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._write(self._folder)

    async def _keep(self, folder: Path) -> None:
        while True:
            self._write(folder)
            await asyncio.sleep(_EVERY_S)

    def _write(self, folder: Path) -> None:
        """Put the snapshot in place whole; without room or folder there is none this time."""
        aside = folder / f"{self._own}.new"
        with contextlib.suppress(OSError):
            aside.write_bytes(orjson.dumps(self._snapshot()))
            aside.replace(folder / self._own)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
