"""The service on a Ray cluster: the same application, in as many replicas as you like.

    pip install 'perfcast[ray]'
    serve run perfcast.serving.ray:app replicas=4 cpus=1

`PERFCAST_*` variables of the process that deploys hold for every replica; only `host`, `port` and
`workers` do not, because Ray Serve's proxies listen (port 8000 of every node that has a replica).
The models directory must be at the same place on all nodes; the shipped models are.

What Ray adds is machines, replacement of lost replicas and changes without a gap. It does not add
speed: a request passes Serve's proxy on its way, which costs several milliseconds. On one machine
use `perfcast serve --workers N`.

A replica that dies takes the requests with it that it was answering. Their clients see the
connection closed, or 500 or 503; a prediction changes nothing, so asking again is safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from perfcast.errors import InvalidInput, MissingExtra, NotReady, Problem, nearest
from perfcast.serving.app import create_app
from perfcast.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application
    from starlette.types import ASGIApp

__all__ = ["Replica", "app", "service"]

_HEALTH_PERIOD_S = 5.0
_HEALTH_TIMEOUT_S = 10.0


def service(
    *, replicas: int = 1, cpus: float = 1.0, settings: Settings | None = None
) -> Application:
    """The whole service as a Ray Serve application (default settings: `PERFCAST_*` variables).

    Each of the `replicas` loads the models before it gets its first request, and reserves `cpus`
    CPUs of its node; it uses about one. At most `settings.max_queue` requests are with a replica at
    a time, as many times the number of replicas wait in each proxy, and what exceeds that is
    refused with 503. A replica that is to go first answers what it has, for up to
    `settings.shutdown_ms`. Raises `MissingExtra` without Ray.
    """
    try:
        from ray import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "ray") from error

    chosen = Settings.from_env() if settings is None else settings

    def build() -> ASGIApp:  # runs in the replica: an application cannot travel, settings can
        return create_app(chosen)

    deployment = serve.deployment(
        serve.ingress(build)(Replica),
        name="perfcast",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": cpus},
        max_ongoing_requests=chosen.max_queue,
        max_queued_requests=chosen.max_queue * replicas,
        graceful_shutdown_timeout_s=chosen.shutdown_ms / 1e3,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=_HEALTH_PERIOD_S,
        health_check_timeout_s=_HEALTH_TIMEOUT_S,
    )
    application: Application = deployment.bind()
    return application


def app(arguments: Mapping[str, Any]) -> Application:
    """`service` as `serve run` and Serve's configuration files ask for it.

    `arguments` may hold `replicas` and `cpus`. Raises `InvalidInput` for anything else.
    """
    known = {"replicas": _replicas, "cpus": _cpus}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in arguments.items():
        if name not in known:
            problems.append(Problem(name, f"unknown argument; {nearest(name, known)}"))
            continue
        try:
            values[name] = known[name](str(value))
        except ValueError as error:
            problems.append(Problem(name, f"{error}, not {value!r}"))
    if problems:
        raise InvalidInput(problems)
    return service(**values)


def _replicas(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and 1 <= int(text) <= 10_000):
        raise ValueError("must be a whole number from 1 to 10000")
    return int(text)


def _cpus(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1_024:
        raise ValueError("must be a number from 0 to 1024")
    return number


class Replica:
    """What Ray asks of a replica beside requests. Ray adds `app`, what `create_app` made."""

    app: ASGIApp

    async def check_health(self) -> None:
        """Raise `NotReady` unless the application says that it is ready; Ray then replaces it."""
        status = await _status(self.app, "/readyz")
        if status != 200:
            raise NotReady(f"/readyz answers {status}")


async def _status(asked: ASGIApp, path: str) -> int:
    """The status with which an application answers GET `path`, asked without a socket."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "client": None,
        "server": None,
    }
    await asked(scope, receive, send)
    return statuses[0]
