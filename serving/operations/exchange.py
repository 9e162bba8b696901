"""One request on its way through the service: what has arrived, what was said, whose time is up."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from starlette.types import Message, Receive, Scope, Send

from perfcast.errors import DeadlineExceeded, Overloaded, PerfcastError, SlowRequest
from perfcast.serving.operations.metrics import Metrics
from perfcast.serving.operations.refusing import RETRY_AFTER, refuse

__all__ = ["CLOSE", "EXCHANGE", "Exchange", "limit_time"]

EXCHANGE: Final = "perfcast.exchange"
"""The key of an ASGI scope that holds its `Exchange`."""

CLOSE: Final = (b"connection", b"close")


class Exchange:
    """Stands between the server and the application for one request.

    Its time limits are kept by the `Gate`. Once one has passed, the client is told at once, and
    whatever the application still says goes nowhere.
    """

    __slots__ = (
        "_closing", "_max_bytes", "_metrics", "_path", "_receive", "_refusal", "_send", "_task",
        "_timer", "arrived", "began", "expired", "received", "request_id", "running", "started",
        "status", "suspected", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        path: str,
        request_id: bytes,
        began: float,
        metrics: Metrics,
        max_bytes: int,
    ) -> None:
        self._receive = receive
        self._send = send
        self._path = path
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._closing = False
        self._refusal: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.request_id = request_id
        self.began = began
        self.arrived = False
        """Whether the whole body is here."""
        self.suspected = False
        """Whether its body was found missing when it should have been here."""
        self.waiting = False
        self.running = False
        """Whether it counts against the bound on requests: slow clients do not."""
        self.received = 0
        self.started = False
        """Whether the answer has begun."""
        self.status = 0
        self.expired = False

    def wait(self) -> None:
        """A body is on its way."""
        self.waiting = True
        self._metrics.arriving += 1

    def complete(self) -> None:
        """Nothing more will arrive: the request takes its place among those that are answered."""
        self.arrived = True
        if self.waiting:
            self.waiting = False
            self._metrics.arriving -= 1
        if not self.running:
            self.running = True
            self._metrics.running += 1

    def close_after(self) -> None:
        """The connection ends with this answer."""
        self._closing = True

    def leave(self) -> None:
        """It is over: give up the place and the bytes."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
        if self.running:
            self._metrics.running -= 1
        if self.waiting:
            self._metrics.arriving -= 1
        self._metrics.waiting_bytes -= self.received

    async def receive(self) -> Message:
        """The next part of the body. Raises `Overloaded` if there is no room for it."""
        message = await self._receive()
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.received += size
            self._metrics.waiting_bytes += size
            # a request alone is welcome whatever its size: the doors bound that
            if self.received < self._metrics.waiting_bytes > self._max_bytes:
                self._closing = True
                raise Overloaded("too many bytes of requests wait already")
            if not message.get("more_body", False):
                self.complete()
        return message

    async def send(self, message: Message) -> None:
        """A part of the answer, with the request's id."""
        if self.expired:
            return
        if message["type"] == "http.response.start":
            self.started = True
            self.status = status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.request_id)]
            if status == 503:
                headers.append(RETRY_AFTER)
            if self._closing:
                headers.append(CLOSE)
            message = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(message)

    async def refuse(self, error: PerfcastError, *extra: tuple[bytes, bytes]) -> None:
        """Answer with `error` in place of the application, unless that has begun to answer."""
        if not self.started:
            self.started = True
            self.status = error.http_status
            headers = [(b"x-request-id", self.request_id), *extra]
            if error.http_status == 503:
                headers.append(RETRY_AFTER)
            if self._closing:
                headers.append(CLOSE)
            await refuse(self._send, self._path, error, headers)

    def belongs_to(self, task: asyncio.Task[Any] | None) -> None:
        """`task` answers the request."""
        self._task = task

    def limit_time(self, milliseconds: float) -> None:
        """Let the request expire so long after its start, if nothing else ends it before."""
        left = self.began + milliseconds / 1e3 - time.perf_counter()
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(left, 0.0), self._past_limit)

    def _past_limit(self) -> None:
        """The client has waited for as long as it would, whatever it was that took the time."""
        if not self.arrived:
            self._closing = True
        self.expire(DeadlineExceeded("no answer within the time allowed"))

    def run_out(self) -> None:
        """Expire, for whichever reason applies."""
        if self.arrived:
            self.expire(DeadlineExceeded("no answer within the time allowed"))
        else:
            self._closing = True  # what is left of the body may never come
            self.expire(SlowRequest("the body took too long to arrive"))

    def expire(self, error: PerfcastError) -> None:
        """Time is up: tell the client, and stop the work on it where it can be stopped."""
        if not self.expired and self._task is not None:
            self._refusal = asyncio.ensure_future(self.refuse(error))
            self.expired = True
            self._task.cancel()

    async def told(self) -> None:
        """Wait until the client of an expired request has its answer."""
        if self._refusal is not None:
            await self._refusal


def limit_time(scope: Scope, milliseconds: float) -> None:
    """Give the request of `scope` at most so long from its start; for doors whose protocol asks.

    Does nothing where no `Gate` stands in front.
    """
    exchange = scope.get(EXCHANGE)
    if isinstance(exchange, Exchange):
        exchange.limit_time(milliseconds)
