"""A client that counts what becomes of every request, at a rate that does not wait for answers.

Closed loop (`saturate`): each connection asks again as soon as it is answered; tells capacity.
Open loop (`pace`): questions arrive at a rate, whatever the service does, and time counts from the
moment a question was due. A service that falls behind cannot hide it by being asked less.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

__all__ = ["Outcome", "pace", "saturate"]

_TICK_S = 0.001


@dataclass
class Outcome:
    """What became of the requests of one run."""

    seconds: float = 0.0
    milliseconds: dict[int, array[float]] = field(default_factory=dict)
    """Of each answer, by its status."""
    lost: int = 0
    """Sent and never answered."""
    unsent: int = 0
    """Due, but every connection was waiting for an answer until the end."""

    @property
    def answers(self) -> int:
        return sum(map(len, self.milliseconds.values()))

    def share(self, status: int) -> float:
        """Of all answers, those with `status`."""
        return len(self.milliseconds.get(status, ())) / max(self.answers, 1)

    def per_second(self, status: int = 200) -> float:
        return len(self.milliseconds.get(status, ())) / self.seconds

    def quantile_ms(self, quantile: float, status: int = 200) -> float:
        """NaN without any answer of that status."""
        found = self.milliseconds.get(status)
        return float(np.quantile(np.frombuffer(found), quantile)) if found else float("nan")

    def add(self, status: int, milliseconds: float) -> None:
        found = self.milliseconds.get(status)
        if found is None:
            found = self.milliseconds[status] = array("d")
        found.append(milliseconds)


async def saturate(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float
) -> Outcome:
    """Ask as fast as `connections` clients, each of which waits for its answer, can."""
    return await _run(port, requests, connections, seconds, rate=None)


async def pace(
    port: int, requests: Sequence[bytes], *, rate: float, connections: int, seconds: float
) -> Outcome:
    """Ask `rate` times a second over at most `connections` connections."""
    return await _run(port, requests, connections, seconds, rate=rate)


async def _run(
    port: int, requests: Sequence[bytes], connections: int, seconds: float, rate: float | None
) -> Outcome:
    client = _Client(port, requests)
    await client.open(connections)
    began = time.perf_counter()
    if rate is None:
        client.saturating = True
        for _ in range(connections):
            client.due(time.perf_counter())
        await asyncio.sleep(seconds)
        client.saturating = False
    else:
        asked = 0
        while (now := time.perf_counter() - began) < seconds:
            while asked < now * rate:
                client.due(began + asked / rate)
                asked += 1
            await asyncio.sleep(_TICK_S)
        for late in range(asked, int(seconds * rate)):
            client.due(began + late / rate)
    client.outcome.seconds = time.perf_counter() - began
    await client.finish()
    return client.outcome


class _Client:
    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self.outcome = Outcome()
        self.saturating = False
        self._port = port
        self._requests = itertools.cycle(requests)
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[float] = deque()
        self._over = False

    async def open(self, connections: int) -> None:
        for _ in range(connections):
            await self._open_one()

    async def _open_one(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)

    def due(self, when: float) -> None:
        """A question is due at `when`; it goes out now if a connection is free."""
        if self._idle:
            self._idle.pop().ask(next(self._requests), when)
        else:
            self._waiting.append(when)

    def free(self, connection: _Connection) -> None:
        self._all.add(connection)
        if self._waiting and not self._over:
            connection.ask(next(self._requests), self._waiting.popleft())
        elif self.saturating:
            connection.ask(next(self._requests), time.perf_counter())
        else:
            self._idle.append(connection)

    def closed(self, connection: _Connection, *, asked: bool) -> None:
        self.outcome.lost += asked
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._over:
            opening = asyncio.ensure_future(self._open_one())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def finish(self) -> None:
        """Wait for the answers that are under way, a while."""
        self.outcome.unsent = len(self._waiting)
        self._over = True
        for _ in range(1_000):
            if len(self._idle) >= len(self._all):
                break
            await asyncio.sleep(0.01)
        for connection in list(self._all):
            connection.close()
        await asyncio.sleep(0.05)


class _Connection(asyncio.Protocol):
    """One request at a time; reads no more of an answer than its status and its length."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._since: float | None = None
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._client.free(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self._client.closed(self, asked=self._since is not None)

    def ask(self, request: bytes, since: float) -> None:
        assert self._transport is not None
        self._since = since
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._read[:end]).lower()
        start = head.index(b"content-length: ") + 16
        length = int(head[start:].partition(b"\r\n")[0])
        if len(self._read) < end + 4 + length or self._since is None:
            return
        self._client.outcome.add(int(head[9:12]), (time.perf_counter() - self._since) * 1e3)
        self._since = None
        self._read.clear()
        if b"\r\nconnection: close" in head:
            self.close()
        else:
            self._client.free(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
