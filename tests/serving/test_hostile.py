"""Clients that mean harm, byte by byte: each is refused or cut off, and others are served.

What floods, slow clients and broken heads do is in `operations/test_faults.py`; here is the rest:
what bodies say of themselves, what hides in paths and queries, and what comes after a request.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfcast.features.tasks import GEMM
from tests.serving.operations.process import PREDICT, Service, service

MIB = 2**20
V1, V2 = "/v1/gemm/predict", "/v2/models/gemm/infer"
ROOM = 48 * MIB
"""How much more memory than before a service may have after all this: six of the largest bodies."""


@pytest.fixture(scope="module")
def running(models_dir: Path) -> Iterator[Service]:
    """A service with the limits it has by default, and less patience."""
    with service(models_dir, header_timeout_ms=1_500, body_timeout_ms=1_500, drain_ms=1) as found:
        for _ in range(3):
            assert say(found, PREDICT).startswith(b"HTTP/1.1 200")
        before = found.resident_bytes()
        yield found
        assert say(found, PREDICT).startswith(b"HTTP/1.1 200")
        assert found.resident_bytes() - before < ROOM
        assert found.process.poll() is None
        found.terminate()
        found.wait()
        assert found.errors == ""  # nothing that clients do is worth a line


def say(running: Service, *parts: bytes, answers: int = 1, half: bool = False) -> bytes:
    """What the service says to `parts`, until that is so many `answers` or the connection ends.

    `half`: the client closes its own side of the connection once everything is sent.
    """

    async def scene() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        said = b""
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            if half:
                writer.write_eof()
            while not whole(said, answers):
                more = await asyncio.wait_for(reader.read(65_536), 30)
                if not more:
                    break
                said += more
        except ConnectionError:
            pass  # a client that is still sending may lose the answer to its own reset
        finally:
            writer.close()
        return said

    return asyncio.run(scene())


def whole(said: bytes, answers: int) -> bool:
    """Whether `said` is so many answers, the last one with all its content."""
    head, gap, content = said.rpartition(b"\r\n\r\n")
    sizes = re.findall(rb"content-length: (\d+)", head)
    return bool(gap and sizes) and len(statuses(said)) >= answers and len(content) >= int(sizes[-1])


def statuses(said: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)]


def request(path: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def check(running: Service, said: bytes, *allowed: int) -> None:
    """One answer, of an `allowed` status and in the form of the door; and the service goes on."""
    (status,) = statuses(said)
    assert status in allowed, said[:500]
    error = json.loads(said.partition(b"\r\n\r\n")[2])["error"]
    assert error if isinstance(error, str) else error["message"]
    assert say(running, PREDICT).startswith(b"HTTP/1.1 200")


def tensors(rows: int, data: dict[str, object]) -> bytes:
    """A protocol request for `rows` rows, every tensor of which holds `data`."""
    described = [
        {
            "name": column.name,
            "shape": [rows],
            "datatype": "INT64" if column.kind == "integer" else "BYTES",
            **data,
        }
        for column in GEMM.inputs
        if column.required
    ]
    return json.dumps({"inputs": described}).encode()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Half a gigabyte of zeros in half a megabyte."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(512)) + packer.flush()


@pytest.mark.parametrize("path", [V1, V2])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb(running: Service, bomb: bytes, path: str, layers: int) -> None:
    body, encoding = (bomb, "gzip") if layers == 1 else (gzip.compress(bomb), "gzip, gzip")
    said = say(running, request(path, body, f"content-encoding: {encoding}"))
    check(running, said, 413 if path == V2 and layers == 1 else 422 if path == V1 else 400)


@pytest.mark.parametrize(("path", "refused"), [(V1, 422), (V2, 400)])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"rows":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" + b"[]," * 2_000_000 + b"[]]",
        b'{"rows": "' + b"x" * 7 * MIB + b'"}',
        b"9" * 4 * MIB,
        b'{"' + b"k" * 4 * MIB + b'": 1}',
    ],
    ids=lambda body: body[:9].decode() + str(len(body)),
)
def test_deep_and_wide_json(running: Service, path: str, refused: int, body: bytes) -> None:
    check(running, say(running, request(path, body)), refused, 413)


@pytest.mark.parametrize(
    ("rows", "data"),
    [
        (2**62, {"parameters": {"binary_data_size": 2**62}}),
        (2**62, {"data": [1]}),
        (100_000, {"parameters": {"binary_data_size": 800_000}}),
        (1, {"parameters": {"binary_data_size": 2**63}}),
        (1, {"parameters": {"binary_data_size": 8_000_000_000}}),
        (0, {"parameters": {"binary_data_size": 0}}),
    ],
)
def test_tensors_that_claim_more_than_comes(
    running: Service, rows: int, data: dict[str, object]
) -> None:
    body = tensors(rows, data)
    for length in (len(body), 0, len(body) - 1, 2**40):
        header = f"inference-header-content-length: {length}"
        check(running, say(running, request(V2, body + bytes(8), header)), 400, 413, 422)


LONG = "content-length: 5\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        LONG + LONG.replace("5", "6"),
        LONG + LONG,
        LONG + "transfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\n" + LONG,
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: gzip\r\n",
        "content-length: 5, 5\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 5\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length:\r\n",
        "transfer-encoding : chunked\r\n",
        "content-length: 5\n\n",
    ],
)
def test_lengths_that_contradict_each_other(running: Service, headers: str) -> None:
    """Refused, so that nobody in between can be of another opinion about where a request ends."""
    smuggled = b"GET /v1/tasks HTTP/1.1\r\nhost: x\r\n\r\n"
    head = f"POST {V1} HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode()
    said = say(running, head + b"0\r\n\r\n" + smuggled, answers=2)
    assert statuses(said)[:1] in ([400], [408], [413], [422])
    assert b'"title"' not in said, "what was hidden in a body was answered"
    assert say(running, PREDICT).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 1000, b"\r\n" * 500 + b"x", b"HTTP/1.1 200 OK\r\n\r\n", b"\xff" * 100_000, b"GET"],
)
def test_garbage_after_a_request(running: Service, garbage: bytes) -> None:
    """The connection ends; whether the answer that was due still comes depends on the moment."""
    found = statuses(say(running, PREDICT + garbage, answers=2))
    assert found in ([200], [400], [431], [200, 400], [200, 408], [200, 431])
    assert say(running, PREDICT).startswith(b"HTTP/1.1 200")


def test_many_requests_at_once_on_one_connection(running: Service) -> None:
    bad = request(V2, b"{")
    said = say(running, (PREDICT + bad) * 200, answers=400)
    assert statuses(said) == [200, 400] * 200


@pytest.mark.parametrize(
    "target",
    [
        "/v1/gemm\0/predict",
        "/v1/gemm%00/predict",
        "/v1/%ff%fe/predict",
        "/v1/models/%ff",
        "/v1/models/gemm%00",
        "/v2/models/%ff/infer",
        "/v2/models/gemm%00/infer",
        "/v2/models/%2e%2e/infer",
        "/v2/models/gemm/versions/%ff%00/infer",
        "/v2/%2f%2fx",
        "//v1/gemm/predict",
        "/v1/../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%00",
        "/%",
        "/%zz",
        "/v1/gemm/predict?version=%00",
        "/v1/gemm/predict?version=%ff%fe",
        "/v1/gemm/predict?version=" + "9" * 30_000,
        "/v1/gemm/predict?" + "&".join(f"a{i}=1" for i in range(5_000)),
        "/v1/gemm/predict?%ff=%00",
        "http://elsewhere/v1/nothing",
        "/\xff\xfe",
        "*",
        "",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_what_hides_in_paths_and_queries(running: Service, method: str, target: str) -> None:
    asked = request(target, b"{}", method=method).decode("utf-8").encode("latin-1")
    said = say(running, asked)
    assert statuses(said)[0] in (400, 404, 405, 422)
    assert b"root:" not in said
    assert say(running, PREDICT).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("path", "refused"), [(V1, 422), (V2, 400)])
@pytest.mark.parametrize(
    "text",
    [b"\\u0000", b"\\ud800", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\0", b"\\udfff\\ud800"],
)
@pytest.mark.parametrize(
    "body",
    [
        b'{"rows": [{"gpu": "@", "dtype": "fp8", "m": 1, "n": 1, "k": 1}]}',
        b'{"@": 1}',
        b'{"gpu": ["@"], "dtype": "fp8", "m": 1, "n": 1, "k": 1, "framework_version": "@"}',
        b'{"id": "@", "inputs": [{"name": "@", "shape": [1], "datatype": "@", "data": ["@"]}]}',
    ],
)
def test_strings_that_are_none(
    running: Service, path: str, refused: int, body: bytes, text: bytes
) -> None:
    said = say(running, request(path, body.replace(b"@", text)))
    assert statuses(said) == [refused] or (path == V2 and statuses(said) == [422]), said
    json.loads(said.partition(b"\r\n\r\n")[2])


PATHS = ("/", "/docs", "/livez", "/readyz", "/metrics", "/openapi.json", "/v1/models", "/v1/tasks",
         V1, "/v1/gemm/recommend", "/v2", "/v2/health/ready", V2, "/nowhere")  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "CONNECT"]
)
def test_methods_that_a_path_does_not_have(running: Service, path: str, method: str) -> None:
    tunnel = method == "CONNECT"  # then whatever follows is no request
    said = say(running, request(path, method=method) + PREDICT, answers=1 if tunnel else 2)
    found = statuses(said)
    if tunnel:
        assert found in ([400], [404], [405])
        return
    assert found[0] in ({200, 404, 405} if method == "HEAD" else {404, 405}), said[:300]
    assert found[1:] == [200]
    if found[0] == 405:
        assert re.search(rb"\r\nallow: (GET|POST|GET, HEAD|HEAD, GET)\r\n", said)
    if method == "HEAD":  # no content: the next answer follows at once
        assert re.search(rb"\r\n\r\nHTTP/1.1 200", said)


def test_nobody_can_be_made_to_speak_of_another_host(running: Service) -> None:
    for path in ("/v1/models/", "/v1/gemm/predict/", "/docs/", "/v2/models/gemm/"):
        said = say(running, request(path, method="GET").replace(b"host: x", b"host: evil.example"))
        assert statuses(said)[0] in (200, 404, 405)
        assert b"evil.example" not in said


@pytest.mark.parametrize("cut", [0, 1, 20, len(PREDICT) - 1, len(PREDICT)])
def test_half_closed_connections(running: Service, cut: int) -> None:
    """A client that has said all it will say, in the middle of a request or after it."""
    said = say(running, PREDICT[:cut], half=True)
    assert statuses(said) in ([], [200], [400], [408], [422])
    assert say(running, PREDICT).startswith(b"HTTP/1.1 200")


def test_slow_heads_and_bodies_are_cut_off_while_others_are_served(running: Service) -> None:
    """A byte now and then, for ever, from a hundred clients."""

    async def drip(start: bytes, data: bytes) -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(start)
        answer = asyncio.ensure_future(reader.read())
        for at in range(len(data)):
            if answer.done():
                break
            writer.write(data[at : at + 1])
            await asyncio.sleep(0.2)
        writer.close()
        assert answer.done(), "it would have waited for ever"
        return statuses(await answer)

    async def scene() -> list[list[int]]:
        head, gap, body = PREDICT.partition(b"\r\n\r\n")
        slow = [drip(b"", PREDICT) for _ in range(50)] + [drip(head + gap, body) for _ in range(50)]
        waiting = asyncio.gather(*slow)
        await asyncio.sleep(0.5)
        served = await asyncio.to_thread(say, running, PREDICT)
        assert served.startswith(b"HTTP/1.1 200")
        return await waiting

    assert {tuple(found) for found in asyncio.run(scene())} <= {(408,), ()}


@pytest.mark.parametrize("path", [V1, V2])
def test_ten_megabytes_of_head(running: Service, path: str) -> None:
    for flood in (b"x: " + b"y" * 10 * MIB, b"x: y\r\n" * 1_700_000, b"x" * 10 * MIB):
        said = say(running, f"POST {path} HTTP/1.1\r\nhost: x\r\n".encode() + flood)
        # a client that is still sending may lose the answer to its own reset
        assert statuses(said) in ([], [431], [400])
    assert say(running, PREDICT).startswith(b"HTTP/1.1 200")
