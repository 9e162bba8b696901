from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.predictors.campaign import Axes, Campaign
from perfcast.predictors.latency import LatencyNodes, fit_latency, frontier_axis, site_folds
from perfcast.predictors.surface import fit_surface
from tests.predictors.campaigns import AXES, DEPLOYMENTS, SIZES, boosting, campaign, log_truth

WIDER = Axes(frontier_axis(SIZES), frontier_axis(SIZES), AXES.m)
TRUTH = log_truth(axes=WIDER)
HELD = np.zeros((7, 7), dtype=bool)
HELD[2, 3] = HELD[4, 1] = True
BEYOND = np.zeros((7, 7), dtype=bool)
BEYOND[6] = BEYOND[:, 6] = True


@pytest.fixture(scope="module")
def measured() -> Campaign:
    return campaign(axes=WIDER).without(BEYOND | HELD)


@pytest.fixture(scope="module")
def nodes(measured: Campaign) -> LatencyNodes:
    return fit_latency(measured, boosting=boosting())


def error(nodes: LatencyNodes) -> NDArray[np.float64]:
    return np.asarray(np.abs(nodes.log_floor + nodes.log_ratio - TRUTH))


def test_every_node_is_answered(nodes: LatencyNodes) -> None:
    found = error(nodes)
    assert np.isfinite(found).all()
    assert np.median(found[:, ~BEYOND & ~HELD]) < 0.01, "left out"
    assert np.median(found[:, HELD]) < 0.015, "never measured"
    assert np.median(found[:, BEYOND]) < 0.06, "an octave beyond"
    assert found[:, BEYOND].max() < 0.3


def test_errors_are_measured_minus_predicted(measured: Campaign, nodes: LatencyNodes) -> None:
    seen = np.isfinite(measured.values)
    assert np.array_equal(np.isfinite(nodes.error), seen)
    predicted = (nodes.log_floor + nodes.log_ratio)[seen]
    assert nodes.error[seen] == pytest.approx(np.log(measured.values[seen]) - predicted, abs=1e-12)
    assert nodes.constants.shape == (len(DEPLOYMENTS), 7)


def test_past_frontiers(nodes: LatencyNodes) -> None:
    """Sizes that four sites or more lie below, up to the largest that was measured."""
    size = np.maximum(WIDER.n[:, None], WIDER.k[None, :])
    expected = (size >= 1024) & ~BEYOND & ~HELD
    known = np.isfinite(nodes.frontier_error)
    assert np.array_equal(known, np.broadcast_to(expected[None, :, :, None], known.shape))
    assert np.median(np.abs(nodes.frontier_error[known])) < 0.1
    assert np.nanmedian(np.abs(nodes.frontier_error)) > np.nanmedian(np.abs(nodes.error))


def test_it_repeats(measured: Campaign, nodes: LatencyNodes) -> None:
    said: list[str] = []
    again = fit_latency(measured, boosting=boosting(), progress=said.append)
    assert np.array_equal(again.log_ratio, nodes.log_ratio)
    assert np.array_equal(again.frontier_error, nodes.frontier_error, equal_nan=True)
    assert said[:3] == [f"calibrating and kriging {'/'.join(d)}" for d in DEPLOYMENTS]
    assert said[3:6] == [f"boosting: fold {i} of 3" for i in (1, 2, 3)]
    assert said[-1] == "a past frontier: 8192"


def shifted(measured: Campaign, sites: NDArray[np.bool_], factor: float) -> Campaign:
    values = np.where(sites[..., None], measured.values * factor, measured.values)
    return Campaign(measured.deployments, measured.axes, values)


