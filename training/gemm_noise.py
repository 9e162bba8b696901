"""How much of the left-out error no predictor could know: what another framework's error tells.

Frameworks that call the same library for the same multiplication on the same GPU were measured
separately. Told what the other one really measured at that very shape, which no predictor can
know, whatever error remains is mostly the scatter of the measurements.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from perfcast.training.gemm import Fit, newest_positions

__all__ = ["noise_summary"]

_CUT = 0.15
"""Log error beyond which the other framework's error is taken as a disturbance of its own."""


def noise_summary(fit: Fit) -> list[dict[str, str | float]]:
    """For each GPU and dtype, each framework's error (percent) alone and told another's.

    The other's error counts by the share, of ten, that serves the median best.
    """
    found: list[dict[str, str | float]] = []
    newest = [(g, fit.campaign.deployments[g]) for g in newest_positions(fit.campaign.deployments)]
    for (a, ours), (b, other) in permutations(newest, 2):
        if (ours.gpu, ours.dtype) != (other.gpu, other.dtype):
            continue
        mine, theirs = fit.error[a], fit.error[b]
        both = np.isfinite(mine) & np.isfinite(theirs)
        if not both.any():
            continue
        alone, told = mine[both], np.clip(theirs[both], -_CUT, _CUT)
        rests = [alone - share * told for share in np.linspace(0.0, 1.0, 11)]
        rest = min(rests, key=lambda left: float(np.median(np.abs(left))))
        found.append(
            {
                "gpu": ours.gpu, "dtype": ours.dtype, "framework": ours.framework,
                "told": other.framework,
                **_errors("alone", alone), **_errors("told", rest),
            }
        )  # fmt: skip
    return found


def _errors(name: str, error: NDArray[np.float64]) -> dict[str, float]:
    ape = 100 * np.abs(np.expm1(-error))
    return {
        f"{name}_median_ape_percent": round(float(np.median(ape)), 3),
        f"{name}_p90_ape_percent": round(float(np.quantile(ape, 0.9)), 3),
    }
