"""Whole values of n, k and m held out, the model refitted without them, and asked what it lacks.

Measured shapes lie on a grid, real ones rarely do. What ships interpolates its tables between the
nodes of that grid and widens its intervals there; leaving out single sites says nothing about
either. Here every row with certain values of n (k, m) is dropped, all latency layers, intervals
and widenings are fitted to the rest on axes that lack those values, and the tables made of them
answer the dropped rows. What lies beyond the range of m is tried in the same way.

The gaps are wider than those a real question falls into: by a factor of two where values are
evenly spaced. m is measured on both sides of tile edges (64 and 65), and such values are dropped
together, so that the answer has to cross an edge that real questions have beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import DataError
from perfcast.features.gemm import FLOOR_CONSTANTS
from perfcast.features.tasks import GEMM
from perfcast.predictors.export import names_to_codes
from perfcast.predictors.gemm import answer
from perfcast.predictors.intervals import conformal_factor, scores
from perfcast.predictors.offsets import coarse_nodes
from perfcast.training.dataset import DataSet
from perfcast.training.gemm import Fit, Options
from perfcast.training.gemm_bundle import tables_of
from perfcast.training.gemm_needs import FAMILIES, family
from perfcast.training.gemm_stages import intervals_stage, latency_campaign_of, latency_stage
from perfcast.training.reading import read_data_set
from perfcast.training.report import Forecast, Report, evaluate

__all__ = ["HoldOut", "answers", "between_reports", "every_third", "hold_outs"]

_BY = ((), ("gpu",), ("gpu", "framework"), ("gpu", "framework", "dtype"))
_DEPLOYMENT = ("gpu", "framework", "framework_version", "dtype")
_ONE_EDGE = 1.05
"""Values of m closer than this factor are the two sides of one tile edge."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Rows `dropped` before the fit and those of them that are `asked` after it: bool [R]."""

    name: str
    title: str
    dropped: NDArray[np.bool_]
    asked: NDArray[np.bool_]


def between_reports(
    data: Path,
    *,
    gpus: Sequence[str],
    options: Options,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Report]:
    """A report for each hold-out that the measurements in `data` allow, by its name.

    Only `gpus`, and of each framework and dtype the newest version. Raises `DataError` for data
    that cannot be read, a GPU that was not measured, or a grid too small to hold anything out.
    """
    measured = read_data_set(data, task=GEMM).matching({"gpu": gpus})
    measured = measured.newest_versions(within=("gpu", "framework", "dtype"))
    found = {}
    for held in hold_outs(measured):
        report(held.title)
        asked = measured.take(held.asked)
        forecast = answers(
            measured.take(~held.dropped),
            asked,
            options=options,
            report=lambda text, title=held.title: report(f"{title}: {text}"),  # type: ignore[misc]
        )
        found[held.name] = evaluate(
            asked["latency_ms"],
            forecast,
            asked.categories,
            title=f"{held.title} ({options.trees} trees; {_needed(asked, forecast, options)})",
            quantity="latency_ms",
            breakdowns=_BY,
        )
    if not found:
        raise DataError("nothing can be held out: needs four values of n, k or m at least")
    return found


def answers(
    known: DataSet,
    asked: DataSet,
    *,
    options: Options,
    report: Callable[[str], None] = lambda _: None,
) -> Forecast:
    """What a model of `known` alone, in its shipped form, answers to the questions `asked`."""
    tables = tables_of(_fit(known, options, report), options)
    columns = {name: asked[name] for name in GEMM.input_names}
    with np.errstate(all="ignore"):  # withheld rows are computed before they are masked
        found = answer(
            np, tables, names_to_codes(tables, columns), *(columns[name] for name in "mnk")
        )
    return Forecast(found["latency_ms"], found["latency_ms_low"], found["latency_ms_high"])


def _needed(asked: DataSet, forecast: Forecast, options: Options) -> str:
    """By how much all intervals would have to grow, or could shrink, to cover what they promise."""
    assert forecast.low is not None and forecast.high is not None
    value = forecast.value.astype(np.float64)
    offsets = np.log(np.stack([value / forecast.low, forecast.high / value], axis=-1))
    score = scores(np.log(asked["latency_ms"] / value), offsets)
    factor = conformal_factor(score[np.isfinite(score)], options.coverage)
    return f"intervals x{factor:.2f} would cover {100 * options.coverage:.0f} %"


