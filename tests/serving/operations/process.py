"""The service as a process of its own, and clients that notice what becomes of each request."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

__all__ = [
    "PREDICT", "Reply", "Service", "Tally", "hammer", "post", "read_reply", "recommend", "service",
]  # fmt: skip

ROOT = Path(__file__).parent.parent.parent.parent
CODE = "from perfcast.cli import main; main()"


@dataclass
class Service:
    process: subprocess.Popen[str]
    port: int
    errors: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", timeout=30, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.address}{path}", timeout=30, **options)

    def metric(self, name: str) -> dict[str, float]:
        """Samples of one name: labels as written -> value."""
        found = {}
        for line in self.get("/metrics").text.splitlines():
            if line.startswith((f"{name} ", f"{name}{{")):
                sample, value = line.rsplit(" ", 1)
                found[sample.removeprefix(name)] = float(value)
        return found

    def workers(self) -> list[int]:
        """Process numbers of those that answer."""
        return [
            int(labels.split('"')[1]) for labels in self.metric("perfcast_worker_resident_bytes")
        ]

    def resident_bytes(self) -> float:
        return sum(self.metric("perfcast_worker_resident_bytes").values())

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit status, once the process has ended; `errors` is then what it wrote."""
        _, self.errors = self.process.communicate(timeout=60)
        return self.process.returncode


@contextmanager
def service(models_dir: Path, **settings: object) -> Iterator[Service]:
    """`perfcast serve` with `settings` as PERFCAST_* variables, until the block ends."""
    environ = {
        f"PERFCAST_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in {"models_dir": models_dir, "port": 0, **settings}.items()
    }
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CODE, "serve"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = int(line.split()[4].rsplit(":", 1)[1]) if "listening" in line else 0
        running = Service(process, port)
        yield running
        if process.poll() is None:
            running.terminate()
            running.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


def post(path: str, value: object, **headers: str) -> bytes:
    """A whole request."""
    body = json.dumps(value).encode()
    named = {"host": "x", "content-length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in named.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


PREDICT = post(
    "/v1/gemm/predict",
    {"rows": [{"gpu": "h200_sxm", "dtype": "fp8", "m": 64, "n": 4096, "k": 8192}]},
)


def recommend(shapes: int, **headers: str) -> bytes:
    """A request that takes a while: a thread's work, not the event loop's."""
    asked = [[size, 4096, 4096] for size in range(1, shapes + 1)]
    return post("/v1/gemm/recommend", {"shapes": asked, "limit": 1}, **headers)


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Raises `IncompleteReadError` if the connection ends before the reply does."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return Reply(int(status.split()[1]), headers, body)


@dataclass
class Tally:
    """What became of the requests of some clients."""

    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Sent on a connection that had answered before, and never answered."""
    cut: int = 0
    """Sent on a new connection that was reset: it never left the kernel's queue."""
    refused: int = 0
    """Connections that were refused."""
    bodies: set[bytes] = field(default_factory=set)
    retry_after: set[str | None] = field(default_factory=set)


async def hammer(port: int, request: bytes, tally: Tally, stop: asyncio.Event) -> None:
    """One client: asks again and again, reconnects when told to, ends when nobody listens."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            tally.refused += 1
            return
        answered = 0
        try:
            while not stop.is_set():
                writer.write(request)
                reply = await read_reply(reader)
                answered += 1
                tally.statuses[reply.status] += 1
                if reply.status == 200:
                    tally.bodies.add(reply.body)
                else:
                    tally.retry_after.add(reply.headers.get("retry-after"))
                if reply.closes:
                    break
        except (OSError, asyncio.IncompleteReadError):
            if answered:
                tally.lost += 1
            else:
                tally.cut += 1
        finally:
            writer.close()
