"""A bundle's own questions are asked where it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import perfcast
from perfcast.bundle import write_bundle
from perfcast.errors import BundleError
from tests.standin import latency_ms, standin_card, standin_model

INPUTS = {
    "gpu": ["l40s", "h200_sxm"],
    "dtype": ["fp8", "fp8"],
    "m": [8, 9],
    "n": [8, 9],
    "k": [8, 9],
}
OUTPUTS: dict[str, list[float | None]] = {
    "latency_ms": [
        latency_ms(gpu="l40s", dtype="fp8", m=8, n=8, k=8),
        latency_ms(gpu="h200_sxm", dtype="fp8", m=9, n=9, k=9),
    ],
    "power_w_status": [2, 0],
}


def load_with(folder: Path, test: Any) -> None:
    write_bundle(folder / "gemm", standin_model(), {**standin_card(), "self_test": test})
    perfcast.load("gemm", models_dir=folder)


def test_right_answers_pass(tmp_path: Path) -> None:
    load_with(tmp_path, {"inputs": INPUTS, "outputs": OUTPUTS})


def test_null_stands_for_withheld(tmp_path: Path) -> None:
    load_with(tmp_path, None)
    gemm = perfcast.load("gemm", models_dir=tmp_path)
    values = gemm.predict_columns(INPUTS)["power_w"].value.tolist()
    load_with(tmp_path, {"inputs": INPUTS, "outputs": {"power_w": [None, values[1]]}})
    with pytest.raises(BundleError, match="power_w differs"):
        load_with(tmp_path, {"inputs": INPUTS, "outputs": {"power_w": [values[1], values[1]]}})


@pytest.mark.parametrize(
    "outputs",
    [{"latency_ms": [1.0, 1.0]}, {"latency_ms": [1.0]}, {"speed": [1.0, 1.0]}],
)
def test_other_answers_are_refused(tmp_path: Path, outputs: dict[str, list[float]]) -> None:
    with pytest.raises(BundleError, match="differs from its self-test"):
        load_with(tmp_path, {"inputs": INPUTS, "outputs": outputs})


@pytest.mark.parametrize(
    "test",
    [
        {},
        [],
        {"inputs": INPUTS},
        {"inputs": {**INPUTS, "gpu": ["x", "y"]}, "outputs": OUTPUTS},
        {"inputs": INPUTS, "outputs": {"latency_ms": ["fast", "slow"]}},
    ],
)
def test_a_test_that_cannot_be_read_is_refused(tmp_path: Path, test: Any) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        load_with(tmp_path, test)
