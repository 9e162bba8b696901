"""The stages of a GEMM fit, the reports on it and the bundle made of it: one tiny training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from perfcast.errors import DataError, ExportMismatch
from perfcast.features.gemm import FLOOR_CONSTANTS
from perfcast.features.hardware import GPUS
from perfcast.features.tasks import GEMM
from perfcast.predictors.boosting import WATCHED_FOLD
from perfcast.predictors.campaign import Campaign, Deployment
from perfcast.predictors.export import to_onnx
from perfcast.predictors.gemm import COLUMNS, GemmTables
from perfcast.predictors.intervals import balanced
from perfcast.predictors.latency import site_folds
from perfcast.training.dataset import DataSet
from perfcast.training.gemm import Fit, newest_positions
from perfcast.training.gemm_bundle import card_of, deployments_of, gate_rows, tables_of
from perfcast.training.gemm_needs import FAMILIES, family, require_enough
from perfcast.training.gemm_report import (
    leave_one_gpu_mape,
    metrics_for_card,
    reports,
)
from perfcast.training.reading import read_data_set
from tests.predictors.campaigns import campaign
from tests.training.tiny_campaign import AXES, DEPLOYMENTS, GAP, OPTIONS, POWERED, truth
from tests.training.trained import Trained

LOG_2 = pytest.approx(math.log(2.0), rel=0.02)  # uint8 steps


@pytest.fixture(scope="module")
def fit(trained: Trained) -> Fit:
    return trained.fit


@pytest.fixture(scope="module")
def tables(fit: Fit) -> GemmTables:
    return tables_of(fit, OPTIONS)


def column(tables: GemmTables, name: str) -> Any:
    return tables.facts[:, COLUMNS.index(name)]


def inside(error: Any, offsets: Any) -> Any:
    return (error >= -offsets[..., 0]) & (error <= offsets[..., 1])


# the fit


def test_the_campaign_and_its_axes(fit: Fit) -> None:
    assert fit.campaign.deployments == DEPLOYMENTS
    assert fit.power.deployments == POWERED
    assert fit.campaign.axes.m.tolist() == AXES.m.tolist()
    for name in "nk":
        *measured, beyond = getattr(fit.campaign.axes, name)
        assert measured == getattr(AXES, name).tolist()
        assert beyond == 16_384, "the next power of two"
    assert fit.coarse[0] == 0 and fit.coarse[-1] == len(AXES.m) - 1


def test_every_node_is_answered(fit: Fit) -> None:
    shape = (len(DEPLOYMENTS), *fit.campaign.axes.shape)
    for values in (fit.log_floor, fit.log_ratio):
        assert values.shape == shape and np.isfinite(values).all()
    assert fit.constants.shape == (len(DEPLOYMENTS), len(FLOOR_CONSTANTS))
    assert (fit.constants > 0).all()
    everybody = len(DEPLOYMENTS) + len(fit.unmeasured)
    assert fit.log_power.shape == (everybody, *shape[1:])
    assert np.isfinite(fit.log_power).all()
    assert fit.offsets.shape == (*shape[:3], len(fit.coarse), 2)
    assert (fit.offsets > 0).all() and (fit.power_offsets > 0).all()
    assert (fit.between_nodes >= 1).all() and (fit.per_octave > 0).all()


def test_errors_are_of_measured_nodes_and_small(fit: Fit) -> None:
    assert np.array_equal(np.isfinite(fit.error), np.isfinite(fit.campaign.values))
    assert np.array_equal(np.isfinite(fit.left_out_offsets[..., 0]), np.isfinite(fit.error))
    assert np.nanmedian(np.abs(fit.error)) < 0.01, "the noise is 0.3 %"
    assert np.array_equal(np.isfinite(fit.power_error), np.isfinite(fit.power.values))
    assert np.nanmedian(np.abs(fit.power_error)) < 0.02, "the noise is 1 %"
    assert 0.002 < np.nanmedian(np.abs(fit.frontier_error)) < 0.05


def test_a_missing_m_is_filled_in(fit: Fit) -> None:
    deployment, m = GAP
    g, h = DEPLOYMENTS.index(deployment), AXES.m.tolist().index(m)
    assert np.isnan(fit.error[g, ..., h]).all()
    found = (fit.log_floor + fit.log_ratio)[g, :-1, :-1, h]
    assert np.abs(found - np.log(truth()[0][g, ..., h])).max() < 0.1


def test_gpus_left_out(fit: Fit) -> None:
    """The newest versions; fp8 under trtllm is on H200 alone."""
    seen = [d for g, d in enumerate(DEPLOYMENTS) if np.isfinite(fit.transfer_error[g]).any()]
    assert seen == [DEPLOYMENTS[i] for i in (0, 1, 2, 4, 6, 7)]
    assert set(fit.power_transfer_errors) == {"b200_sxm", "h200_sxm"}


def test_what_was_not_measured(fit: Fit) -> None:
    assert deployments_of(fit) == (*DEPLOYMENTS, *fit.unmeasured)
    asked = {(d.gpu, d.framework, d.dtype) for d in fit.unmeasured}
    assert not asked & {(d.gpu, d.framework, d.dtype) for d in DEPLOYMENTS}
    assert ("l4", "vllm", "bfloat16") in asked
    assert ("h100_sxm", "trtllm", "fp8") in asked, "its sister was measured"
    assert ("b200_sxm", "trtllm", "fp8") not in asked, "one GPU of another family is no teacher"
    other = [i for i, d in enumerate(fit.unmeasured) if d.gpu == "l40s"]
    latency = np.exp((fit.unmeasured_log_floor + fit.unmeasured_log_ratio)[other, :-1, :-1])
    wanted = truth([fit.unmeasured[i] for i in other])[0]
    assert np.median(np.abs(latency / wanted - 1)) < 0.2


def test_newest_positions() -> None:
    assert newest_positions(DEPLOYMENTS) == [0, 1, 2, 4, 5, 6, 7]
    old, new = (Deployment("l4", "vllm", version, "fp8") for version in ("0.10.0", "0.9.0"))
    assert newest_positions([old, new]) == [0], "0.10.0 is newer than 0.9.0"
    assert newest_positions([]) == []


def test_families() -> None:
    assert {family(gpu) for gpu in GPUS} == set(FAMILIES)
    assert [family(gpu) for gpu in ("h100_sxm", "b200_sxm", "gb300", "a100_sxm", "l4")] == [
        "hopper", "blackwell", "blackwell", "other", "other",
    ]  # fmt: skip


# what a fit needs


def some(deployments: Sequence[Deployment], *, m: int = 2, n: int = 7, k: int = 7) -> Campaign:
    axes = dataclasses.replace(AXES, n=AXES.n[:n], k=AXES.k[:k], m=AXES.m[:m])
    return campaign(deployments, axes)


def test_enough() -> None:
    require_enough(some(DEPLOYMENTS), some(POWERED), folds=5)
    require_enough(some(DEPLOYMENTS[5:6]), some(DEPLOYMENTS[5:6]), folds=2)


@pytest.mark.parametrize(
    ("latency", "power", "message"),
    [
        (some(DEPLOYMENTS, m=1), some(POWERED, m=1), "column m: 1 in every row"),
        (some(DEPLOYMENTS), some(POWERED).select([]), "column power_w: empty in every row"),
        (
            some(DEPLOYMENTS[5:], n=1, k=1), some(POWERED),
            "column latency_ms, hopper GPUs: measured at 1 pairs of n and k only",
        ),
        (some(DEPLOYMENTS), some(POWERED, n=1, k=1), "column power_w: measured at 1 pairs"),
    ],
)  # fmt: skip
def test_too_little(latency: Campaign, power: Campaign, message: str) -> None:
    with pytest.raises(DataError, match=message):
        require_enough(latency, power, folds=5)


# the reports


def judged(fit: Fit) -> Any:
    """Sites [N, K] that count: not those whose fold decided when to stop boosting."""
    return site_folds(fit.campaign.axes, OPTIONS.folds) != WATCHED_FOLD


def test_reports(fit: Fit) -> None:
    found = reports(fit, OPTIONS)
    assert list(found) == ["site", "frontier", "gpu", "version", "power", "power_gpu"]
    sites = int(judged(fit)[: len(AXES.n), : len(AXES.k)].sum())
    assert 0 < sites < 49
    newest = newest_positions(DEPLOYMENTS)
    rows = np.isfinite(fit.error[newest]) & judged(fit)[None, :, :, None]
    site = found["site"].row().scores
    assert site.rows == site.answered == rows.sum()
    stored = fit.log_ratio.astype(np.float16).astype(np.float64)[newest][rows]
    error = np.log(fit.campaign.values[newest][rows]) - fit.log_floor[newest][rows] - stored
    assert site.median_ape_percent == pytest.approx(100 * np.median(np.abs(np.expm1(-error))))
    assert found["site"].row({"gpu": "h100_sxm"}).scores.rows == sites * 9, "0.24.0 alone"
    assert found["power"].quantity == "power_w"
    assert found["power"].row().scores.rows == sites * 9 * 4
    sizes = np.maximum.outer(AXES.n, AXES.k)
    half_octave = np.isin(sizes, (5632, 7680)).sum() * 9
    assert found["frontier"].row({"gpu": "b200_sxm"}).scores.rows == 2 * half_octave
    assert found["gpu"].row().scores.rows == np.isfinite(fit.transfer_error).sum()
    assert found["version"].row().scores.rows == 2 * sites * 9, "each version answers for the other"


@pytest.mark.parametrize("name", ["site", "power"])
def test_reported_coverage_is_nominal(fit: Fit, name: str) -> None:
    scores = reports(fit, OPTIONS)[name].row().scores
    assert scores.coverage_percent is not None
    # sites, not rows, are independent: three binomial deviations over the sites
    assert scores.coverage_percent == pytest.approx(
        90, abs=100 * 3 * math.sqrt(0.09 / judged(fit).sum())
    )


def test_a_report_that_nothing_can_be_part_of_is_left_out(fit: Fit) -> None:
    nothing = np.full_like(fit.error, np.nan)
    found = reports(dataclasses.replace(fit, frontier_error=nothing), OPTIONS)
    assert list(found) == ["site", "gpu", "version", "power", "power_gpu"]
    found = reports(dataclasses.replace(fit, transfer_error=nothing), OPTIONS)
    assert list(found) == ["site", "frontier", "version", "power", "power_gpu"]


def test_leave_one_gpu_mape(fit: Fit) -> None:
    found = reports(fit, OPTIONS)
    mape = leave_one_gpu_mape(found["gpu"])
    gpus = {"h100_sxm", "h200_sxm", "b200_sxm", "a100_sxm"}
    assert mape.keys() == gpus | {"mean"}
    assert mape["mean"] == pytest.approx(np.mean([mape[gpu] for gpu in gpus]))
    g = DEPLOYMENTS.index(Deployment("a100_sxm", "vllm", "0.14.0", "bfloat16"))
    error = fit.transfer_error[g][np.isfinite(fit.transfer_error[g])]
    assert mape["a100_sxm"] == pytest.approx(100 * np.mean(np.abs(np.expm1(-error))))


def test_power_of_gpus_left_out(fit: Fit) -> None:
    found = reports(fit, OPTIONS)["power_gpu"]
    assert [row.values for row in found.rows] == [(), ("b200_sxm",), ("h200_sxm",)]
    for row in found.rows:
        scores = row.scores
        assert scores.rows == 2 * 49 * 9 * (1 if row.values else 2)
        assert 0 < (scores.median_ape_percent or 0) < (scores.p90_ape_percent or 0) < 100
        assert 0 <= (scores.coverage_percent or -1) <= 100
    alone = {"h200_sxm": fit.power_transfer_errors["h200_sxm"]}
    assert "power_gpu" not in reports(
        dataclasses.replace(fit, power_transfer_errors=alone), OPTIONS
    )


def test_the_card_has_no_finest_breakdown(fit: Fit) -> None:
    found = reports(fit, OPTIONS)
    kept = metrics_for_card(found)
    assert kept.keys() == found.keys()
    for name, document in kept.items():
        groups = [row["group"] for row in document["rows"]]
        assert {} in groups and max(map(len, groups)) <= 2
        assert document["rows"][0]["median_ape_percent"] == (
            found[name].row().scores.median_ape_percent
        )
        assert all("baselines" not in row for row in document["rows"])


# the tables and the bundle


def test_tables_move_half_way_to_what_was_measured(fit: Fit, tables: GemmTables) -> None:
    read = tables.log_ratio.unpack()[: len(DEPLOYMENTS)]
    seen = np.isfinite(fit.error)
    left = (np.log(fit.campaign.values) - fit.log_floor - read)[seen]
    assert np.median(np.abs(left) / np.abs(fit.error[seen])) == pytest.approx(0.5, abs=0.05)
    assert read[~seen] == pytest.approx(fit.log_ratio[~seen], abs=2e-3)


def test_tables_hold_ranges_and_limits(tables: GemmTables) -> None:
    assert column(tables, "min_m").tolist() == [1] * len(tables.facts)
    assert set(column(tables, "max_n")) == set(column(tables, "max_k")) == {7680}
    tdp = [GPUS[d.gpu].tdp_w for d in DEPLOYMENTS]
    assert column(tables, "power_limit_w")[: len(tdp)] == pytest.approx(np.array(tdp) * 1.02)
    rows = tables.directory.row
    assert rows.max() == len(tables.facts) - 1 and rows.min() == 0


def test_transferred_intervals_come_from_left_out_gpus(fit: Fit, tables: GemmTables) -> None:
    bfloat16 = [g for g, d in enumerate(DEPLOYMENTS) if d.dtype == "bfloat16"]
    by_gpu = [
        np.concatenate(
            [fit.transfer_error[g].ravel() for g in bfloat16 if DEPLOYMENTS[g].gpu == gpu]
        )
        for gpu in sorted({DEPLOYMENTS[g].gpu for g in bfloat16})
    ]
    error = balanced([e.astype(np.float64) for e in by_gpu])  # every GPU counts alike
    g = len(DEPLOYMENTS) + fit.unmeasured.index(
        next(d for d in fit.unmeasured if (d.gpu, d.dtype) == ("l4", "bfloat16"))
    )
    below, above = np.exp(np.moveaxis(tables.offsets.unpack()[g, ..., 0, :], -1, 0))
    assert np.ptp(below) == np.ptp(above) == 0, "one pair for all shapes"
    assert -below.flat[0] == pytest.approx(np.quantile(error, 0.05), rel=0.05)
    assert above.flat[0] == pytest.approx(np.quantile(error, 0.95), rel=0.05)


def test_other_versions_widen(fit: Fit, tables: GemmTables) -> None:
    """vLLM in bfloat16 has a pair of versions; the rest take the widest there is."""
    column_of = dict(zip((*DEPLOYMENTS, *fit.unmeasured), column(tables, "other_version"),
                         strict=True))  # fmt: skip
    assert set(column_of.values()) == {column_of[DEPLOYMENTS[3]]}
    assert 0 <= column_of[DEPLOYMENTS[3]] < 1


def test_what_could_not_be_tested_claims_a_factor_of_two(fit: Fit) -> None:
    untested = dataclasses.replace(
        fit, transfer_error=np.full_like(fit.transfer_error, np.nan), power_transfer_errors={}
    )
    tables = tables_of(untested, OPTIONS)
    transferred = slice(len(DEPLOYMENTS), None)
    assert np.exp(tables.offsets.unpack()[transferred]) == LOG_2
    unpowered = [g for g, d in enumerate(DEPLOYMENTS) if d not in POWERED]
    assert np.exp(tables.offsets.unpack()[unpowered][..., 1, 0]) == LOG_2


def test_gate_rows(tables: GemmTables) -> None:
    rows = gate_rows(tables, rows=500)
    again = gate_rows(tables, rows=500)
    other = gate_rows(tables, seed=1, rows=500)
    assert tuple(rows) == GEMM.input_names
    assert all(np.array_equal(rows[name], again[name]) for name in rows)
    assert any(not np.array_equal(rows[name], other[name]) for name in rows)
    assert {len(values) for values in rows.values()} == {2000}
    for name in "mnk":
        assert rows[name].min() == 1 and rows[name].max() == 2**24
        nodes = getattr(tables.axes, name).astype(int)
        for near in (-1, 0, 1):
            assert np.isin(np.maximum(nodes + near, 1), rows[name]).all()
    for name, known in tables.directory.names.items():
        assert set(rows[name]) == {*known, "?"}


@pytest.fixture(scope="module")
def measured(trained: Trained) -> DataSet:
    return read_data_set(trained.data, task=GEMM)


def test_no_model_passes_the_gate_that_differs_from_its_tables(
    fit: Fit, tables: GemmTables, measured: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables.log_ratio.table.copy()
    table[1] += np.float16(0.01)
    other = dataclasses.replace(tables.log_ratio, table=table)
    wrong = dataclasses.replace(tables, log_ratio=other)
    monkeypatch.setattr("perfcast.training.gemm_bundle.to_onnx", lambda _: to_onnx(wrong))
    with pytest.raises(ExportMismatch, match="onnxruntime differs by"):
        card_of(fit, measured, tables, options=OPTIONS, provenance={}, reports={})
