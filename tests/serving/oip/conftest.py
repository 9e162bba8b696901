"""The protocol's application over the stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcast.serving.oip.app import OpenInference
from perfcast.serving.registry import Registry
from perfcast.settings import Settings
from tests.conftest import MAX_BODY_BYTES, MAX_ROWS


@pytest.fixture(scope="session")
def app(models_dir: Path) -> OpenInference:
    registry = Registry()
    registry.load_all(models_dir)
    settings = Settings(models_dir=models_dir, max_body_bytes=MAX_BODY_BYTES, max_rows=MAX_ROWS)
    return OpenInference(registry, settings)
