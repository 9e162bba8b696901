"""What becomes of requests when processes are told to stop, or are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import pytest

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


async def until(condition: object, seconds: float = 30.0) -> None:
    """Wait until `condition()` holds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.05)


async def ask_once(port: int, request: bytes) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await read_reply(reader)
    finally:
        writer.close()


async def stop_under_load(running: Service) -> tuple[Tally, list[Reply], list[Reply]]:
    """What busy, long and idle clients saw of a SIGTERM."""
    tally, never = Tally(), asyncio.Event()
    idle = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(4)]
    for reader, writer in idle:
        writer.write(PREDICT)
        assert (await read_reply(reader)).status == 200
    busy = [asyncio.create_task(hammer(running.port, PREDICT, tally, never)) for _ in range(8)]
    long = [asyncio.create_task(ask_once(running.port, recommend(900))) for _ in range(4)]
    await until(lambda: tally.statuses[200] > 100)
    await until(lambda: sum(running.metric("perfcast_requests_running").values()) >= 1)
    running.terminate()
    await asyncio.gather(*busy)
    await asyncio.sleep(0.5)  # a moment in which requests already under way are still accepted
    late = []
    for reader, writer in idle:
        writer.write(PREDICT)
        late.append(await read_reply(reader))
        assert await reader.read() == b""  # closed
        writer.close()
    return tally, await asyncio.gather(*long), late


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_under_load_loses_nothing(models_dir: Path, workers: int) -> None:
    with service(models_dir, workers=workers, drain_ms=8_000) as running:
        tally, long, late = asyncio.run(stop_under_load(running))
        status = running.wait()
    assert status in (0, -signal.SIGTERM)
    assert running.errors == ""
    assert tally.lost == 0
    assert set(tally.statuses) <= {200, 503}
    assert tally.refused + tally.cut >= 1  # nobody listens any more
    assert len(tally.bodies) == 1
    assert [reply.status for reply in long] == [200] * 4
    assert {reply.status for reply in late} == {503}
    for reply in late:
        assert reply.closes
        assert reply.error["message"] == "the service is shutting down"


def test_idle_connections_do_not_hold_up_the_end(models_dir: Path) -> None:
    async def scene(running: Service) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(PREDICT)
        assert (await read_reply(reader)).status == 200
        running.terminate()
        rest = await reader.read()
        writer.close()
        return rest

    with service(models_dir, drain_ms=100) as running:
        assert asyncio.run(scene(running)) == b""
        assert running.wait() in (0, -signal.SIGTERM)


def test_work_that_takes_too_long_is_told_so(models_dir: Path) -> None:
    async def scene(running: Service) -> list[Reply]:
        # a body that never ends is work that never does
        head = b"POST /v1/gemm/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(head)
        await until(lambda: running.metric("perfcast_waiting_bytes")[""] == 1)
        running.terminate()
        reply = await read_reply(reader)
        writer.close()
        return [reply]

    with service(models_dir, drain_ms=100, shutdown_ms=900) as running:
        (reply,) = asyncio.run(scene(running))
        running.wait()
    assert (reply.status, reply.closes) == (503, True)


def test_a_killed_worker_is_replaced(models_dir: Path) -> None:
    async def scene(running: Service) -> tuple[Tally, list[int], list[int]]:
        tally, stop = Tally(), asyncio.Event()
        before = running.workers()
        clients = [
            asyncio.create_task(hammer(running.port, PREDICT, tally, stop)) for _ in range(6)
        ]
        await until(lambda: tally.statuses[200] > 100)
        os.kill(before[0], signal.SIGKILL)
        after: list[int] = []

        def replaced() -> bool:
            after[:] = running.workers()
            return len(after) == 2 and before[0] not in after

        await until(replaced)
        seen = tally.statuses[200]
        await until(lambda: tally.statuses[200] > seen + 100)
        stop.set()
        await asyncio.gather(*clients)
        return tally, before, after

    with service(models_dir, workers=2) as running:
        tally, before, after = asyncio.run(scene(running))
        assert running.get("/readyz").status_code == 200
    assert set(tally.statuses) == {200}
    assert tally.lost + tally.cut <= 6  # what the dead worker was answering, one a client
    assert tally.refused == 0
    assert before[1] in after


def test_the_log_is_json_and_tells_the_end(models_dir: Path) -> None:
    with service(models_dir, log_level="info", access_log=True, drain_ms=1) as running:
        running.get("/v1/models?secret=1", headers={"x-request-id": "mine"})
        running.terminate()
        running.wait()
    lines = [json.loads(line) for line in running.errors.splitlines()]
    (access,) = [line for line in lines if line["logger"] == "perfcast.access"]
    assert (access["request_id"], access["path"], access["status"]) == ("mine", "/v1/models", 200)
    assert [line["event"] for line in lines].count("loaded gemm@standin") == 1
    assert str(models_dir) not in running.errors


def test_a_worker_that_cannot_start_ends_the_service(models_dir: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "gemm"
    bundle.mkdir()
    for path in (models_dir / "gemm").iterdir():
        if path.is_file():
            (bundle / path.name).write_bytes(path.read_bytes())
    (bundle / "model.onnx").write_bytes(b"damaged")
    with service(tmp_path, workers=2) as running:
        assert running.wait() == 1
    assert "a worker could not start" in running.errors
    assert str(tmp_path) not in running.errors
