"""What a GEMM fit is worth: its left-out errors, and its intervals, group by group.

Everything is scored as it will be read from the bundle: after ratios and offsets were thinned out
and packed into the tables' few bits. The fold of sites that decided when to stop boosting is in
none of the figures.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import DataError
from perfcast.predictors.assemble import FRONTIER_STEP, steps_beyond, transfer_offsets
from perfcast.predictors.boosting import WATCHED_FOLD
from perfcast.predictors.campaign import Campaign
from perfcast.predictors.intervals import worst_offsets
from perfcast.predictors.latency import site_folds
from perfcast.predictors.lattice import Lattice
from perfcast.predictors.stand_in import allowance, allowances, stand_ins
from perfcast.training.dataset import Category
from perfcast.training.gemm import Fit, Options, newest_positions, transfer_errors
from perfcast.training.report import Forecast, Report, evaluate

__all__ = ["leave_one_gpu_mape", "metrics_for_card", "reports"]

_BY = ((), ("gpu",), ("gpu", "framework"), ("gpu", "dtype"), ("gpu", "framework", "dtype"))
_BY_VERSION = ((), ("gpu",), ("framework", "dtype"), ("gpu", "framework", "dtype"))
_LEAVE_OUT = ("h100_sxm", "h200_sxm", "b200_sxm", "a100_sxm", "l40s")

Breakdowns = tuple[tuple[str, ...], ...]


def reports(fit: Fit, options: Options) -> dict[str, Report]:
    """Reports by name, over the newest version of each framework unless said otherwise.

    A report that no row can be part of is left out: `frontier` where sizes lie further apart than
    half an octave, `gpu` where a single GPU was measured, `version` where no two versions were.

    - `site`: every (n, k) pair predicted from the others.
    - `frontier`: n or k larger than anything the prediction was made from.
    - `gpu`: GPUs predicted from the other GPUs.
    - `version`: a framework version answered by the newest other one, all versions; the interval's
      allowance learnt from the other GPUs.
    - `power`: as `site`, for the deployments whose power was measured.
    - `power_gpu`: power of GPUs predicted from the other GPUs, where two have any.
    """
    campaign = fit.campaign
    newest = np.zeros(len(campaign.deployments), dtype=bool)
    newest[newest_positions(campaign.deployments)] = True
    judged = (site_folds(campaign.axes, options.folds) != WATCHED_FOLD)[None, :, :, None]
    counted = newest[:, None, None, None] & judged
    log_latency = fit.log_floor + Lattice.pack(fit.log_ratio, np.float16).unpack()
    out = {}
    rows = np.isfinite(fit.error) & counted
    out["site"] = _report(
        "sites left out", "latency_ms", campaign, rows, log_latency[rows],
        _as_read(fit.left_out_offsets, fit.offsets, rows),
    )  # fmt: skip
    step = np.broadcast_to(
        steps_beyond(campaign.axes, campaign.values)[None, :, :, None], campaign.values.shape
    )
    rows = np.isfinite(fit.frontier_error) & newest[:, None, None, None] & (step <= FRONTIER_STEP)
    if rows.any():
        wider = 1.0 + fit.per_octave[np.nonzero(rows)[0]] * step[rows]
        out["frontier"] = _report(
            "a quarter to half an octave beyond the largest size seen", "latency_ms", campaign,
            rows, np.log(campaign.values[rows]) - fit.frontier_error[rows],
            _as_read(fit.left_out_offsets, fit.offsets, rows) * wider[:, None],
        )  # fmt: skip
    rows = np.isfinite(fit.transfer_error)
    if rows.any():
        out["gpu"] = _report(
            "GPU left out", "latency_ms", campaign, rows,
            np.log(campaign.values[rows]) - fit.transfer_error[rows],
            _transfer_offsets(fit, options)[rows],
        )  # fmt: skip
    version = _version(fit, options, log_latency, judged)
    if version is not None:
        out["version"] = version
    rows = np.isfinite(fit.power_error) & judged
    stored = Lattice.pack(np.concatenate([fit.log_power, fit.power_full]), np.uint8).unpack()
    out["power"] = _report(
        "sites left out", "power_w", fit.power, rows, stored[len(fit.log_power) :][rows],
        _as_read(fit.power_left_out_offsets, fit.power_offsets, rows),
    )  # fmt: skip
    power_gpu = _power_gpu(fit, options)
    if power_gpu is not None:
        out["power_gpu"] = power_gpu
    return out


def _as_read(
    left_out: NDArray[np.float64], shipped: NDArray[np.float64], rows: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Left-out offsets [R, 2] at `rows`, in as many bits as the `shipped` ones are stored in."""
    out = np.empty((int(rows.sum()), 2))
    for side in (0, 1):
        beside = np.log(shipped[..., side]).ravel()
        own = np.log(left_out[..., side][rows])
        packed = Lattice.pack(np.concatenate([beside, own]), np.uint8)
        out[:, side] = np.exp(packed.unpack()[len(beside) :])
    return out


