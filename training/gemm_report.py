"""What a GEMM fit is worth: its left-out errors, and its intervals, group by group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import DataError
from perfcast.predictors.assemble import FRONTIER_STEP, steps_beyond, transfer_offsets
from perfcast.predictors.campaign import Campaign
from perfcast.predictors.intervals import worst_offsets
from perfcast.training.dataset import Category
from perfcast.training.gemm import Fit, Options, newest_positions, transfer_errors
from perfcast.training.report import Forecast, Report, evaluate

__all__ = ["leave_one_gpu_mape", "metrics_for_card", "power_transfer_summary", "reports"]

_BY = ((), ("gpu",), ("gpu", "framework"), ("gpu", "dtype"), ("gpu", "framework", "dtype"))
_LEAVE_OUT = ("h100_sxm", "h200_sxm", "b200_sxm", "a100_sxm", "l40s")


def reports(fit: Fit, options: Options) -> dict[str, Report]:
    """Reports by name, over the newest version of each framework unless power decides.

    A report that no row can be part of is left out: `frontier` where sizes lie further apart than
    half an octave, `gpu` where a single GPU was measured.

    - `site`: every (n, k) pair predicted from the others.
    - `frontier`: n or k larger than anything the prediction was made from.
    - `gpu`: GPUs predicted from the other GPUs (newest versions).
    - `power`: as `site`, for power.
    """
    campaign = fit.campaign
    newest = np.zeros(len(campaign.deployments), dtype=bool)
    newest[newest_positions(campaign.deployments)] = True
    log_latency = fit.log_floor + fit.log_ratio
    out = {}
    rows = np.isfinite(fit.error) & newest[:, None, None, None]
    out["site"] = _report(
        "sites left out", "latency_ms", campaign, rows,
        log_latency[rows], fit.left_out_offsets[rows],
    )  # fmt: skip
    step = np.broadcast_to(
        steps_beyond(campaign.axes, campaign.values)[None, :, :, None], campaign.values.shape
    )
    rows = np.isfinite(fit.frontier_error) & newest[:, None, None, None] & (step <= FRONTIER_STEP)
    predicted = np.log(campaign.values[rows]) - fit.frontier_error[rows]
    wider = 1.0 + fit.per_octave[np.nonzero(rows)[0]] * step[rows]
    offsets = fit.left_out_offsets[rows] * wider[:, None]
    if rows.any():
        out["frontier"] = _report(
            "a quarter to half an octave beyond the largest size seen",
            "latency_ms",
            campaign,
            rows,
            predicted,
            offsets,
        )
    rows = np.isfinite(fit.transfer_error)
    predicted = np.log(campaign.values[rows]) - fit.transfer_error[rows]
    if rows.any():
        out["gpu"] = _report(
            "GPU left out",
            "latency_ms",
            campaign,
            rows,
            predicted,
            _transfer_offsets(fit, options)[rows],
        )
    rows = np.isfinite(fit.power_error)
    out["power"] = _report(
        "sites left out", "power_w", fit.power, rows,
        fit.power_full[rows], fit.power_left_out_offsets[rows],
    )  # fmt: skip
    return out


def power_transfer_summary(fit: Fit, options: Options) -> dict[str, dict[str, float]]:
    """For each GPU with power, left out: median and P90 error and the coverage of an interval
    that holds for each of the other GPUs."""
    summary = {}
    for gpu, error in fit.power_transfer_errors.items():
        others = [e for name, e in fit.power_transfer_errors.items() if name != gpu]
        if not others:
            continue
        low, high = worst_offsets(others, options.coverage)
        ape = 100 * np.abs(np.expm1(-error))
        summary[gpu] = {
            "rows": float(len(error)),
            "median_ape_percent": float(np.median(ape)),
            "p90_ape_percent": float(np.quantile(ape, 0.9)),
            "coverage_percent": float(100 * np.mean((error >= -low) & (error <= high))),
        }
    return summary


def leave_one_gpu_mape(report: Report) -> dict[str, float]:
    """Mean error in bfloat16 of the five GPUs published work leaves out, and their mean."""
    found = {}
    for gpu in _LEAVE_OUT:
        try:
            row = report.row({"gpu": gpu, "dtype": "bfloat16"})
        except DataError:
            continue
        if row.scores.mean_ape_percent is not None:
            found[gpu] = row.scores.mean_ape_percent
    if found:
        found["mean"] = float(np.mean(list(found.values())))
    return found


def _report(
    title: str, quantity: str, campaign: Campaign, rows: NDArray[np.bool_],
    log_value: NDArray[np.float64], offsets: NDArray[np.float64],
) -> Report:  # fmt: skip
    value = np.exp(log_value)
    forecast = Forecast(value, value * np.exp(-offsets[:, 0]), value * np.exp(offsets[:, 1]))
    return evaluate(
        campaign.values[rows], forecast, _groups(campaign, rows),
        title=title, quantity=quantity, breakdowns=_BY,
    )  # fmt: skip


def _groups(campaign: Campaign, rows: NDArray[np.bool_]) -> dict[str, Category]:
    position = np.nonzero(rows)[0]
    groups: dict[str, Category] = {}
    for name in ("gpu", "framework", "dtype"):
        words = np.array([getattr(d, name) for d in campaign.deployments])
        levels, codes = np.unique(words, return_inverse=True)
        groups[name] = Category(
            codes.astype(np.int32)[position], tuple(str(level) for level in levels)
        )
    return groups


def _transfer_offsets(fit: Fit, options: Options) -> NDArray[np.float64]:
    """Offsets [G, N, K, M, 2] from the errors of the other GPUs, dtype by dtype."""
    out = np.full((*fit.transfer_error.shape, 2), np.nan)
    gpus = {d.gpu for d in fit.campaign.deployments}
    by_gpu = {
        gpu: transfer_offsets(transfer_errors(fit, gpus - {gpu}), options.coverage) for gpu in gpus
    }
    for g, deployment in enumerate(fit.campaign.deployments):
        offsets = by_gpu[deployment.gpu]
        out[g] = offsets.get(deployment.dtype, offsets[""])
    return out


def metrics_for_card(found: dict[str, Report]) -> dict[str, Any]:
    """The reports as JSON, without the finest breakdown: the card is for reading too."""
    out = {}
    for name, report in found.items():
        document = report.to_dict()
        document["rows"] = [row for row in document["rows"] if len(row["group"]) < 3]
        for row in document["rows"]:
            row.pop("baselines", None)
        out[name] = document
    return out
