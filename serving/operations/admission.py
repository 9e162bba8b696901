"""Whether a request may come in, decided from its head: nothing of its body is read before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from perfcast.errors import (
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    PerfcastError,
    Problem,
    RateLimited,
    Unauthorized,
)
from perfcast.serving.operations.access import RateLimit, client_of, holds
from perfcast.serving.operations.exchange import Exchange
from perfcast.serving.operations.lifecycle import STOPPING, Lifecycle
from perfcast.serving.operations.metrics import Metrics
from perfcast.serving.operations.places import Kind
from perfcast.settings import Settings

__all__ = ["Admission"]

_NEEDED: Final = "this route needs a token: Authorization: Bearer"
_MOST_DIGITS: Final = 9


class Admission:
    """Asks in turn: is the service stopping, who is it, how often, and is there room?"""

    def __init__(self, *, settings: Settings, lifecycle: Lifecycle, metrics: Metrics) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._token = settings.token.encode()
        self._management_token = settings.management_token.encode()
        self._rate = RateLimit(settings.rate_limit) if settings.rate_limit else None

    def objection(
        self, scope: Scope, headers: Mapping[bytes, bytes], kind: Kind, exchange: Exchange
    ) -> PerfcastError | None:
        """Why the request is turned away, or None. Sets the time limit that it asks for."""
        if self._lifecycle.stopping:
            exchange.close_after()
        if kind is Kind.HEALTH:
            return None
        if kind is Kind.METRICS:
            public = self._settings.metrics_open or not self._token
            return None if public or holds(headers, self._token) else Unauthorized(_NEEDED)
        error: PerfcastError | None = None
        if self._lifecycle.stopping and self._lifecycle.refusing:
            error = NotReady(STOPPING)
        elif self._token or self._rate is not None or kind is Kind.MANAGEMENT:
            error = self._uninvited(scope, headers, kind)
        return error or self._no_room() or self._hurry(headers, exchange)

    def _uninvited(
        self, scope: Scope, headers: Mapping[bytes, bytes], kind: Kind
    ) -> PerfcastError | None:
        if kind is Kind.MANAGEMENT:
            if not self._management_token:
                return NotFound("Not Found")
            token = self._management_token
        else:
            token = b"" if kind is Kind.PUBLIC else self._token
        known = not token or holds(headers, token)
        if self._rate is not None:
            # whoever guesses tokens is counted by address
            client = kind.name if token and known else client_of((scope.get("client") or ("",))[0])
            wait_s = self._rate.wait_s(client)
            if wait_s:
                limit = self._settings.rate_limit
                return RateLimited(f"more than {limit} requests a second", wait_s)
        return None if known else Unauthorized(_NEEDED)

    def _no_room(self) -> PerfcastError | None:
        if self._metrics.running >= self._settings.max_queue:
            return Overloaded(f"{self._settings.max_queue} requests wait already")
        if self._metrics.waiting_bytes >= self._settings.max_queue_bytes:
            return Overloaded("too many bytes of requests wait already")
        return None

    def _hurry(self, headers: Mapping[bytes, bytes], exchange: Exchange) -> PerfcastError | None:
        wanted = headers.get(b"x-request-deadline-ms")
        if wanted is None:
            return None
        if not (wanted.isdigit() and len(wanted) <= _MOST_DIGITS and int(wanted)):
            reason = f"must be a whole number of milliseconds from 1 to {10**_MOST_DIGITS - 1}"
            return InvalidInput([Problem("x-request-deadline-ms", reason)])
        exchange.limit_time(min(int(wanted), self._settings.deadline_ms))
        return None