def _version(
    fit: Fit, options: Options, log_latency: NDArray[np.float64], judged: NDArray[np.bool_]
) -> Report | None:
    campaign = fit.campaign
    pairs = stand_ins(campaign, log_latency, fit.left_out_offsets)
    values, offsets, rows = [], [], np.zeros(campaign.values.shape, dtype=bool)
    for pair in sorted(pairs, key=lambda pair: pair.absent):
        absent = campaign.deployments[pair.absent]
        elsewhere = [p for p in pairs if campaign.deployments[p.absent].gpu != absent.gpu]
        extra = allowance(allowances(campaign, elsewhere, options.coverage), absent)
        here = np.isfinite(pair.error) & judged[0]
        rows[pair.absent] = here
        values.append(log_latency[pair.answering][here])
        offsets.append(fit.left_out_offsets[pair.answering][here] + extra)
    if not rows.any():
        return None
    return _report(
        "framework version left out", "latency_ms", campaign, rows,
        np.concatenate(values), np.concatenate(offsets), _BY_VERSION,
    )  # fmt: skip


def _power_gpu(fit: Fit, options: Options) -> Report | None:
    """Power of each GPU predicted from the others; an interval is the widest any other needs."""
    found = fit.power_transfer_errors
    if len(found) < 2:
        return None
    errors, offsets, gpus = [], [], []
    for gpu, error in found.items():
        others = [e for name, e in found.items() if name != gpu]
        errors.append(error)
        offsets.append(np.broadcast_to(worst_offsets(others, options.coverage), (len(error), 2)))
        gpus += [gpu] * len(error)
    error, offset = np.concatenate(errors), np.concatenate(offsets)
    one = np.ones_like(error)  # the errors tell the ratio of truth to forecast, which is all
    levels, codes = np.unique(gpus, return_inverse=True)
    report = evaluate(
        np.exp(error),
        Forecast(one, np.exp(-offset[:, 0]), np.exp(offset[:, 1])),
        {"gpu": Category(codes.astype(np.int32), tuple(map(str, levels)))},
        title="GPU left out", quantity="power_w", breakdowns=((), ("gpu",)),
    )  # fmt: skip
    rows = [
        replace(row, scores=replace(row.scores, r2=None, r2_log=None))  # of ratios: meaningless
        for row in report.rows
    ]
    return replace(report, rows=tuple(rows))


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
    log_value: NDArray[np.float64], offsets: NDArray[np.float64], by: Breakdowns = _BY,
) -> Report:  # fmt: skip
    value = np.exp(log_value)
    forecast = Forecast(value, value * np.exp(-offsets[:, 0]), value * np.exp(offsets[:, 1]))
    return evaluate(
        campaign.values[rows], forecast, _groups(campaign, rows),
        title=title, quantity=quantity, breakdowns=by,
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
