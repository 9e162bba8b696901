"""The load generator counts what becomes of each request; the commands run from start to end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from perfcast.serving.bench import overload, soak
from perfcast.serving.bench.load import Outcome, pace, saturate
from perfcast.serving.bench.target import run_client

ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def against(
    replies: list[bytes], client: Callable[[int], Awaitable[Outcome]], *, hangs_up: bool = False
) -> Outcome:
    """What `client` finds at a server that says `replies` in turn, the last one for ever."""

    async def scene() -> Outcome:
        left = list(replies)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    reply = left.pop(0) if len(left) > 1 else left[0]
                    writer.write(reply)
                    if hangs_up or b"connection: close" in reply:
                        break
            except (OSError, asyncio.IncompleteReadError):
                pass
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await client(server.sockets[0].getsockname()[1])

    return run_client(scene())


def reply(status: int, *headers: bytes) -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n" % status
    return head + b"".join(line + b"\r\n" for line in headers) + b"\r\nhi"


def test_every_answer_is_counted_by_its_status() -> None:
    outcome = against(
        [reply(503), reply(503), reply(200)],
        lambda port: saturate(port, [ASK], connections=2, seconds=0.1),
    )
    assert len(outcome.milliseconds[503]) == 2
    assert len(outcome.milliseconds[200]) > 2
    assert outcome.lost == 0
    assert outcome.share(503) == 2 / outcome.answers
    assert outcome.quantile_ms(0.5) > 0
    assert math.isnan(outcome.quantile_ms(0.5, 404))


def test_a_rate_is_kept() -> None:
    outcome = against(
        [reply(200)], lambda port: pace(port, [ASK], rate=500, connections=8, seconds=0.2)
    )
    assert outcome.answers + outcome.unsent == 100


def test_a_connection_that_is_closed_politely_loses_nothing() -> None:
    outcome = against(
        [reply(200, b"connection: close")],
        lambda port: pace(port, [ASK], rate=100, connections=2, seconds=0.2),
    )
    assert outcome.answers > 2
    assert outcome.lost == 0


def test_a_request_without_an_answer_is_lost() -> None:
    outcome = against(
        [b""],
        lambda port: pace(port, [ASK], rate=100, connections=2, seconds=0.1),
        hangs_up=True,
    )
    assert outcome.answers == 0
    assert outcome.lost > 1


def test_the_commands(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(models_dir)
    assert soak.main(["--minutes", "0.01", "--rate", "20", "--models-dir", folder]) == 0
    told = capsys.readouterr().out
    assert "memory grew by" in told
    assert "; 0 of" in told
    options = ["--seconds", "0.3", "--door", "binary", "--models-dir", folder]
    assert overload.main(options) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == [
        "capacity", "asked", "accepted", "refused", "memory",
    ]  # fmt: skip
