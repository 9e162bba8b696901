"""What every request meets first: a plain ASGI function that sends it where it belongs.

FastAPI routes, validates and documents; a question in the Open Inference Protocol needs none of
that and pays for all of it, so those paths go straight to their own application.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Front"]


class Front:
    """Sends requests below a prefix (such as "/v2") to its application, all else to `api`.

    Start and stop of the service go to `api` alone.
    """

    def __init__(self, api: ASGIApp, prefixes: Mapping[str, ASGIApp]) -> None:
        self._api = api
        self._prefixes = {prefix.removeprefix("/"): app for prefix, app in prefixes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._api
        if scope["type"] == "http":
            app = self._prefixes.get(scope["path"][1:].partition("/")[0], app)
        await app(scope, receive, send)
