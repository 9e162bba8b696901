"""Clients that do what they should not: each gets the right status, and takes nobody with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcast.serving.operations.protocol import MOST_HEAD_BYTES, MOST_HEADERS, MOST_PIECES
from tests.serving.operations.process import (
    PREDICT,
    Reply,
    Service,
    Tally,
    hammer,
    read_reply,
    recommend,
    service,
)

MIB = 2**20
HEAD = b"POST /v1/gemm/predict HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
TOKEN, MANAGEMENT = "inference-token-1234", "management-token-1234"


@pytest.fixture(scope="module")
def strict(models_dir: Path) -> Iterator[Service]:
    """A service with little patience and little room."""
    settings = {
        "header_timeout_ms": 400,
        "body_timeout_ms": 400,
        "max_body_bytes": MIB,
        "max_queue": 2,
        "drain_ms": 1,
    }
    with service(models_dir, **settings) as running:
        yield running
        running.terminate()
        running.wait()
        assert running.errors == ""  # whatever clients do is no line in the log


async def converse(port: int, *parts: bytes) -> tuple[Reply | None, bytes]:
    """The reply to `parts`, if any, and what else comes before the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        reply = await read_reply(reader)
        return reply, await asyncio.wait_for(reader.read(), 20) if reply.closes else b""
    except (OSError, asyncio.IncompleteReadError):
        return None, b""
    finally:
        writer.close()


def told(running: Service, *parts: bytes) -> Reply:
    reply, rest = asyncio.run(converse(running.port, *parts))
    assert reply is not None
    assert rest == b""
    return reply


def answers(running: Service) -> None:
    """It still does what it is for."""
    assert told(running, PREDICT).status == 200


@pytest.mark.parametrize("part", [b"", b"x", b"PO", HEAD, HEAD + b"x-a: "])
@pytest.mark.parametrize("again", [False, True])
def test_a_head_that_never_ends_is_not_waited_for(
    strict: Service, part: bytes, again: bool
) -> None:
    async def scene() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", strict.port)
        if again:
            writer.write(PREDICT)
            assert (await read_reply(reader)).status == 200
        writer.write(part or b"\r\n" * again)
        rest = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return rest

    rest = asyncio.run(scene())
    assert rest.startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))


@pytest.mark.parametrize(
    "head", [HEAD + b"content-length: 100\r\n\r\n{", CHUNKED, CHUNKED + b"1\r\n{\r\n"]
)
def test_a_body_that_never_ends_is_not_waited_for(strict: Service, head: bytes) -> None:
    reply = told(strict, head)
    assert (reply.status, reply.closes) == (408, True)
    assert reply.error["type"] == "SlowRequest"


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (HEAD + b"x: y\r\n" * MOST_HEADERS + b"\r\n", 431, "HeadTooLarge"),
        (HEAD + b"x: " + b"y" * MOST_HEAD_BYTES + b"\r\n\r\n", 431, "HeadTooLarge"),
        (HEAD + b"x: " + b"y" * 4 * MIB, 431, "HeadTooLarge"),
        (b"GET /" + b"y" * MIB + b" HTTP/1.1\r\n\r\n", 431, "HeadTooLarge"),
        (CHUNKED + b"1;" + b"e" * MIB + b"\r\n", 431, "HeadTooLarge"),
        (CHUNKED + b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * MIB, 431, "HeadTooLarge"),
        (CHUNKED + b"1\r\n \r\n" * (MOST_PIECES + 1), 413, "TooLarge"),
        (CHUNKED + b"%x\r\n" % (2 * MIB) + b" " * 2 * MIB + b"\r\n0\r\n\r\n", 413, "TooLarge"),
        (HEAD + b"content-length: 2000000\r\n\r\n" + b" " * 2_000_000, 413, "TooLarge"),
        (HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}", 400, "MalformedRequest"),
        (HEAD + b"content-length: -1\r\n\r\n", 400, "MalformedRequest"),
        (CHUNKED + b"zz\r\n", 400, "MalformedRequest"),
        (HEAD + b"bad header\r\n\r\n", 400, "MalformedRequest"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "MalformedRequest"),
        (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", 404, "NotFound"),
    ],
)
def test_floods_and_nonsense(strict: Service, head: bytes, status: int, kind: str) -> None:
    reply, rest = asyncio.run(converse(strict.port, head))
    if reply is not None:  # a client that is still sending may lose the reply to its own reset
        assert (reply.status, rest) == (status, b"")
        assert reply.error["type"] == kind
    elif len(head) < MOST_HEAD_BYTES:
        pytest.fail("no reply")
    if status in (400, 431):
        assert strict.metric("perfcast_refused_total")[f'{{reason="{kind}"}}'] >= 1
    answers(strict)


