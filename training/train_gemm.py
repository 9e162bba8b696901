"""`perfcast train gemm`: read, fit, report, track, export through the gate, write the bundle."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from perfcast.bundle import Bundle, write_bundle
from perfcast.errors import MissingExtra
from perfcast.features.tasks import GEMM
from perfcast.training.gemm import Fit, Options, fit
from perfcast.training.gemm_bundle import card_of, tables_of
from perfcast.training.gemm_noise import noise_summary
from perfcast.training.gemm_report import (
    leave_one_gpu_mape,
    metrics_for_card,
    reports,
)
from perfcast.training.reading import read_data_set
from perfcast.training.report import Report, Scores
from perfcast.training.stages import Stages
from perfcast.training.tracking import Tracker

__all__ = ["PRIMARY_METRIC", "train_gemm"]

PRIMARY_METRIC = "latency_ms/all/median_ape_percent"
"""What makes one GEMM model better than another: median error over left-out sites."""

_SOURCE = {
    "source": "ai-dynamo/aiconfigurator, aic-core/src/aiconfigurator_core/systems",
    "licence": "Apache-2.0",
    "copyright": "NVIDIA CORPORATION & AFFILIATES",
}


def train_gemm(
    data: Path,
    *,
    output: Path,
    options: Options,
    work: Path,
    track: bool = True,
    report: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> tuple[Bundle, dict[str, Report]]:
    """Train on the measurements in `data` and write the bundle to folder `output`.

    Interrupted, it goes on from the last finished stage kept under `work`; the bundle in `output`
    is replaced only by a whole one. With `track`, MLflow gets the run, its figures and the
    bundle, and the best model so far the alias `champion`. Raises `MissingExtra`, `DataError` for
    data it cannot use, `InvalidInput` for a `work` it cannot use, and `ExportMismatch` if the
    exported model disagrees with the tables. `report` is told what is being done, `progress` how
    many stages of how many are.
    """
    _require_extra()
    report(f"reading {data}")
    measurements = read_data_set(data, task=GEMM)
    report(f"{len(measurements):,} measurements")
    tracker = Tracker() if track else None  # a store that cannot be opened is said now, not later
    fingerprint = measurements.fingerprint()
    key = hashlib.sha256(f"{fingerprint}{json.dumps(asdict(options))}".encode()).hexdigest()
    stages = Stages(work, key=key, report=report, progress=progress)
    fitted = fit(measurements, options=options, stages=stages, report=report)
    found = reports(fitted, options)
    tables = tables_of(fitted, options)
    report("exporting, and comparing onnxruntime with the tables")
    model, card = card_of(
        fitted,
        measurements,
        tables,
        options=options,
        provenance={**_SOURCE, "trained_with": _versions()},
        reports=metrics_for_card(found),
    )
    card["summary"] = _summary(found, fitted, options)
    card["noise"] = noise_summary(fitted)
    bundle = write_bundle(output, model, card)
    if tracker is not None:
        report("recording the run in MLflow")
        with tracker.run(
            f"gemm {bundle.version}",
            parameters=asdict(options),
            data_fingerprint=fingerprint,
            split=f"sites:fold:{options.folds}",
        ) as run:
            run.log_report(found["site"])
            run.log_report(found["power"])
            for name in ("frontier", "gpu", "version", "power_gpu"):
                metrics = found[name].metrics() if name in found else {}
                run.log_metrics({f"{name}/{key}": value for key, value in metrics.items()})
            run.log_metrics({f"seconds/{name}": s for name, s in stages.seconds.items()})
            run.log_bundle(bundle)
            site = found["site"].metrics()[PRIMARY_METRIC]
            registration = run.register(GEMM.name, PRIMARY_METRIC, site)
        verdict = "champion" if registration.champion else "not champion"
        report(f"version {registration.version}: {verdict}, {registration.reason}")
    stages.discard()
    return bundle, found


def _summary(found: dict[str, Report], fitted: Fit, options: Options) -> dict[str, Any]:
    """Headline figures, in percent, every one of them left out; those that nothing could tell are
    not there."""
    nothing = Scores(rows=0, answered=0)
    site, frontier, power = (
        found[name].row().scores if name in found else nothing
        for name in ("site", "frontier", "power")
    )
    mape = leave_one_gpu_mape(found["gpu"]) if "gpu" in found else {}
    figures = {
        "latency_median_error_percent": site.median_ape_percent,
        "latency_p90_error_percent": site.p90_ape_percent,
        "latency_coverage_percent": site.coverage_percent,
        "frontier_median_error_percent": frontier.median_ape_percent,
        "unmeasured_gpu_mean_error_percent": mape.get("mean"),
        "power_median_error_percent": power.median_ape_percent,
        "power_p90_error_percent": power.p90_ape_percent,
        "power_r2": power.r2,
        "measured_deployments": float(len(fitted.campaign.deployments)),
        "nominal_coverage_percent": 100 * options.coverage,
    }
    return {name: round(value, 4) for name, value in figures.items() if value is not None}


def _require_extra() -> None:
    """Raise `MissingExtra` for a package that would be missed only at the end of a long fit."""
    for package in ("scipy", "sklearn", "xgboost", "onnx", "ndonnx", "spox"):
        try:
            import_module(package)
        except ModuleNotFoundError as error:
            raise MissingExtra(package, "train") from error


def _versions() -> dict[str, str]:
    names = ("numpy", "scipy", "scikit-learn", "xgboost", "xgboost-cpu", "ndonnx", "onnxruntime")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
