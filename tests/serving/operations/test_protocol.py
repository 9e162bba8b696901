"""What a connection does by itself, before there is a request for anybody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.serving.operations.limits import SHARED_STATE, Limits
from perfcast.serving.operations.metrics import Metrics
from perfcast.serving.operations.protocol import Connection
from perfcast.settings import Settings


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, _name: str) -> None:
        return None

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hi"})


class Scene:
    """A connection to a service with room for two requests, both of which are taken."""

    def __init__(self, **settings: Any) -> None:
        self.metrics = Metrics(models=list, ready=lambda: True)
        chosen = Settings(max_queue=2, **settings)
        limits = Limits(Lifecycle(lambda: True), chosen, self.metrics)
        self.state = ServerState()
        self._others: set[Any] = {1, 2}
        self.state.tasks.update(self._others)
        config = Config(greet, log_config=None)
        config.load()
        self.wire = Wire()
        self.connection = Connection(config, self.state, {SHARED_STATE: limits})
        self.connection.connection_made(cast("asyncio.Transport", self.wire))

    def made(self) -> list[Any]:
        """The tasks that were made for requests."""
        return list(self.state.tasks - self._others)

    def say(self, text: str) -> str:
        """What the connection answers at once to `text`."""
        self.wire.written = b""
        self.connection.data_received(text.encode())
        return self.wire.written.decode()


def request(path: str = "/v1/gemm/predict", *headers: str, body: str = "{}") -> str:
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines) + body


def run(check: Callable[[], Any]) -> None:
    async def inside() -> None:
        result = check()
        if result is not None:
            await result

    asyncio.run(inside())


def test_a_full_service_answers_before_there_is_a_task() -> None:
    def check() -> None:
        scene = Scene()
        said = scene.say(request("/v1/gemm/predict", "X-Request-Id: mine"))
        head, _, body = said.partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 503 Service Unavailable\r\n")
        assert "retry-after: 1" in head
        assert "x-request-id: mine" in head
        assert f"content-length: {len(body)}" in head
        assert json.loads(body)["error"]["type"] == "Overloaded"
        assert not scene.wire.closed
        assert scene.metrics.refused == {"Overloaded": 1}
        assert len(scene.state.tasks) == 2

    run(check)


def test_below_v2_in_its_form_and_without_ids_that_are_none() -> None:
    def check() -> None:
        said = Scene().say(request("/v2/models/gemm/infer", 'x-request-id: "'))
        assert isinstance(json.loads(said.partition("\r\n\r\n")[2])["error"], str)
        assert "x-request-id" not in said

    run(check)


def test_the_body_goes_nowhere_and_the_connection_goes_on() -> None:
    async def check() -> None:
        scene = Scene()
        whole = request(body="x" * 5_000)
        assert scene.say(whole[:300]).startswith("HTTP/1.1 503")
        assert scene.say(whole[300:]) == ""
        assert scene.connection.timeout_keep_alive_task is not None
        scene.state.tasks.clear()
        assert scene.say(request()) == ""
        await asyncio.gather(*scene.state.tasks)
        assert scene.wire.written.endswith(b"hi")

    run(check)


@pytest.mark.parametrize(
    ("path", "headers", "settings"),
    [
        ("/livez", (), {}),
        ("/metrics", (), {}),
        ("/", (), {}),
        ("/v1/gemm/predict", ("connection: close",), {}),
        ("/v1/gemm/predict", ("expect: 100-continue",), {}),
        ("/v1/gemm/predict", (), {"access_log": True}),
    ],
)
def test_the_others_are_left_to_the_gate(
    path: str, headers: tuple[str, ...], settings: dict[str, Any]
) -> None:
    async def check() -> None:
        scene = Scene(**settings)
        assert scene.say(request(path, *headers)) == ""
        assert len(scene.state.tasks) == 3
        await asyncio.gather(*scene.made())

    run(check)


def test_requests_whose_body_is_on_its_way_take_no_place() -> None:
    async def check() -> None:
        scene = Scene()
        scene.metrics.arriving = 1
        assert scene.say(request()) == ""
        await asyncio.gather(*scene.made())

    run(check)


def test_without_limits_it_is_uvicorns_own() -> None:
    async def check() -> None:
        config = Config(greet, log_config=None)
        config.load()
        wire, state = Wire(), ServerState()
        connection = Connection(config, state, {})
        connection.connection_made(cast("asyncio.Transport", wire))
        connection.data_received(request().encode())
        await asyncio.gather(*state.tasks)
        assert wire.written.endswith(b"hi")
        connection.shutdown()
        assert wire.closed

    run(check)