def _fit(data: DataSet, options: Options, report: Callable[[str], None]) -> Fit:
    """The latency half of a training: nothing transferred, no power."""
    campaign = latency_campaign_of(data)
    coarse = coarse_nodes(campaign.axes.m, 12)
    count, nodes = len(campaign.deployments), campaign.axes.shape
    whole: dict[str, NDArray[Any]] = {}
    for kin in FAMILIES:
        members = [g for g, d in enumerate(campaign.deployments) if family(d.gpu) == kin]
        if not members:
            continue
        part = campaign.select(members)
        latency = latency_stage(part, options, report)
        report("intervals")
        for name, values in {**latency, **intervals_stage(part, latency, coarse, options)}.items():
            whole.setdefault(name, np.empty((count, *values.shape[1:])))[members] = values
    nobody, pairs = np.empty((0, *nodes)), np.empty((0, *nodes, 2))
    return Fit(
        campaign=campaign,
        power=campaign.select([]),
        coarse=coarse,
        unmeasured=(),
        unmeasured_log_floor=nobody,
        unmeasured_log_ratio=nobody,
        unmeasured_constants=np.empty((0, len(FLOOR_CONSTANTS))),
        transfer_error=np.full((count, *nodes), np.nan),
        log_power=np.zeros((count, *nodes)),
        power_error=nobody,
        power_full=nobody,
        power_offsets=pairs[..., coarse, :],
        power_left_out_offsets=pairs,
        power_transfer_errors={},
        **whole,
    )


def hold_outs(data: DataSet) -> Iterator[HoldOut]:
    """Every hold-out that leaves enough to fit: values between others, then m beyond its range.

    - `n`, `k`, `m`: every third value, see `every_third`.
    - `n_k_m`: all of those dropped at once; only shapes with all three sizes new are asked.
    - `m_above_1`, `m_above_2`, `m_below_1`: beyond a half and a quarter of each deployment's
      largest m, and below twice its smallest.
    """
    rows = {name: np.isin(data[name], every_third(data[name], edges=name == "m")) for name in "nkm"}
    for name, dropped in rows.items():
        if dropped.any():
            yield HoldOut(name, f"{name} between nodes", dropped, dropped)
    if all(dropped.any() for dropped in rows.values()):
        n, k, m = rows.values()
        yield HoldOut("n_k_m", "n, k and m between nodes at once", n | k | m, n & k & m)
    for name, title, octaves, above in (
        ("m_above_1", "m up to an octave above", 1, True),
        ("m_above_2", "m up to two octaves above", 2, True),
        ("m_below_1", "m up to an octave below", 1, False),
    ):
        dropped = _beyond(data, octaves, above=above)
        if dropped.any():
            yield HoldOut(name, title, dropped, dropped)


def every_third(values: NDArray[Any], *, edges: bool = False) -> NDArray[Any]:
    """The third, sixth, ... of the distinct `values`, never the first or the last.

    With `edges`, values closer than 5 % count as one and are taken together.
    """
    distinct = np.unique(values)
    far = np.diff(np.log(distinct)) > (np.log(_ONE_EDGE) if edges else 0.0)
    groups = np.split(distinct, np.flatnonzero(far) + 1)
    return np.concatenate([distinct[:0], *groups[2:-1:3]])


def _beyond(data: DataSet, octaves: int, *, above: bool) -> NDArray[np.bool_]:
    """Rows whose m lies in the outermost `octaves` of their deployment, if two values are left."""
    deployment, m = data.groups(_DEPLOYMENT).codes, data["m"]
    out = np.zeros(len(data), dtype=bool)
    for position in np.unique(deployment):
        own = deployment == position
        values = np.unique(m[own])
        far = values > values[-1] / 2**octaves if above else values < values[0] * 2**octaves
        if (~far).sum() >= 2:
            out |= own & np.isin(m, values[far])
    return out
