"""The front sends each request to the application that its path names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perfcast.serving.front import Front


@pytest.mark.parametrize(
    ("type_", "path", "where"),
    [
        ("http", "/v2", "protocol"),
        ("http", "/v2/models/gemm/infer", "protocol"),
        ("http", "/v22", "api"),
        ("http", "/", "api"),
        ("http", "//v2", "api"),
        ("http", "*", "api"),
        ("http", "/v1/v2", "api"),
        ("lifespan", "", "api"),
        ("websocket", "/v2", "api"),
    ],
)
def test_paths(type_: str, path: str, where: str) -> None:
    met: list[str] = []

    def app(name: str) -> Any:
        async def called(scope: Any, receive: Any, send: Any) -> None:
            met.append(name)

        return called

    front = Front(app("api"), {"/v2": app("protocol")})
    scope: dict[str, Any] = {"type": type_, **({"path": path} if path else {})}
    asyncio.run(front(scope, None, None))  # type: ignore[arg-type]
    assert met == [where]
