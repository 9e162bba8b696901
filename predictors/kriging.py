"""Kriging over sites: what the neighbouring (n, k) pairs say about one that was not measured.

A site is a pair (n, k) measured at the same values of m as every other site. Each value of m is
one Gaussian process over (log2 n, log2 k), all of them sharing one kernel, so that a single
factorisation serves all and leave-one-site-out predictions come in closed form (Dubrule 1983;
Rasmussen and Williams 2006, section 5.4.2).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Kernel", "SiteKriging", "fit_kriging"]

_MAD_TO_SIGMA = 1.4826
_CLIP_SIGMAS = 3.0
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Kernel:
    """A product kernel in log2 n and log2 k plus, weighted, one kernel in each alone.

    `roughness` 0.5 is the exponential (Ornstein-Uhlenbeck) kernel, 1.5 the Matern kernel;
    `length` is in octaves; `nugget` the noise variance relative to the product kernel's.
    """

    roughness: float
    length: float
    additive: float
    nugget: float

    def between(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariance [A, B] of sites `a` [A, 2] and `b` [B, 2], without the nugget."""
        along_n = self._decay(np.abs(a[:, None, 0] - b[None, :, 0]))
        along_k = self._decay(np.abs(a[:, None, 1] - b[None, :, 1]))
        return along_n * along_k + self.additive * (along_n + along_k)

    def _decay(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled = distance / self.length
        if self.roughness == 0.5:
            return np.asarray(np.exp(-scaled))
        scaled = scaled * np.sqrt(3.0)
        return np.asarray((1.0 + scaled) * np.exp(-scaled))


_SHAPES = (
    (0.5, 4.0, 0.3), (0.5, 8.0, 0.3), (0.5, 16.0, 0.3), (0.5, 8.0, 1.0), (0.5, 16.0, 1.0),
    (1.5, 4.0, 0.3), (1.5, 4.0, 1.0),
)  # fmt: skip
_NUGGETS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
KERNELS = tuple(Kernel(*shape, nugget) for shape, nugget in itertools.product(_SHAPES, _NUGGETS))


@dataclass(frozen=True, slots=True)
class SiteKriging:
    """A fitted model. `left_out` [S, M]: each site as the other sites predict it."""

    kernel: Kernel
    sites: NDArray[np.float64]
    level: NDArray[np.float64]
    weights: NDArray[np.float64]
    left_out: NDArray[np.float64]

    def predict(self, sites: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values [Q, M] at `sites` [Q, 2] (log2 n, log2 k)."""
        return self.kernel.between(sites, self.sites) @ self.weights + self.level


def fit_kriging(
    sites: NDArray[np.float64],
    values: NDArray[np.float64],
    kernels: tuple[Kernel, ...] = KERNELS,
) -> SiteKriging:
    """Fit `values` [S, M] at `sites` [S, 2]; the kernel is the one that leaves out sites best.

    Outliers are pulled in to three robust standard deviations of their left-out prediction
    before the final fit, so that one disturbed measurement does not bend its neighbourhood.
    """
    level = np.median(values, axis=0)
    centred = values - level
    best: tuple[float, Kernel, NDArray[np.float64], NDArray[np.float64]] | None = None
    for kernel in kernels:
        covariance = kernel.between(sites, sites)
        covariance[np.diag_indices_from(covariance)] += kernel.nugget
        inverse = np.linalg.inv(covariance)
        diagonal = np.diag(inverse)[:, None]
        clean = centred
        for _ in range(_ROUNDS):
            left_out = clean - inverse @ clean / diagonal
            error = centred - left_out
            bound = _CLIP_SIGMAS * (_MAD_TO_SIGMA * np.median(np.abs(error), axis=0) + 1e-4)
            clean = left_out + np.clip(error, -bound, bound)
        weights = inverse @ clean
        left_out = clean - weights / diagonal
        error = np.abs(centred - left_out)
        score = float(np.median(error) + 0.3 * np.quantile(error, 0.9))
        if best is None or score < best[0]:
            best = score, kernel, weights, left_out
    assert best is not None
    return SiteKriging(best[1], sites, level, best[2], best[3] + level)
