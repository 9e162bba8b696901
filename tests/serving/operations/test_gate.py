"""The gate lets good requests through unchanged, and refuses the others in the one error form."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from perfcast.errors import BundleError, UnknownTask
from perfcast.serving.operations.exchange import limit_time
from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.settings import Settings
from tests.serving.operations.asgi import Answer, Held, ask, echo, gate_before, scope_of

TOKEN, OTHER_TOKEN = "a-token-of-24-characters", "b-token-of-24-characters"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def told(app: Any, settings: Settings | None = None, *args: Any, **options: Any) -> Answer:
    """The answer to one request through a gate."""
    gate, metrics = gate_before(app, settings)
    answer = asyncio.run(ask(gate, *args, **options))
    assert (metrics.running, metrics.arriving, metrics.waiting_bytes) == (0, 0, 0)
    return answer


def test_a_request_passes_unchanged() -> None:
    answer = told(echo, None, "/v1/gemm/predict", {}, [b"one ", b"two"])
    assert (answer.status, answer.body) == (200, b"one two")
    assert set(answer.headers) == {"x-request-id"}


@pytest.mark.parametrize("given", ["a", "2f1e-77:x/y+z=@", "x" * 128])
def test_a_sane_request_id_is_kept(given: str) -> None:
    assert told(echo, None, "/", {"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ü", 'a"b', "a{b"])
def test_another_is_replaced(given: str) -> None:
    made = told(echo, None, "/", {"x-request-id": given}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{12}-1", made)


def test_refusals_carry_the_id_too() -> None:
    answer = told(echo, Settings(token=TOKEN), "/v1/models", {"x-request-id": "mine"})
    assert (answer.status, answer.headers["x-request-id"]) == (401, "mine")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        bearer(OTHER_TOKEN),
        bearer(TOKEN[:-1]),
        bearer(f"{TOKEN}x"),
        {"authorization": "Bearer \xff\xfe"},
    ],
)
def test_without_the_token_nothing_is_answered(headers: dict[str, str]) -> None:
    answer = told(echo, Settings(token=TOKEN, management_token=OTHER_TOKEN), "/v1/x", headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.error["type"] == "Unauthorized"
    assert TOKEN not in answer.body.decode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_with_the_token_everything_is(scheme: str) -> None:
    headers = {"authorization": f"{scheme} {TOKEN}"}
    assert told(echo, Settings(token=TOKEN), "/v1/x", headers).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/assets/a.js", "/docs", "/openapi.json", "/livez", "/readyz", "/healthz",
             "/v2/health/live", "/v2/health/ready", "/metrics"],
)  # fmt: skip
def test_what_is_the_same_for_all_needs_no_token(path: str) -> None:
    assert told(echo, Settings(token=TOKEN), path).status == 200


def test_metrics_can_be_closed() -> None:
    closed = Settings(token=TOKEN, metrics_open=False)
    assert told(echo, closed, "/metrics").status == 401
    assert told(echo, closed, "/metrics", bearer(TOKEN)).status == 200
    assert told(echo, Settings(metrics_open=False), "/metrics").status == 200


@pytest.mark.parametrize("path", ["/management", "/management/reload", "/v2/repository/index"])
def test_management_does_not_exist_without_its_token(path: str) -> None:
    assert told(echo, None, path).status == 404
    assert told(echo, Settings(token=TOKEN), path, bearer(TOKEN)).status == 404
    assert told(echo, Settings(token=TOKEN), path, bearer("")).status == 404


def test_management_has_a_token_of_its_own() -> None:
    settings = Settings(token=TOKEN, management_token=OTHER_TOKEN)
    assert told(echo, settings, "/management/x", bearer(OTHER_TOKEN)).status == 200
    assert told(echo, settings, "/management/x", bearer(TOKEN)).status == 401
    assert told(echo, settings, "/managementx", bearer(TOKEN)).status == 200


def test_errors_below_v2_have_the_protocols_form() -> None:
    answer = told(echo, Settings(token=TOKEN), "/v2/models/gemm/infer")
    assert answer.status == 401
    assert isinstance(answer.error, str)


def test_a_full_queue_refuses_without_reading() -> None:
    async def scene() -> None:
        held = Held()
        gate, metrics = gate_before(held, Settings(max_queue=2))
        first = [asyncio.create_task(ask(gate)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (held.entered, metrics.running) == (2, 2)
        refused = await ask(gate, stalls=True)
        assert (refused.status, refused.error["type"]) == (503, "Overloaded")
        assert refused.headers["retry-after"] == "1"
        assert held.entered == 2
        held.go.set()
        assert [answer.status for answer in await asyncio.gather(*first)] == [200, 200]
        assert (await ask(gate)).status == 200
        assert metrics.running == 0
        assert metrics.refused == {"Overloaded": 1}

    asyncio.run(scene())


def test_health_and_metrics_answer_when_the_queue_is_full() -> None:
    async def scene() -> None:
        held = Held()
        gate, _ = gate_before(held, Settings(max_queue=1))
        first = asyncio.create_task(ask(gate))
        await asyncio.sleep(0)
        health = asyncio.create_task(ask(gate, "/readyz"))
        assert (await ask(gate, "/metrics")).status == 200
        held.go.set()
        assert (await health).status == 200
        await first

    asyncio.run(scene())


def test_slow_clients_take_no_place() -> None:
    async def scene() -> None:
        gate, metrics = gate_before(echo, Settings(max_queue=1))
        slow = asyncio.create_task(ask(gate, parts=[b"a"], stalls=True))
        await asyncio.sleep(0)
        assert metrics.running == 0
        assert metrics.waiting_bytes == 1
        assert (await ask(gate)).status == 200
        slow.cancel()
        assert (await slow).status == 503  # a server that stops waiting

    asyncio.run(scene())


def test_held_bytes_are_bounded() -> None:
    async def scene() -> None:
        gate, metrics = gate_before(echo, Settings(max_queue_bytes=10))
        alone = await ask(gate, parts=[b"x" * 50])
        assert alone.status == 200
        slow = asyncio.create_task(ask(gate, parts=[b"x" * 6], stalls=True))
        await asyncio.sleep(0)
        refused = await ask(gate, parts=[b"x" * 3, b"x" * 3])
        assert (refused.status, refused.error["type"]) == (503, "Overloaded")
        assert refused.headers["connection"] == "close"
        assert metrics.waiting_bytes == 6
        slow.cancel()
        await slow
        assert metrics.waiting_bytes == 0

    asyncio.run(scene())


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    answer = told(echo, Settings(body_timeout_ms=20), parts=[b"a"], stalls=True)
    assert (answer.status, answer.error["type"]) == (408, "SlowRequest")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        (Settings(deadline_ms=20), {}),
        (Settings(), {"x-request-deadline-ms": "20"}),
        (Settings(deadline_ms=20), {"x-request-deadline-ms": "999999"}),
    ],
)
def test_an_answer_that_takes_too_long_is_not_waited_for(
    settings: Settings, headers: dict[str, str]
) -> None:
    async def scene() -> None:
        held = Held()
        gate, metrics = gate_before(held, settings)
        answer = await ask(gate, headers=headers)
        assert (answer.status, answer.error["type"]) == (504, "DeadlineExceeded")
        assert held.cancelled == 1
        assert metrics.running == 0

    asyncio.run(scene())


def test_work_that_cannot_be_stopped_does_not_keep_its_client_waiting() -> None:
    async def scene() -> None:
        finish = asyncio.Event()

        async def stubborn(_scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            try:
                await finish.wait()
            except asyncio.CancelledError:
                await finish.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"nobody hears this"})

        gate, metrics = gate_before(stubborn)
        said: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        scope = scope_of("/v1/x", {"content-length": "0", "x-request-deadline-ms": "10"})
        working = asyncio.create_task(gate(scope, receive, send))
        while len(said) < 2:
            await asyncio.sleep(0.005)
        assert said[0]["status"] == 504
        assert metrics.running == 1  # it still takes its place
        finish.set()
        await working
        assert len(said) == 2
        assert metrics.running == 0

    asyncio.run(scene())


@pytest.mark.parametrize("wanted", ["0", "-1", "1.5", "", "soon", "9" * 10, "٣"])
def test_a_deadline_is_a_number(wanted: str) -> None:
    answer = told(echo, None, "/v1/x", {"x-request-deadline-ms": wanted})
    assert answer.status == 422
    assert answer.error["problems"][0]["field"] == "x-request-deadline-ms"


def test_a_door_can_ask_for_less_time() -> None:
    async def hurried(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        limit_time(scope, 10)
        await asyncio.Event().wait()

    assert told(hurried).status == 504
    limit_time({"type": "http"}, 10)  # without a gate there is nothing to limit


def test_a_timer_ends_with_its_request() -> None:
    async def scene() -> None:
        gate, _ = gate_before(echo)
        assert (await ask(gate, headers={"x-request-deadline-ms": "10"})).status == 200
        await asyncio.sleep(0.03)  # nothing is left that could cancel this task

    asyncio.run(scene())


def test_the_rate_of_one_client_is_limited() -> None:
    async def scene() -> None:
        gate, metrics = gate_before(echo, Settings(rate_limit=2))
        statuses = [(await ask(gate)).status for _ in range(2)]
        refused = await ask(gate)
        assert statuses == [200, 200]
        assert (refused.status, refused.error["type"]) == (429, "RateLimited")
        assert refused.headers["retry-after"] == "1"
        assert (await ask(gate, "/livez")).status == 200
        assert metrics.refused == {"RateLimited": 1}

    asyncio.run(scene())


def test_guessing_tokens_counts_by_address() -> None:
    async def scene() -> None:
        gate, _ = gate_before(echo, Settings(rate_limit=2, token=TOKEN))
        guesses = [(await ask(gate, headers=bearer("wrong"))).status for _ in range(3)]
        assert guesses == [401, 401, 429]
        assert (await ask(gate, headers=bearer(TOKEN))).status == 200

    asyncio.run(scene())


def test_while_stopping_new_requests_are_refused_and_old_ones_finish() -> None:
    async def scene() -> None:
        held, lifecycle = Held(), Lifecycle(lambda: True)
        gate, _ = gate_before(held, lifecycle=lifecycle)
        accepted = asyncio.create_task(ask(gate))
        await asyncio.sleep(0)
        lifecycle.stop()
        while not lifecycle.refusing:
            await asyncio.sleep(0.02)
        refused = await ask(gate)
        assert (refused.status, refused.error["type"]) == (503, "NotReady")
        assert refused.headers["connection"] == "close"
        assert refused.headers["retry-after"] == "1"
        held.go.set()
        assert (await accepted).status == 200
        assert (await ask(gate, "/livez")).headers["connection"] == "close"

    asyncio.run(scene())


def test_what_was_sent_before_the_signal_is_still_answered() -> None:
    async def scene() -> None:
        lifecycle = Lifecycle(lambda: True)
        gate, _ = gate_before(echo, lifecycle=lifecycle)
        lifecycle.stop()
        answer = await ask(gate)
        assert (answer.status, answer.headers["connection"]) == (200, "close")

    asyncio.run(scene())


async def unknown(scope: Scope, receive: Receive, send: Send) -> None:
    raise UnknownTask("gem", ["gemm"])


async def damaged(scope: Scope, receive: Receive, send: Send) -> None:
    raise BundleError("/secret/folder is damaged")


async def buggy(scope: Scope, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("/secret/folder")


@pytest.mark.parametrize(("app", "status"), [(unknown, 404), (damaged, 500), (buggy, 500)])
def test_errors_that_a_door_leaves_are_answered(
    app: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answer = told(app)
    assert answer.status == status
    assert "secret" not in answer.body.decode()
    assert len(caplog.records) == (status == 500)


def test_what_is_not_http_is_closed() -> None:
    async def scene() -> None:
        said: list[Any] = []

        async def send(message: Any) -> None:
            said.append(message)

        async def receive() -> Any:
            raise AssertionError

        await gate_before(echo)[0]({"type": "websocket", "path": "/"}, receive, send)
        assert [message["type"] for message in said] == ["websocket.close"]

    asyncio.run(scene())


def test_requests_are_counted_by_route_and_status() -> None:
    async def scene() -> None:
        gate, metrics = gate_before(echo, Settings(token=TOKEN))
        for headers in ({}, bearer(TOKEN), bearer(TOKEN)):
            await ask(gate, "/v2/models/gemm/infer", headers)
        await ask(gate, "/v2/models/gemm/versions/1/infer", bearer(TOKEN))
        (counted,) = [row for row in metrics.snapshot()["requests"] if row[1] == "gemm"]
        assert counted[0] == "/v2/models/{model}/infer"
        assert sum(counted[2]) == 3
        assert counted[4] == [(200, 3)]
        assert metrics.refused == {"Unauthorized": 1}

    asyncio.run(scene())


def test_paths_that_nobody_knows_share_one_name() -> None:
    async def scene() -> None:
        gate, metrics = gate_before(echo)
        for number in range(3_000):
            await ask(gate, f"/{number}")
        assert [row[0] for row in metrics.snapshot()["requests"]] == ["other"]
        assert len(gate._places) < 2_000

    asyncio.run(scene())
