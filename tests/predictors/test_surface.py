from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.predictors.campaign import Axes, Campaign
from perfcast.predictors.surface import Surface, fit_surface, krige
from tests.predictors.campaigns import AXES, DEPLOYMENTS, H200, campaign, constants_of, log_truth

HELD = np.zeros((6, 6), dtype=bool)
HELD[2, 3] = HELD[3, 1] = True


@pytest.fixture(scope="module")
def surface() -> Surface:
    return fit_surface(campaign().without(HELD))


def test_every_node_is_close_to_the_truth(surface: Surface) -> None:
    error = np.abs(surface.log_floor + surface.kriged - log_truth())
    assert np.median(error[:, ~HELD]) < 0.01, "left out"
    assert error[:, HELD].max() < 0.02, "never measured"
    assert np.median(np.abs(surface.log_floor - log_truth())) > 0.03, "the floor alone"


def test_layers_add_up(surface: Surface) -> None:
    measured = surface.campaign
    total = surface.log_floor + surface.kriged + surface.residual
    seen = np.isfinite(measured.values)
    assert np.array_equal(np.isfinite(surface.residual), seen)
    assert total[seen] == pytest.approx(np.log(measured.values[seen]), abs=1e-12)
    assert np.isfinite(surface.kriged).all() and np.isfinite(surface.log_floor).all()
    assert surface.constants.shape == (3, 7)


def test_it_repeats(surface: Surface) -> None:
    names: list[str] = []
    again = fit_surface(surface.campaign, progress=names.append)
    assert np.array_equal(again.kriged, surface.kriged)
    assert names == ["/".join(deployment) for deployment in DEPLOYMENTS]


def test_a_start_close_by(surface: Surface) -> None:
    quick = fit_surface(surface.campaign, start=constants_of() * 1.05)
    error = np.abs(quick.log_floor + quick.kriged - log_truth())
    assert np.median(error[:, HELD]) < 0.03


def test_a_site_does_not_vote_on_itself() -> None:
    """Twice the time at one site moves what is said there by next to nothing."""
    values = log_truth() - log_truth().mean(axis=(1, 2), keepdims=True)
    noisy = values + 0.01 * np.random.default_rng(0).standard_normal(values.shape)
    shifted = noisy.copy()
    shifted[:, 2, 2] += np.log(2)
    before, after = (krige(campaign(), v)[:, 2, 2] for v in (noisy, shifted))
    assert np.abs(after - before).max() < 0.1 * np.log(2)


def _linear_in_log_m(m: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.broadcast_to(0.05 * np.log(m), AXES.shape)


def test_values_of_m_that_were_not_measured() -> None:
    """Linear in log m between those that were, constant beyond them."""
    known = np.array([False, True, False, False, True, True, False, False])
    values = np.where(known, _linear_in_log_m(AXES.m), np.nan)[None]
    sparse = Campaign((H200,), AXES, np.exp(values))
    kriged = krige(sparse, values)
    expected = _linear_in_log_m(np.clip(AXES.m, 4.0, 1024.0))
    assert kriged[0] == pytest.approx(expected, abs=1e-6)


def test_a_single_value_of_m_holds_for_all() -> None:
    values = np.full((1, *AXES.shape), np.nan)
    values[..., 3] = 0.25
    kriged = krige(Campaign((H200,), AXES, np.exp(values)), values)
    assert kriged == pytest.approx(0.25)


def test_gaps_in_a_site_are_bridged() -> None:
    full = campaign((H200,), noise=0.001)
    holed = full.values.copy()
    holed[:, 1::2, ::2, 3] = np.nan
    holed[:, ::2, 1::2, 6] = np.nan
    surface = fit_surface(Campaign((H200,), AXES, holed))
    error = np.abs(surface.log_floor + surface.kriged - log_truth((H200,)))
    gaps = ~np.isfinite(holed)
    assert np.isnan(surface.residual[gaps]).all()
    assert np.median(error[gaps]) < 0.04


def test_one_site_alone() -> None:
    axes = Axes(AXES.n[:1], AXES.k[:1], AXES.m)
    alone = campaign((H200,), axes)
    surface = fit_surface(alone)
    assert np.isfinite(surface.kriged).all()
