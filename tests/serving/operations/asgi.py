"""Asks an ASGI application as a server would, without one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from perfcast.serving.operations.gate import Gate
from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.serving.operations.metrics import Metrics, Model
from perfcast.serving.operations.sharing import Shared
from perfcast.settings import Settings

__all__ = ["Answer", "Held", "ask", "echo", "gate_before", "scope_of"]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


def scope_of(path: str, headers: Mapping[str, str] | None = None) -> Scope:
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if path == "/metrics" else "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": pairs,
        "client": ("192.0.2.1", 4711),
        "server": ("127.0.0.1", 8000),
    }


async def ask(
    app: ASGIApp,
    path: str = "/v1/gemm/predict",
    headers: Mapping[str, str] | None = None,
    parts: Sequence[bytes] = (b"",),
    *,
    stalls: bool = False,
) -> Answer:
    """What `app` says to a body that comes in `parts`, the last of which, if it `stalls`, never."""
    waiting = list(parts)
    said: list[Message] = []

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting) or stalls}

    async def send(message: Message) -> None:
        said.append(message)

    length = {"content-length": str(sum(map(len, parts)))}
    await app(scope_of(path, {**length, **(headers or {})}), receive, send)
    start, *rest = said
    named = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], named, b"".join(part["body"] for part in rest))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message["body"]
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


class Held:
    """An application that answers when it is let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.entered = 0
        self.cancelled = 0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self.entered += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})


def gate_before(
    app: ASGIApp, settings: Settings | None = None, lifecycle: Lifecycle | None = None
) -> tuple[Gate, Metrics]:
    """A gate before `app`, and what it counts."""
    lifecycle = lifecycle or Lifecycle(lambda: True)
    metrics = Metrics(models=lambda: [Model("gemm", "1")], ready=lambda: True)
    gate = Gate(
        app,
        settings=settings or Settings(),
        lifecycle=lifecycle,
        metrics=metrics,
        shared=Shared(None, metrics.snapshot),
    )
    return gate, metrics