def test_no_site_is_predicted_from_itself(measured: Campaign) -> None:
    """Half as slow again at one site, and the prediction there stays about what it was.

    The trees are ones that would learn it by heart.
    """
    eager = {"slope": 0.5, "clip": 1.0, "min_rows": 1.0, "depth": 8, "columns": 1.0, "trees": 30}
    site = np.zeros((7, 7), dtype=bool)
    site[3, 3] = True
    before, after = (
        fit_latency(found, boosting=boosting(**eager))
        for found in (measured, shifted(measured, site, 1.5))
    )
    moved = after.log_floor + after.log_ratio - before.log_floor - before.log_ratio
    assert np.abs(moved[:, 3, 3]).max() < 0.2 * np.log(1.5)
    assert after.error[:, 3, 3] == pytest.approx(np.log(1.5), abs=0.1)


def test_no_frontier_is_predicted_from_itself(measured: Campaign, nodes: LatencyNodes) -> None:
    """Twice the time at the largest size is an error of a factor of two there."""
    largest = np.maximum(WIDER.n[:, None], WIDER.k[None, :]) == SIZES[-1]
    slower = fit_latency(shifted(measured, largest, 2.0), boosting=boosting())
    moved = slower.frontier_error - nodes.frontier_error
    seen = np.isfinite(moved) & largest[:, :, None]
    assert moved[seen] == pytest.approx(np.log(2.0), abs=0.2)


def test_past_frontiers_teach_what_comes_next(measured: Campaign) -> None:
    """Where time grows by 10 % more than the floor with every octave, so it goes on."""
    octaves = np.log2(np.maximum(WIDER.n[:, None], WIDER.k[None, :]) / 1024.0)
    growth = np.maximum(octaves, 0.0) * 0.1
    grown = Campaign(
        measured.deployments, WIDER, measured.values * np.exp(growth)[None, :, :, None]
    )
    kriged = fit_surface(grown)
    learned = fit_latency(grown, boosting=boosting(slope=0.3))
    truth = TRUTH + growth[None, :, :, None]
    without = kriged.log_floor + kriged.kriged - truth
    found = learned.log_floor + learned.log_ratio - truth
    assert np.median(np.abs(found[:, BEYOND])) < 0.7 * np.median(np.abs(without[:, BEYOND]))


def test_grids_without_a_frontier(nodes: LatencyNodes) -> None:
    """Nothing lies beyond the grid, or so little below it that no past frontier can teach."""
    whole = fit_latency(campaign(), boosting=boosting(trees=3))
    assert np.isnan(whole.frontier_error).all()
    small = Axes(WIDER.n[3:], WIDER.k[3:], AXES.m)
    few = campaign(axes=small).without(BEYOND[3:, 3:])
    kriged = fit_latency(few, boosting=boosting(trees=3))
    assert np.isnan(kriged.frontier_error).all()
    assert np.abs(kriged.log_floor + kriged.log_ratio - log_truth(axes=small)).max() < 0.6


def test_site_folds() -> None:
    folds = site_folds(AXES, 5)
    assert folds.shape == (6, 6)
    assert set(np.unique(folds)) <= set(range(5))
    part = site_folds(Axes(SIZES[2:], SIZES[1:4], AXES.m[:1]), 5)
    assert np.array_equal(part, folds[2:, 1:4]), "a site's fold does not depend on the others"
    assert not np.array_equal(site_folds(AXES, 5, salt="other"), folds)
    n, k = np.meshgrid(SIZES, SIZES, indexing="ij")
    assert (folds[n != k] != folds.T[n != k]).any(), "n x k is not k x n"


def test_folds_are_even() -> None:
    many = np.unique(np.round(2 ** np.linspace(5, 16, 60)))
    for folds, salt in itertools.product((2, 4, 5), ("fold", "half")):
        share = np.bincount(site_folds(Axes(many, many, many), folds, salt).ravel()) / many.size**2
        assert len(share) == folds
        assert share == pytest.approx(1 / folds, abs=0.03)


@pytest.mark.parametrize(
    ("last", "beyond"), [(8192, 16_384), (51_200, 65_536), (65_535, 131_072), (1, 2), (3, 4)]
)
def test_frontier_axis(last: float, beyond: float) -> None:
    """The next power of two, unless that is hardly any further."""
    axis = frontier_axis(np.array([0.5, last]))
    assert axis.tolist() == [0.5, last, beyond]
