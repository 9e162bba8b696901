from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcast.predictors.campaign import Axes, Campaign
from perfcast.predictors.intervals import MIN_OFFSET
from perfcast.predictors.latency import site_folds
from perfcast.predictors.offsets import coarse_nodes, node_offsets, site_halves
from tests.predictors.campaigns import AXES, H100, H200, campaign, log_truth

axes = st.lists(st.integers(1, 2**24), min_size=2, max_size=90, unique=True).map(
    lambda nodes: np.array(sorted(nodes), dtype=np.float64)
)


@given(axes, st.integers(2, 40))
def test_coarse_nodes(nodes: NDArray[np.float64], count: int) -> None:
    found = coarse_nodes(nodes, count)
    assert found[0] == 0 and found[-1] == len(nodes) - 1, "ends included"
    assert (np.diff(found) > 0).all()
    assert 2 <= len(found) <= count
    # no node lies further from a coarse one than half a step, or the gap that is there anyway
    logs = np.log(nodes)
    step = (logs[-1] - logs[0]) / (count - 1)
    wanted = np.linspace(logs[0], logs[-1], count)
    nearest = np.abs(logs[found][:, None] - wanted).min(axis=1)
    largest_gap = np.diff(logs).max()
    assert (nearest <= max(step, largest_gap) / 2 + 1e-9).all()


def test_coarse_nodes_by_hand() -> None:
    nodes = np.exp2(np.arange(13))
    assert coarse_nodes(nodes, 5).tolist() == [0, 3, 6, 9, 12]
    assert coarse_nodes(nodes).tolist() == list(range(13)), "all, where there are few"


@pytest.fixture(scope="module")
def noisy() -> tuple[Campaign, NDArray[np.float64]]:
    """A campaign on 12 x 12 sites, and errors that small shapes have three times of."""
    sizes = np.round(2.0 ** np.linspace(6, 13, 12))
    axes = Axes(sizes, sizes, AXES.m)
    measured = campaign((H100, H200), axes)
    size = np.where(np.maximum.outer(sizes, sizes) < 1000, 0.06, 0.02)[None, :, :, None]
    error = size * np.random.default_rng(1).standard_normal(measured.values.shape)
    error[:, 3, 7] = np.nan
    return measured, error


def test_node_offsets(noisy: tuple[Campaign, NDArray[np.float64]]) -> None:
    measured, error = noisy
    log_floor, log_ratio = log_truth(measured.deployments, measured.axes), np.zeros(error.shape)
    coarse = np.array([0, 3, 7])
    grid, left_out, nodes = node_offsets(
        measured, log_floor, log_ratio, error, coarse=coarse, coverage=0.9, threads=1
    )
    assert grid.shape == (2, 12, 12, 3, 2)
    assert np.isfinite(grid).all() and (grid >= 0.5 * MIN_OFFSET).all()
    assert left_out.shape == (np.isfinite(error).sum(), 2)
    seen = error[tuple(nodes)]
    assert np.isfinite(seen).all()
    inside = (seen >= -left_out[:, 0]) & (seen <= left_out[:, 1])
    for g in range(2):
        assert inside[nodes[0] == g].mean() == pytest.approx(0.9, abs=0.035)
    width = grid.sum(axis=-1).mean(axis=(0, 3))
    assert width[:4, :4].mean() > 1.5 * width[8:, 8:].mean(), "wider where errors are larger"


def test_calibrated_for_the_thinned_table(noisy: tuple[Campaign, NDArray[np.float64]]) -> None:
    """Errors that peak between the coarse m are covered although no offset is stored there."""
    measured, error = noisy
    peaked = error.copy()
    peaked[..., 5] *= 4
    log_floor, log_ratio = log_truth(measured.deployments, measured.axes), np.zeros(error.shape)
    for coarse in (np.array([0, 7]), np.arange(len(measured.axes.m))):
        _, left_out, nodes = node_offsets(
            measured, log_floor, log_ratio, peaked, coarse=coarse, coverage=0.9, threads=1
        )
        seen = peaked[tuple(nodes)]
        inside = (seen >= -left_out[:, 0]) & (seen <= left_out[:, 1])
        for g in range(2):
            assert inside[nodes[0] == g].mean() == pytest.approx(0.9, abs=0.035)


def test_halves_and_quarters_tell_sites_apart_whatever_their_names() -> None:
    """Calibration must see sites of the row's own size: no split may follow a name's length."""
    sizes = np.unique(np.round(2 ** np.linspace(5, 16, 40)))
    axes = Axes(sizes, sizes, sizes)
    part = site_folds(axes, 4, salt="half")
    assert np.array_equal(site_halves(axes), part % 2)
    length = np.array([[len(f"{n:.0f}x{k:.0f}") for k in sizes] for n in sizes])
    for count in np.unique(length):
        share = np.bincount(part[length == count], minlength=4) / (length == count).sum()
        assert (share > 0.1).all(), count
