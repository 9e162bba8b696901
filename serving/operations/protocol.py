"""uvicorn's HTTP connections, bounded where uvicorn leaves them open.

An application sees a request once its head is whole, and nothing after its answer. Before, between
and after, a client could send headers without end, never finish one, or keep a connection for
nothing; and on shutdown uvicorn cuts idle connections in the very moment in which a client may be
using one again. All of that is decided here, with one timer per connection.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from perfcast.errors import (
    HeadTooLarge,
    MalformedRequest,
    Overloaded,
    PerfcastError,
    SlowRequest,
    TooLarge,
)
from perfcast.serving.operations.limits import SHARED_STATE, Limits
from perfcast.serving.operations.places import Kind, kind_of
from perfcast.serving.operations.refusing import SANE_ID, refusal_body

__all__ = ["MOST_HEADERS", "MOST_HEAD_BYTES", "MOST_PIECES", "Connection"]

MOST_HEAD_BYTES: Final = 64 * 1024
MOST_HEADERS: Final = 128
MOST_PIECES: Final = 65_536
"""Chunks of one body: each costs the same, however little is in it."""
_AGAIN_S: Final = 0.05
_DISCARDED_BODIES: Final = 4
"""A client that was refused early may still send so many of the largest bodies to nobody."""


_TURNED_AWAY: Final = cast(
    "RequestResponseCycle",
    SimpleNamespace(
        response_started=True,
        response_complete=True,
        keep_alive=True,
        message_event=SimpleNamespace(set=lambda: None),
    ),
)
"""Stands for a request that was answered before there was a task for it."""

_OVERLOADED_BODY: Final = tuple(
    refusal_body(Overloaded("as many requests wait as may; try again a little later"), path)
    for path in ("/v1", "/v2")
)
_OVERLOADED_HEAD: Final = tuple(
    STATUS_LINE[503]
    + b"content-type: application/json\r\ncontent-length: %d\r\nretry-after: 1\r\n" % len(body)
    for body in _OVERLOADED_BODY
)


class _FaultError(Exception):
    """Stops the parser; what is wrong has been noted."""


class Connection(HttpToolsProtocol):
    """One connection. Without `Limits` in the server's state it is uvicorn's own."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits: Limits | None = app_state.get(SHARED_STATE)
        self._timer: asyncio.TimerHandle | None = None
        self._since: float | None = None
        """When the client began what it has not finished: a message, or its first one."""
        self._in_head = False
        self._quiet = 0
        """Bytes since the parser last had something to show for them."""
        self._pieces = 0
        self._discarded = 0
        self._fault: PerfcastError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limits = self._limits
        if limits is None:
            return
        self._since = self.loop.time()
        if len(self.connections) > limits.settings.max_connections:
            self._end(Overloaded("too many connections"))
        elif limits.lifecycle.stopping:  # accepted just before the listening socket closed
            self._close_once_idle()
        else:
            self._look_later(limits)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._quiet += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._quiet > MOST_HEAD_BYTES:
            self._end(HeadTooLarge(f"more than {MOST_HEAD_BYTES} bytes of headers"))
        elif self._since is None and self._idle:
            # bytes that begin nothing; uvicorn has stopped its own timer because of them
            self._since = self.loop.time()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._since = self.loop.time()
        self._in_head = True

    def on_headers_complete(self) -> None:
        if len(self.headers) > MOST_HEADERS:
            self._stop(HeadTooLarge(f"more than {MOST_HEADERS} headers"))
        if self._quiet > MOST_HEAD_BYTES:  # the start of the body may be among them
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MOST_HEAD_BYTES:
                self._stop(HeadTooLarge(f"more than {MOST_HEAD_BYTES} bytes of headers"))
        self._in_head = False
        self._quiet = 0
        if self._limits is not None and self._overloaded(self._limits):
            self._turn_away(self._limits)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        self._pieces += 1
        if self._pieces > MOST_PIECES:
            self._stop(TooLarge(f"the body comes in more than {MOST_PIECES} pieces"))
        if self.cycle.response_complete and self._limits is not None:
            self._discarded += len(body)
            if self._discarded > _DISCARDED_BODIES * self._limits.settings.max_body_bytes:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._since = None
        self._quiet = self._pieces = self._discarded = 0
        super().on_message_complete()
        if self._latest is _TURNED_AWAY:  # uvicorn knows of no answer, and has no timer set
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers when the parser gives up, in the service's form."""
        self._end(self._fault or MalformedRequest(msg))

    def shutdown(self) -> None:
        """The server stops: finish what was accepted; what is idle may still be told 503."""
        if self._limits is None or not self._idle:
            super().shutdown()
        else:
            self._close_once_idle()

    @property
    def _latest(self) -> RequestResponseCycle | None:
        """The latest request whose head is whole; uvicorn declares that there always is one."""
        return self.cycle

    @property
    def _idle(self) -> bool:
        latest = self._latest
        return latest is None or latest.response_complete

    def _overloaded(self, limits: Limits) -> bool:
        """Whether the request whose head is whole has no chance to be let in.

        The gate would say so too, after a task was made and run for it: three times the work, which
        under overload is work taken from the requests that are accepted. Tasks are counted here
        because the gate has not yet seen those that were made in this turn of the event loop.
        """
        return (
            len(self.tasks) - limits.metrics.arriving >= limits.settings.max_queue
            and self._idle
            and not self.expect_100_continue
            and not limits.settings.access_log
            and self.parser.should_keep_alive()
            and kind_of(self.url.partition(b"?")[0].decode("latin-1")) is Kind.INFERENCE
        )

    def _turn_away(self, limits: Limits) -> None:
        """Answer 503 here and now; what comes of the body goes nowhere."""
        limits.metrics.refuse(Overloaded.__name__)
        protocol = self.url.startswith(b"/v2/")
        lines = [_OVERLOADED_HEAD[protocol]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in self.headers:
            if name == b"x-request-id" and SANE_ID.fullmatch(value):
                lines += (b"x-request-id: ", value, b"\r\n")
        lines += (b"\r\n", _OVERLOADED_BODY[protocol])
        self.transport.write(b"".join(lines))
        self.cycle = _TURNED_AWAY

    def _stop(self, error: PerfcastError) -> None:
        self._fault = error
        raise _FaultError

    def _end(self, error: PerfcastError) -> None:
        """Say why, if there is no other answer under way, and close."""
        if self._limits is not None:
            self._limits.metrics.refuse(type(error).__name__)
        latest = self._latest
        if latest is None or not latest.response_started or latest.response_complete:
            begun = latest is not None or self._in_head
            path = self.url.partition(b"?")[0].decode("latin-1") if begun else "/"
            body = refusal_body(error, path)
            lines = [
                STATUS_LINE[error.http_status],
                b"content-type: application/json\r\n",
                b"content-length: %d\r\n" % len(body),
                b"retry-after: 1\r\n" if error.http_status == 503 else b"",
                b"connection: close\r\n\r\n",
                body,
            ]
            self.transport.write(b"".join(lines))
        self.transport.close()

    def _close_once_idle(self) -> None:
        if self._limits is not None:
            self.loop.call_later(self._limits.settings.drain_ms / 1e3, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self._idle and not self.transport.is_closing():
            self.transport.close()

    def _look_later(self, limits: Limits) -> None:
        soonest_ms = min(limits.settings.header_timeout_ms, limits.settings.body_timeout_ms)
        self._timer = self.loop.call_later(soonest_ms / 2e3, self._look, limits)

    def _look(self, limits: Limits, suspected: float | None = None) -> None:
        """Close the connection if the client has kept it waiting for too long.

        Looked at twice: after a stall of this process, what the client sent long ago is still to be
        read, and timers come before reading.
        """
        if self.transport.is_closing():
            return
        if self._since is not None and self._idle:
            age_ms = (self.loop.time() - self._since) * 1e3
            head = self._in_head or self._latest is None
            settings = limits.settings
            if age_ms >= (settings.header_timeout_ms if head else settings.body_timeout_ms):
                if self._since == suspected:
                    self._end(SlowRequest("the request took too long to arrive"))
                else:
                    self._timer = self.loop.call_later(_AGAIN_S, self._look, limits, self._since)
                return
        self._look_later(limits)
