"""`perfcast models`: the list and the cards."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfcast.bundle import Bundle
from tests.cli.helpers import perfcast

pytestmark = pytest.mark.usefixtures("use_standin")


def test_the_list() -> None:
    done = perfcast("models")
    assert done.status == 0
    for word in ("gemm", "standin", "latency_ms", "median_error_percent: 1.0"):
        assert word in done.out


def test_the_list_as_json() -> None:
    (model,) = perfcast("models", "--json").json
    assert (model["name"], model["version"], model["coverage"]) == ("gemm", "standin", 0.9)


def test_a_card(models_dir: Path) -> None:
    assert perfcast("models", "gemm", "--json").json == Bundle.open(models_dir / "gemm").card
    assert "model_sha256" in perfcast("models", "gemm").out


def test_an_unknown_model() -> None:
    done = perfcast("models", "gem")
    assert (done.status, done.out) == (2, "")
    assert "did you mean 'gemm'" in done.err


def test_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(tmp_path))
    assert perfcast("models", "--json").json == []
    assert "no models in" in perfcast("models").out
