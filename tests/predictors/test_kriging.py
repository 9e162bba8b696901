from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcast.predictors.kriging import KERNELS, Kernel, fit_kriging

GRID = np.array([(a, b) for a in range(6, 13) for b in range(6, 13)], dtype=np.float64)
SMOOTH = Kernel(1.5, 4.0, 0.3, 0.003)
ROUGH = Kernel(0.5, 8.0, 0.3, 0.1)


def surface(sites: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three smooth functions of a site: [S, 3]."""
    n, k = sites.T
    return np.stack([np.sin(0.5 * n) + 0.1 * k, np.cos(0.4 * k) * n / 10, n + k - 18], axis=1) / 10


def refitted(
    kernel: Kernel, sites: NDArray[np.float64], values: NDArray[np.float64], at: int
) -> NDArray[np.float64]:
    """Site `at` predicted by a model of all others, from the definition; the level is shared."""
    level = np.median(values, axis=0)
    others = np.arange(len(sites)) != at
    covariance = kernel.between(sites[others], sites[others])
    covariance += kernel.nugget * np.eye(len(covariance))
    towards = kernel.between(sites[at : at + 1], sites[others])
    predicted = towards @ np.linalg.solve(covariance, values[others] - level) + level
    return np.asarray(predicted[0])


@pytest.mark.parametrize("kernel", [SMOOTH, ROUGH, Kernel(0.5, 16.0, 1.0, 1.0)], ids=repr)
def test_left_out_is_what_a_refit_would_say(kernel: Kernel) -> None:
    # bounded noise: no left-out error comes near three robust deviations
    noise = [np.random.default_rng(seed).uniform(-0.05, 0.05, len(GRID)) for seed in range(3)]
    values = np.stack(noise, axis=1) + np.array([0.0, 0.3, -2.0])
    expected = np.array([refitted(kernel, GRID, values, i) for i in range(len(GRID))])
    error = np.abs(values - expected)
    assert (error < 3 * (1.4826 * np.median(error, axis=0) + 1e-4)).all(), "nothing was clipped"
    model = fit_kriging(GRID, values, (kernel,))
    assert model.kernel == kernel
    assert model.left_out == pytest.approx(expected, abs=1e-9)


def test_a_site_that_was_not_measured() -> None:
    new = np.array([(7.5, 9.3), (11.5, 6.5), (9.9, 9.9)])
    model = fit_kriging(GRID, surface(GRID))
    assert model.predict(new) == pytest.approx(surface(new), abs=0.02)
    assert model.predict(new[:0]).shape == (0, 3)


@pytest.mark.parametrize("size", [0.1, 0.3, 1.0])
def test_one_disturbed_site_does_not_bend_its_neighbours(size: float) -> None:
    """Its neighbours move by less than a quarter of what they would if it were believed."""
    values = surface(GRID) + 0.003 * np.random.default_rng(0).standard_normal((len(GRID), 3))
    disturbed, centre = values.copy(), 24
    disturbed[centre] += size
    clean, robust = fit_kriging(GRID, values).left_out, fit_kriging(GRID, disturbed)
    others = np.flatnonzero(np.arange(len(GRID)) != centre)
    believed = [refitted(robust.kernel, GRID, disturbed, int(i)) for i in others]
    moved = np.abs(robust.left_out - clean)
    assert moved[others].max() < 0.25 * np.abs(believed - clean[others]).max()
    assert moved[centre].max() < 0.01, "nor is it believed where it was measured"


def test_the_kernel_is_chosen_by_what_it_leaves_out() -> None:
    assert fit_kriging(GRID, surface(GRID), (ROUGH, SMOOTH)).kernel == SMOOTH
    noise = np.random.default_rng(0).standard_normal((len(GRID), 8))
    quiet, loud = Kernel(1.5, 4.0, 0.3, 0.003), Kernel(1.5, 4.0, 0.3, 1.0)
    assert fit_kriging(GRID, noise, (quiet, loud)).kernel == loud


def test_constants_and_single_sites() -> None:
    flat = fit_kriging(GRID, np.full((len(GRID), 2), 0.7))
    assert flat.left_out == pytest.approx(0.7) and flat.predict(GRID + 0.5) == pytest.approx(0.7)
    alone = fit_kriging(GRID[:1], np.array([[0.1, -0.2]]))
    assert alone.predict(GRID[:3]) == pytest.approx(np.tile([0.1, -0.2], (3, 1)))


points = st.lists(
    st.tuples(st.floats(0, 24), st.floats(0, 24)), min_size=1, max_size=12, unique=True
)


@given(points, st.sampled_from(KERNELS))
def test_kernels_are_covariances(sites: list[tuple[float, float]], kernel: Kernel) -> None:
    at = np.array(sites)
    covariance = kernel.between(at, at)
    assert np.array_equal(covariance, covariance.T)
    assert np.diag(covariance) == pytest.approx(1 + 2 * kernel.additive)
    assert (covariance <= covariance[0, 0] * (1 + 1e-12)).all() and (covariance > 0).all()
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_covariance_falls_with_distance() -> None:
    line = np.stack([np.zeros(20), np.arange(20.0)], axis=1)
    for kernel in KERNELS:
        assert (np.diff(kernel.between(line[:1], line)[0]) < 0).all()
