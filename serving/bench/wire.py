"""What the wire adds: one connection, distinct rows, all doors in turn in one run.

`python -m perfcast.serving.bench.wire` starts the service with the installed model and, beside it,
an empty FastAPI route on the same kind of server, and asks each over a plain socket:

- one row: the median time of an answer, against the empty route's;
- 10,000 rows: the median time, against the bare onnxruntime call on the same rows.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

import perfcast
from perfcast.serving.bench.questions import answered_questions
from perfcast.serving.oip.strings import write_strings

__all__ = ["Line", "main", "measure"]

_ROWS: Final = 10_000
_EMPTY: Final = """
import uvicorn
from fastapi import FastAPI
from perfcast.serving.listening import listen
app = FastAPI()
@app.get("/empty")
async def empty():
    return {}
with listen("127.0.0.1", 0) as listener:
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run([listener])
"""
_SERVICE: Final = "from perfcast.cli import main; main()"

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Median milliseconds of one kind of request, and of what it is compared with."""

    what: str
    against: str
    rows: int
    answer_ms: float
    against_ms: float

    def __str__(self) -> str:
        ratio = self.answer_ms / self.against_ms
        return (
            f"{self.rows:>6} rows  {self.what:<20}{self.answer_ms:9.3f} ms   "
            f"{self.against:<14}{self.against_ms:9.3f} ms   ratio {ratio:.2f}"
        )


class _Connection:
    """One persistent connection, without a client's own costs."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> float:
        """Milliseconds until the whole answer is there. Raises `ValueError` unless it is a 200."""
        start = time.perf_counter()
        self._socket.sendall(request)
        answer = self._socket.recv(2**20)
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(2**20)
        head, _, body = answer.partition(b"\r\n\r\n")
        left = int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]) - len(body)
        while left > 0:
            left -= len(self._socket.recv(2**20))
        took = time.perf_counter() - start
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(answer[:500].decode(errors="replace"))
        return took * 1e3


def _http(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def _binary(columns: Columns) -> bytes:
    tensors, data = [], []
    for name, values in columns.items():
        text = values.dtype == object
        data.append(write_strings(values.tolist()) if text else values.tobytes())
        described = {"binary_data_size": len(data[-1])}
        kind = "BYTES" if text else "INT64"
        tensors.append(
            {"name": name, "shape": [len(values)], "datatype": kind, "parameters": described}
        )
    head = orjson.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}})
    length = f"inference-header-content-length: {len(head)}\r\n"
    return _http("POST", "/v2/models/gemm/infer", b"".join((head, *data)), length)


def _tensors(columns: Columns) -> bytes:
    tensors = [
        {
            "name": name,
            "shape": [len(values)],
            "datatype": "BYTES" if values.dtype == object else "INT64",
            "data": values.tolist(),
        }
        for name, values in columns.items()
    ]
    return _http("POST", "/v2/models/gemm/infer", orjson.dumps({"inputs": tensors}))


def _columns(columns: Columns) -> bytes:
    lists = {name: values.tolist() for name, values in columns.items()}
    return _http("POST", "/v1/gemm/predict", orjson.dumps(lists))


def _rows(columns: Columns) -> bytes:
    lists = [values.tolist() for values in columns.values()]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    return _http("POST", "/v1/gemm/predict", orjson.dumps({"rows": rows}))


_FORMS: Final[Mapping[str, Callable[[Columns], bytes]]] = {
    "v2 binary": _binary,
    "v2 JSON": _tensors,
    "v1 columns": _columns,
    "v1 rows": _rows,
}


def measure(*, calls: int = 2_000, repeats: int = 15, seed: int = 0) -> list[Line]:
    """`calls` requests of one row and `repeats` of 10,000 in each form, all taking turns."""
    predictor = perfcast.load("gemm")
    rng = np.random.default_rng(seed)
    with ExitStack() as stack:
        empty = stack.enter_context(_connected(_EMPTY))
        service = stack.enter_context(_connected(_SERVICE, "serve", "--port", "0"))
        single = answered_questions(predictor, rng, calls)
        one = [{name: v[at : at + 1] for name, v in single.items()} for at in range(calls)]
        nothing = _http("GET", "/empty")
        times = _in_turn(
            [lambda _: empty.ask(nothing)]
            + [_asking(service, [form(row) for row in one]) for form in _FORMS.values()],
            calls,
        )
        lines = [
            Line(what=what, against="empty FastAPI", rows=1, answer_ms=ms, against_ms=times[0])
            for what, ms in zip(_FORMS, times[1:], strict=True)
        ]
        many = answered_questions(predictor, rng, 4 * _ROWS)
        parts = [
            {name: v[at : at + _ROWS] for name, v in many.items()}
            for at in range(0, 4 * _ROWS, _ROWS)
        ]

        def bare(at: int) -> float:
            start = time.perf_counter()
            predictor.session.run(parts[at % len(parts)])
            return (time.perf_counter() - start) * 1e3

        asked = [_asking(service, [form(part) for part in parts]) for form in _FORMS.values()]
        times = _in_turn([bare, *asked], repeats)
        lines += [
            Line(what=what, against="session.run", rows=_ROWS, answer_ms=ms, against_ms=times[0])
            for what, ms in zip(_FORMS, times[1:], strict=True)
        ]
    return lines


def _asking(connection: _Connection, requests: list[bytes]) -> Callable[[int], float]:
    return lambda at: connection.ask(requests[at % len(requests)])


def _in_turn(calls: list[Callable[[int], float]], repeats: int) -> list[float]:
    """The median of each call's times, after a tenth more to warm up."""
    times: list[list[float]] = [[] for _ in calls]
    for at in range(-repeats // 10, repeats):
        for call, found in zip(calls, times, strict=True):
            took = call(at)
            if at >= 0:
                found.append(took)
    return [statistics.median(found) for found in times]


@contextmanager
def _connected(program: str, *arguments: str) -> Iterator[_Connection]:
    """A connection to a program of this Python, which says where it listens in its first line."""
    command = [sys.executable, "-u", "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline().decode()
            address = next(word for word in said.split() if word.startswith("http://"))
            with closing(_Connection(address)) as connection:
                yield connection
        finally:
            process.terminate()
            process.wait(timeout=60)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=2_000, help="requests of one row")
    parser.add_argument("--repeats", type=int, default=15, help="requests of 10,000 rows")
    chosen = parser.parse_args(arguments)
    for line in measure(calls=chosen.calls, repeats=chosen.repeats):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
