"""Starts and stops an ASGI application as a server does, without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp, Message

__all__ = ["started"]


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[None]:
    """`app` between its startup and its shutdown. Raises what its startup raised."""
    asked: asyncio.Queue[Message] = asyncio.Queue()
    told: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.ensure_future(app({"type": "lifespan"}, asked.get, told.put))
    for phase in ("startup", "shutdown"):
        await asked.put({"type": f"lifespan.{phase}"})
        answer = asyncio.ensure_future(told.get())
        await asyncio.wait({task, answer}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() or answer.result()["type"] != f"lifespan.{phase}.complete":
            answer.cancel()
            await task  # raises
        if phase == "startup":
            yield
    await task
