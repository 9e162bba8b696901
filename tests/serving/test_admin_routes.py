"""Management is not there without a token, and not open with one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from perfcast.serving.app import create_api, create_app
from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.serving.registry import Registry
from perfcast.settings import Settings
from tests.serving.lifespan import started
from tests.standin import write_standin

TOKEN = "management-token-0123456789"
RELOAD = "/v1/admin/reload"
KNOWN = {"authorization": f"Bearer {TOKEN}"}


def settings(models_dir: Path, *, management: str = TOKEN, token: str = "") -> Settings:
    return Settings(models_dir=models_dir, management_token=management, token=token, reload_s=0)


def post(app: ASGIApp, *headers: dict[str, str]) -> list[httpx.Response]:
    """The answers of a service that runs while a request with each of `headers` is sent."""

    async def talk() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with (
            started(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as client,
        ):
            return [await client.post(RELOAD, headers=each) for each in headers]

    return asyncio.run(talk())


def test_without_a_token_there_is_no_management(models_dir: Path) -> None:
    app = create_app(settings(models_dir, management="", token="inference-token-0123456789"))
    for response in post(app, KNOWN, {"authorization": "Bearer "}):
        assert response.status_code == 404


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN,
     "Bearer inference-token-0123456789"],
)  # fmt: skip
def test_only_the_management_token_opens_it(
    models_dir: Path, gated: bool, authorization: str | None
) -> None:
    chosen = settings(models_dir, token="inference-token-0123456789")
    registry = Registry()
    app: ASGIApp = (
        create_app(chosen)
        if gated
        else create_api(registry, chosen, Lifecycle(lambda: registry.ready))
    )
    headers = {} if authorization is None else {"authorization": authorization}
    refused, answered = post(app, headers, KNOWN)
    assert refused.status_code == 401
    assert refused.json()["error"]["type"] == "Unauthorized"
    assert TOKEN not in refused.text
    assert answered.status_code == 200


def test_a_reload_says_what_it_did(tmp_path: Path) -> None:
    write_standin(tmp_path, version="1", place="gemm/1")
    app = create_app(settings(tmp_path))

    async def talk() -> list[object]:
        transport = httpx.ASGITransport(app=app)
        told = []
        async with (
            started(app),
            httpx.AsyncClient(transport=transport, base_url="http://test", headers=KNOWN) as client,
        ):
            told.append((await client.post(RELOAD)).json())
            write_standin(tmp_path, version="2", place="gemm/1")
            write_standin(tmp_path, version="3", place="gemm/3").model_path.write_bytes(b"")
            told.append((await client.post(RELOAD)).json())
            told.append((await client.get("/v1/models/gemm")).json()["version"])
        return told

    assert asyncio.run(talk()) == [
        {"loaded": [], "removed": [], "refused": {}},
        {
            "loaded": ["gemm@2"],
            "removed": ["gemm@1"],
            "refused": {"gemm/3": "3: model.onnx does not match the hash in its card"},
        },
        "2",
    ]
