"""The outermost part of the service: every request passes here, and almost none is held up.

What it adds to a request is a few microseconds (`tests/serving/operations` and the benchmarks say
how many): one pass over the headers, two thin functions around receive and send, and a few sums.
Time limits cost nothing until they pass: one timer looks at everything under way now and then.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import secrets
import time
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from perfcast.errors import (
    MethodNotAllowed,
    NotReady,
    PerfcastError,
    RateLimited,
    Unauthorized,
)
from perfcast.serving.operations.admission import Admission
from perfcast.serving.operations.exchange import EXCHANGE, Exchange
from perfcast.serving.operations.lifecycle import STOPPING, Lifecycle
from perfcast.serving.operations.limits import SHARED_STATE, Limits
from perfcast.serving.operations.logs import REQUEST_ID, log_request
from perfcast.serving.operations.metrics import Metrics, Series
from perfcast.serving.operations.places import OTHER, Kind, kind_of, route_of
from perfcast.serving.operations.refusing import SANE_ID
from perfcast.serving.operations.sharing import Shared
from perfcast.settings import Settings

__all__ = ["Gate"]

_MOST_PATHS: Final = 1_024
_CHALLENGE = (b"www-authenticate", b'Bearer realm="perfcast"')
_READING: Final = ("GET", "HEAD")
_TICK_S: Final = 0.25

_log = logging.getLogger("perfcast")


class _Place:
    """A path that was asked for: what it is, and where its requests are counted once known."""

    __slots__ = ("kind", "series")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.series: Series | None = None


class Gate:
    """Lets a request through to `app`, or says why not."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        lifecycle: Lifecycle,
        metrics: Metrics,
        shared: Shared,
    ) -> None:
        self._app = app
        self._settings = settings
        self.lifecycle = lifecycle
        self._metrics = metrics
        self._shared = shared
        self._admission = Admission(settings=settings, lifecycle=lifecycle, metrics=metrics)
        self._body_timeout_s = settings.body_timeout_ms / 1e3
        self._deadline_s = settings.deadline_ms / 1e3
        self._soonest_s = min(self._body_timeout_s, self._deadline_s)
        self._places: dict[str, _Place] = {}
        self._other = metrics.series(OTHER, "")
        self._under_way: dict[Exchange, None] = {}
        self._looking = False
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        began = time.perf_counter()
        path: str = scope["path"]
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        if given is None or not SANE_ID.fullmatch(given):
            given = b"%s-%x" % (self._prefix.encode(), next(self._numbers))
        REQUEST_ID.set(given.decode())
        place = self._places.get(path) or self._new_place(path)
        exchange = Exchange(
            receive,
            send,
            path=path,
            request_id=given,
            began=began,
            metrics=self._metrics,
            max_bytes=self._settings.max_queue_bytes,
        )
        error = self._admission.objection(scope, headers, place.kind, exchange)
        if error is not None:
            await self._turn_away(scope, exchange, error)
            return
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            exchange.complete()
        else:
            exchange.wait()
        exchange.belongs_to(asyncio.current_task())
        scope[EXCHANGE] = exchange
        self._under_way[exchange] = None
        if not self._looking:
            self._look_later()
        try:
            if place.kind is Kind.METRICS:
                await self._tell(scope["method"], headers, exchange)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            await self._cancelled(exchange)
        except Exception as raised:
            await self._broken(exchange, raised)
        finally:
            del self._under_way[exchange]
            exchange.leave()
            if exchange.expired:
                await exchange.told()
            self._finished(scope, exchange, place)

    def _new_place(self, path: str) -> _Place:
        place = _Place(kind_of(path))
        if len(self._places) < _MOST_PATHS:
            self._places[path] = place
        return place

    async def _turn_away(self, scope: Scope, exchange: Exchange, error: PerfcastError) -> None:
        self._metrics.refuse(type(error).__name__)
        exchange.leave()
        if isinstance(error, Unauthorized):
            await exchange.refuse(error, _CHALLENGE)
        elif isinstance(error, RateLimited):
            await exchange.refuse(error, (b"retry-after", b"%d" % math.ceil(error.wait_s)))
        else:
            await exchange.refuse(error)
        if self._settings.access_log:
            self._log(scope, exchange)

    async def _cancelled(self, exchange: Exchange) -> None:
        """The work was stopped: by `Exchange.expire`, or by a server that waits no longer."""
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        if not exchange.expired:
            exchange.close_after()
            await exchange.refuse(NotReady(STOPPING))

    async def _broken(self, exchange: Exchange, error: Exception) -> None:
        """A door that leaves its errors to others, or has one that nobody thought of."""
        if isinstance(error, PerfcastError) and error.http_status != 500:
            await exchange.refuse(error)
            return
        if not exchange.started:  # else its own handler has told it already
            _log.error("%s", type(error).__name__, exc_info=error)
        await exchange.refuse(PerfcastError())

    def _finished(self, scope: Scope, exchange: Exchange, place: _Place) -> None:
        if not exchange.status:  # the client went away, or the server was told to stop
            return
        series = place.series
        if series is None:
            series = self._metrics.series(*route_of(scope))
            if series is not self._other:
                place.series = series
        series.answered(exchange.status, time.perf_counter() - exchange.began)
        if self._settings.access_log:
            self._log(scope, exchange)

    def _log(self, scope: Scope, exchange: Exchange) -> None:
        log_request(
            method=scope["method"],
            path=scope["path"],
            status=exchange.status,
            milliseconds=(time.perf_counter() - exchange.began) * 1e3,
            received=exchange.received,
            client=(scope.get("client") or ("",))[0],
        )

    async def _tell(self, method: str, headers: Mapping[bytes, bytes], exchange: Exchange) -> None:
        """Answer with the metrics of all workers."""
        if method not in _READING:
            refusal = MethodNotAllowed(method, _READING)
            await exchange.refuse(refusal, (b"allow", ", ".join(_READING).encode()))
            return
        from perfcast.serving.operations.exposition import exposition  # nobody may ever ask

        accept = headers.get(b"accept", b"").decode("latin-1")
        body, content_type = exposition(*self._shared.collect(), accept)
        answer = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        await exchange.send({"type": "http.response.start", "status": 200, "headers": answer})
        await exchange.send({"type": "http.response.body", "body": body})

    def _look_later(self) -> None:
        self._looking = True
        wait_s = min(_TICK_S, self._soonest_s / 4)
        asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        """End whatever has taken too long. What began first stands first."""
        now = time.perf_counter()
        for exchange in list(self._under_way):
            age_s = now - exchange.began
            if age_s < self._soonest_s:
                break
            if exchange.arrived:
                if age_s >= self._deadline_s:
                    exchange.run_out()
            elif age_s >= self._body_timeout_s:
                # at the second look: after a stall its body may be here, only not yet read
                if exchange.suspected:
                    exchange.run_out()
                exchange.suspected = True
        self._looking = False
        if self._under_way:
            self._look_later()

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The start and the end of the service."""
        if scope["type"] != "lifespan":  # a WebSocket: nothing here speaks that
            await send({"type": "websocket.close", "code": 1000})
            return
        if "state" in scope:
            scope["state"][SHARED_STATE] = Limits(self.lifecycle, self._settings, self._metrics)
        with self.lifecycle.watching_signals():
            async with self._shared.keeping():
                await self._app(scope, receive, send)
