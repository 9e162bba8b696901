"""Keeps a registry in step with the models directory while the service runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from perfcast.serving.registry import Registry

__all__ = ["watching"]

_log = logging.getLogger("perfcast")


@contextlib.asynccontextmanager
async def watching(registry: Registry, every_s: float) -> AsyncIterator[None]:
    """Refresh `registry` every `every_s` seconds while the block runs; with 0, never.

    Looking and loading happen in a thread: requests are answered meanwhile. The directory is
    polled, since file systems that are shared or mounted into containers tell of no changes.
    """
    if not every_s:
        yield
        return
    task = asyncio.create_task(_watch(registry, every_s))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _watch(registry: Registry, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(registry.refresh)
        except Exception:  # what is loaded keeps answering, and the next look may succeed
            _log.exception("looking for new models failed")