def test_whoever_is_refused_may_not_send_for_ever(strict: Service) -> None:
    async def scene() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", strict.port)
        writer.write(HEAD.replace(b"/v1/gemm/predict", b"/nowhere"))
        writer.write(b"content-length: 1000000000\r\n\r\n")
        sent = 0
        try:
            while sent < 200 * MIB:
                writer.write(b" " * MIB)
                sent += MIB
                await writer.drain()
        except OSError:
            return sent
        finally:
            writer.close()
            _ = reader
        return sent

    assert asyncio.run(scene()) < 200 * MIB
    answers(strict)


def test_more_clients_than_room(strict: Service) -> None:
    """32 clients want what 2 may have: memory stays, the rest is told to come back."""

    async def scene() -> tuple[Tally, float, float]:
        for _ in range(3):  # so that memory is what it is under load
            assert (await converse(strict.port, recommend(300)))[0] is not None
        before = await asyncio.to_thread(strict.resident_bytes)
        tally, stop = Tally(), asyncio.Event()
        clients = [
            asyncio.create_task(hammer(strict.port, recommend(300), tally, stop)) for _ in range(32)
        ]
        while tally.statuses[200] < 20 or tally.statuses[503] < 100:
            await asyncio.sleep(0.05)
            assert (await asyncio.to_thread(strict.get, "/readyz")).status_code == 200
        during = await asyncio.to_thread(strict.resident_bytes)
        stop.set()
        await asyncio.gather(*clients)
        return tally, before, during

    tally, before, during = asyncio.run(scene())
    assert set(tally.statuses) == {200, 503}
    assert tally.retry_after == {"1"}
    assert len(tally.bodies) == 1  # and it is the right answer
    assert tally.lost == tally.cut == tally.refused == 0
    assert during - before < 64 * MIB
    answers(strict)


@pytest.fixture(scope="module")
def guarded(models_dir: Path) -> Iterator[Service]:
    """A service that asks for tokens."""
    settings = {
        "token": TOKEN,
        "management_token": MANAGEMENT,
        "rate_limit": 50,
        "max_connections": 60,
        "access_log": True,
        "drain_ms": 1,
    }
    with service(models_dir, **settings) as running:
        yield running
        running.terminate()
        running.wait()
        assert TOKEN not in running.errors
        assert MANAGEMENT not in running.errors


def test_tokens_over_http(guarded: Service) -> None:
    question = {"rows": [{"gpu": "h200_sxm", "dtype": "fp8", "m": 1, "n": 2, "k": 3}]}
    refused = guarded.post("/v1/gemm/predict", json=question)
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "Unauthorized")
    assert "bearer" in refused.headers["www-authenticate"].lower()
    mine = {"authorization": f"Bearer {TOKEN}"}
    assert guarded.post("/v1/gemm/predict", json=question, headers=mine).status_code == 200
    for path in ("/livez", "/readyz", "/healthz", "/metrics", "/", "/docs", "/v2/health/ready"):
        assert guarded.get(path).status_code == 200
    assert isinstance(guarded.get("/v2/models/gemm").json()["error"], str)
    assert guarded.get("/v2/models/gemm", headers=mine).status_code == 200


def test_a_deadline_over_http(guarded: Service) -> None:
    request = recommend(900, authorization=f"Bearer {TOKEN}", x_request_deadline_ms="1")
    reply = told(guarded, request)
    assert (reply.status, reply.error["type"]) == (504, "DeadlineExceeded")


def test_one_client_cannot_take_it_all(guarded: Service) -> None:
    async def scene() -> Tally:
        tally, stop = Tally(), asyncio.Event()
        request = PREDICT.replace(b"host: x", f"authorization: Bearer {TOKEN}".encode())
        client = asyncio.create_task(hammer(guarded.port, request, tally, stop))
        while tally.statuses[429] < 10:
            await asyncio.sleep(0.01)
        stop.set()
        await client
        return tally

    tally = asyncio.run(scene())
    assert set(tally.statuses) == {200, 429}
    assert tally.retry_after == {"1"}


def test_more_connections_than_allowed(guarded: Service) -> None:
    async def scene() -> list[bytes]:
        opened = [await asyncio.open_connection("127.0.0.1", guarded.port) for _ in range(100)]
        reading = {asyncio.ensure_future(reader.read()) for reader, _ in opened}
        ended: set[asyncio.Future[bytes]] = set()
        while len(ended) < 40:
            done, reading = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            ended |= done
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*reading)
        return [each.result() for each in ended]

    for end in asyncio.run(scene()):
        assert end.startswith((b"HTTP/1.1 503", b"HTTP/1.1 408"))
        assert end.startswith(b"HTTP/1.1 408") or b"retry-after: 1\r\nconnection: close" in end
    assert guarded.metric("perfcast_refused_total")['{reason="Overloaded"}'] >= 1
