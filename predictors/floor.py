"""Calibrating the analytic floor to measurements: seven constants for each deployment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features.gemm import FLOOR_CONSTANTS, floor_ms

__all__ = ["DEFAULT_CONSTANTS", "calibrate", "evaluate"]

DEFAULT_CONSTANTS = np.array([1e-5, 2.5e-3, 1.25, 1.2, 1.6, 5e-7, 5e-4])
"""Where calibration starts: a kernel launch of 2.5 us and rates near 80 % of the peaks."""

_LOW = np.array([6e-6, 6e-6, 0.22, 0.22, 1.14, 1e-7, 1e-6])
_HIGH = np.array([20.0, 20.0, 20.0, 20.0, 20.0, 2e-2, 5e-2])


def evaluate(
    constants: NDArray[np.float64], lanes: NDArray[np.float64], k: NDArray[Any]
) -> NDArray[np.float64]:
    """The floor in ms [N] for `constants` [7] (or [7, N]) and `lanes` [3, N]."""
    named = dict(zip(FLOOR_CONSTANTS, constants, strict=True))
    return np.asarray(floor_ms(np, lanes[0], lanes[1], lanes[2], k, **named))


def calibrate(
    lanes: NDArray[np.float64],
    k: NDArray[Any],
    latency_ms: NDArray[np.float64],
    *,
    start: NDArray[np.float64] | None = None,
    seed: int = 0,
    max_rows: int = 4000,
) -> NDArray[np.float64]:
    """Constants [7] that bring the floor closest to `latency_ms` [N], in relative terms.

    A robust (soft L1) least-squares fit of log time on a sample of at most `max_rows` rows,
    started from a launch-bound and from a host-bound guess, the better one being returned, or,
    much faster, from `start`.
    """
    from scipy.optimize import least_squares

    rows = np.random.default_rng(seed).permutation(len(k))[:max_rows]
    sample, k, log_ms = lanes[:, rows], k[rows], np.log(latency_ms[rows])
    fastest = float(np.quantile(np.exp(log_ms), 0.02))
    guesses = [] if start is None else [start]
    if start is None:
        for host, launch in ((0.9, 0.3), (0.2, 0.7)):
            guess = DEFAULT_CONSTANTS.copy()
            guess[:2] = host * fastest, launch * fastest
            guesses.append(guess)
    best = None
    for guess in guesses:
        fit = least_squares(
            lambda x: np.log(evaluate(np.exp(x), sample, k)) - log_ms,
            np.log(np.clip(guess, _LOW * 1.01, _HIGH * 0.99)),
            bounds=(np.log(_LOW), np.log(_HIGH)),
            loss="soft_l1",
            f_scale=0.05,
            max_nfev=100 if start is None else 15,
        )
        if best is None or fit.cost < best.cost:
            best = fit
    assert best is not None
    return np.asarray(np.exp(best.x))
