"""Whole values of n, k and m held out: which rows, that nothing of them is seen, what comes out."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from perfcast.errors import DataError
from perfcast.features.tasks import GEMM
from perfcast.training.between import HoldOut, answers, between_reports, every_third, hold_outs
from perfcast.training.dataset import DataSet
from perfcast.training.reading import read_data_set
from perfcast.training.report import Report
from tests.training.tiny_campaign import AXES, DEPLOYMENTS, OPTIONS, columns, write

ONE = DEPLOYMENTS[0]  # not measured at one value of m


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("between") / "gemm.parquet", columns())


@pytest.fixture(scope="module")
def data(path: Path) -> DataSet:
    return read_data_set(path, task=GEMM)


@pytest.fixture(scope="module")
def held(data: DataSet) -> dict[str, HoldOut]:
    return {held.name: held for held in hold_outs(data)}


@pytest.fixture(scope="module")
def reports(path: Path) -> dict[str, Report]:
    return between_reports(path, gpus=["h100_sxm"], options=OPTIONS)


def test_every_third() -> None:
    assert every_third(np.arange(10, 20)).tolist() == [12, 15, 18]
    assert every_third(np.array([9, 9, 1, 5, 3, 7])).tolist() == [5]
    assert every_third(np.array([1, 2, 4, 8, 16, 32])).tolist() == [4], "never the last"
    assert every_third(np.array([1, 2, 4])).tolist() == []


def test_both_sides_of_a_tile_edge_are_one() -> None:
    m = np.array([16, 32, 33, 64, 65, 128, 129, 256, 257, 512])
    assert every_third(m, edges=True).tolist() == [64, 65]
    assert every_third(m).tolist() == [33, 128, 257]


def test_values_between_nodes(data: DataSet, held: dict[str, HoldOut]) -> None:
    assert list(held) == ["n", "k", "m", "n_k_m", "m_above_1", "m_above_2", "m_below_1"]
    for name, values in {"n": [1024, 5632], "k": [1024, 5632], "m": [16, 1024]}.items():
        assert np.array_equal(held[name].dropped, np.isin(data[name], values))
        assert np.array_equal(held[name].asked, held[name].dropped)
    dropped = [held[name].dropped for name in "nkm"]
    assert np.array_equal(held["n_k_m"].dropped, np.any(dropped, axis=0))
    assert np.array_equal(held["n_k_m"].asked, np.all(dropped, axis=0))


def test_m_beyond_the_range_of_each_deployment(data: DataSet) -> None:
    mine = (data["gpu"] == ONE.gpu) & (data["m"] > 2048)
    held = {held.name: held.dropped for held in hold_outs(data.take(~mine))}
    rest = data.take(~mine)
    own = rest["gpu"] == ONE.gpu
    for name, below, others in (
        ("m_above_1", {2048}, {8192}),
        ("m_above_2", {1024, 2048}, {4096, 8192}),
        ("m_below_1", {1}, {1}),
    ):
        assert set(rest["m"][held[name] & own]) == below
        assert set(rest["m"][held[name] & ~own]) == others


def test_a_deployment_keeps_two_values_of_m(data: DataSet) -> None:
    small = data.take(np.isin(data["m"], [1, 2048, 4096, 8192]))
    held = {held.name: held.dropped for held in hold_outs(small)}
    assert set(small["m"][held["m_above_2"]]) == {4096, 8192}
    smaller = data.take(np.isin(data["m"], [1, 4096, 8192]))
    held = {held.name: held.dropped for held in hold_outs(smaller)}
    assert set(smaller["m"][held["m_above_1"]]) == {8192}
    assert "m_above_2" not in held, "only m = 1 would be left"


def test_what_was_held_out_is_not_seen(data: DataSet, held: dict[str, HoldOut]) -> None:
    """The answers are the same whatever was measured there."""
    own = data["gpu"] == ONE.gpu
    mine, dropped = data.take(own), held["n"].dropped[own]
    latency = np.where(dropped, 3.0, 1.0) * mine["latency_ms"]
    changed = dataclasses.replace(mine, numbers={**mine.numbers, "latency_ms": latency})
    first, second = (
        answers(rows.take(~dropped), rows.take(dropped), options=OPTIONS)
        for rows in (mine, changed)
    )
    assert first.low is not None and second.low is not None
    assert np.array_equal(first.value, second.value)
    assert np.array_equal(first.low, second.low)
    off = np.abs(first.value / mine["latency_ms"][dropped] - 1.0)
    assert np.median(off) < 0.02, "the surface is smooth"


def test_reports(reports: dict[str, Report]) -> None:
    """H100: the newest of its two versions, seven values of n and k, nine of m."""
    asked = {"n": 2 * 7 * 9, "k": 2 * 7 * 9, "m": 2 * 49, "n_k_m": 8}
    asked |= {"m_above_1": 49, "m_above_2": 2 * 49, "m_below_1": 49}
    assert {name: report.row().scores.rows for name, report in reports.items()} == asked
    for report in reports.values():
        scores = report.row({"gpu": "h100_sxm", "framework": "vllm"}).scores
        assert scores.answered == scores.rows
        assert scores.median_ape_percent is not None and scores.median_ape_percent < 8
        assert scores.median_width_percent is not None and scores.median_width_percent > 0.4
        assert "8 trees" in report.title
    bends = reports["m"].row().scores.median_ape_percent
    smooth = reports["k"].row().scores.median_ape_percent
    assert bends is not None and smooth is not None and smooth < bends


def test_the_factor_that_would_cover(reports: dict[str, Report]) -> None:
    """Above one exactly where too little was covered."""
    for report in reports.values():
        found = re.search(r"intervals x([0-9.]+) would cover 90 %", report.title)
        covered = report.row().scores.coverage_percent
        assert found is not None and covered is not None
        factor = float(found[1])
        if factor > 1.01:
            assert covered < 90
        if factor < 0.99:
            assert covered > 90 * (1 - 1 / report.row().scores.rows)


def test_too_small_a_grid(tmp_path: Path) -> None:
    axes = dataclasses.replace(AXES, n=AXES.n[:3], k=AXES.k[:3], m=AXES.m[:1])
    path = write(tmp_path / "gemm.parquet", columns(DEPLOYMENTS[:1], powered=(), axes=axes))
    with pytest.raises(DataError, match="nothing can be held out"):
        between_reports(path, gpus=["a100_sxm"], options=OPTIONS)


def test_a_gpu_that_was_not_measured(path: Path) -> None:
    with pytest.raises(DataError, match="no rows with gpu 'gb300'"):
        between_reports(path, gpus=["gb300"], options=OPTIONS)
