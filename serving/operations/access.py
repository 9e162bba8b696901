"""Who may ask: bearer tokens, compared in constant time, and how often: a bucket per client."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["RateLimit", "client_of", "holds"]

_MOST_CLIENTS: Final = 10_000


def holds(headers: Mapping[bytes, bytes], token: bytes) -> bool:
    """Whether the request carries `token`; the time it takes tells nothing about the token."""
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token)


def client_of(address: str) -> str:
    """Whom to count requests of `address` for: an IPv6 customer has a whole /64 of addresses."""
    if ":" not in address:
        return address
    head, gap, _ = address.partition("::")
    groups = head.split(":") if head else []
    if gap:
        groups += ["0"] * 4
    return ":".join(groups[:4])


class RateLimit:
    """So many requests a second for each client, and at most a second's worth at once.

    The clients seen least recently are forgotten beyond a fixed number, with a full bucket: memory
    is bounded, and forgetting favours the client.
    """

    def __init__(self, per_second: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, client: str) -> float:
        """0 if `client` may ask now, which counts; else the seconds until it may."""
        now = self._clock()
        left, since = self._buckets.pop(client, (float(self._per_second), now))
        left = min(float(self._per_second), left + (now - since) * self._per_second)
        allowed = left >= 1.0
        self._buckets[client] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - left) / self._per_second
