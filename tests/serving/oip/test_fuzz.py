"""The fuzzer finds nothing in the parser, and would find something if there were anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perfcast.errors import BundleError
from perfcast.serving.bench.fuzz_oip import cases, fuzz, main
from perfcast.serving.oip.model import Model
from perfcast.serving.predictor import GemmPredictor
from perfcast.settings import Settings


def test_nothing_is_found(gemm: GemmPredictor) -> None:
    found = fuzz(gemm, 4_000, seed=1, settings=Settings())
    assert found.crashes == []
    assert sum(found.statuses.values()) == 4_000
    assert set(found.statuses) == {200, 400, 413, 422}
    assert min(found.statuses[status] for status in (200, 400, 422)) > 200
    # most cases get past the JSON, and to many places behind it
    assert sum(n for kind, n in found.kinds.items() if "not valid JSON" in kind) < 2_000
    assert len(found.kinds) > 100


@pytest.mark.parametrize("error", [BundleError("x"), ZeroDivisionError("x")])
def test_what_is_there_is_found(
    gemm: GemmPredictor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    honest = Model.understand

    def faulty(self: Model, body: bytes, json_bytes: int) -> Any:
        if b"\xff\xff\xff\xff" in body:
            raise error
        return honest(self, body, json_bytes)

    monkeypatch.setattr(Model, "understand", faulty)
    found = fuzz(gemm, 500, settings=Settings())
    assert found.crashes
    assert all(b"\xff\xff\xff\xff" in case.body for case, _ in found.crashes)


def test_the_same_seed_breaks_the_same(gemm: GemmPredictor) -> None:
    names = gemm.session.output_names
    assert list(cases(gemm.task, names, 50, 3)) == list(cases(gemm.task, names, 50, 3))


def test_the_command(models_dir: Path) -> None:
    said: list[str] = []
    status = main(["--cases", "300", "--models-dir", str(models_dir)], said.append)
    assert status == 0
    assert "300 requests" in said[-1]
    assert "0 crashes" in said[-1]
