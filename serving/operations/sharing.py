"""Workers show each other their counts, so that whichever is asked for metrics tells all of them.

Each writes its snapshot to a file of its own once a second, and before it tells anybody: a counter
that was told once is in a file where the others find it, and cannot go back. A worker that is
killed takes at most its last second with it.
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
        own = self._snapshot()
        alive, ended = [own], list[dict[str, Any]]()
        if self._folder is not None:
            self._write(self._folder, own)
            for path in sorted(self._folder.glob("*.json")):
                if path.name != self._own:
                    found = orjson.loads(path.read_bytes())
                    (alive if _runs(found["pid"]) else ended).append(found)
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
            self._write(self._folder, self._snapshot())

    async def _keep(self, folder: Path) -> None:
        while True:
            self._write(folder, self._snapshot())
            await asyncio.sleep(_EVERY_S)

    def _write(self, folder: Path, snapshot: dict[str, Any]) -> None:
        """Put `snapshot` in place whole; without room or folder the others see an older one."""
        aside = folder / f"{self._own}.new"
        with contextlib.suppress(OSError):
            aside.write_bytes(orjson.dumps(snapshot))
            aside.replace(folder / self._own)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
