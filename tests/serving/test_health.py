"""Alive and ready are two things."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from perfcast.serving.app import create_app
from perfcast.settings import Settings
from tests.serving.lifespan import started


async def statuses(models_dir: Path, *, stop: bool) -> dict[str, int]:
    app = create_app(Settings(models_dir=models_dir))
    async with started(app):
        if stop:
            app.lifecycle.stop()
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return {
                path: (await client.get(path)).status_code
                for path in ("/livez", "/readyz", "/healthz")
            }


@pytest.mark.parametrize(
    ("models", "stop", "ready"), [(True, False, 200), (True, True, 503), (False, False, 503)]
)
def test_alive_and_ready(
    models_dir: Path, tmp_path: Path, models: bool, stop: bool, ready: int
) -> None:
    found = asyncio.run(statuses(models_dir if models else tmp_path, stop=stop))
    assert found == {"/livez": 200, "/readyz": ready, "/healthz": ready}
