"""Shared fixtures: a stand-in bundle on disk, its predictor, and the service on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import perfcast
from perfcast.serving.predictor import GemmPredictor
from perfcast.settings import Settings
from tests.service import running
from tests.standin import write_standin

if TYPE_CHECKING:
    from tests.training.trained import Trained

MAX_BODY_BYTES, MAX_ROWS, MAX_CANDIDATES = 2**20, 2_000, 100_000


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles that holds the stand-in for gemm."""
    folder = tmp_path_factory.mktemp("models")
    write_standin(folder)
    return folder


@pytest.fixture(scope="session")
def gemm(models_dir: Path) -> GemmPredictor:
    return perfcast.load("gemm", models_dir=models_dir)


@pytest.fixture(scope="session")
def client(models_dir: Path) -> Iterator[httpx.Client]:
    """A client of the whole service, listening on a socket of this machine."""
    settings = Settings(
        models_dir=models_dir,
        max_body_bytes=MAX_BODY_BYTES,
        max_rows=MAX_ROWS,
        max_candidates=MAX_CANDIDATES,
    )
    with (
        running(settings) as address,
        httpx.Client(base_url=address, timeout=30) as opened,
    ):
        yield opened


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A real training on a tiny campaign; imports the packages of training on use."""
    from tests.training.trained import train_tiny

    return train_tiny(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def use_standin(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the command line at the stand-in."""
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(models_dir))
