"""One training on the tiny campaign, as `perfcast train gemm` does it, and all that it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from perfcast.bundle import Bundle
from perfcast.training.dataset import DataSet
from perfcast.training.gemm import Fit, Options, fit
from perfcast.training.report import Report
from perfcast.training.stages import Stages
from perfcast.training.train_gemm import train_gemm
from tests.training.tiny_campaign import OPTIONS, columns, write

__all__ = ["Trained", "train_tiny"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The bundle is in `models_dir`, the run in the MLflow store at `store`."""

    data: Path
    models_dir: Path
    work: Path
    store: str
    bundle: Bundle
    reports: Mapping[str, Report]
    fit: Fit
    told: tuple[str, ...]


def train_tiny(folder: Path) -> Trained:
    """Train in `folder`, with tracking. Takes some seconds: ask for the fixture instead."""
    data = write(folder / "gemm.parquet", columns())
    store = f"sqlite:///{folder}/tracking.db"
    fits: list[Fit] = []
    told: list[str] = []

    def kept(
        data: DataSet, *, options: Options, stages: Stages, report: Callable[[str], None]
    ) -> Fit:
        fits.append(fit(data, options=options, stages=stages, report=report))
        return fits[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store)
        patch.setattr("perfcast.training.train_gemm.fit", kept)
        bundle, reports = train_gemm(
            data,
            output=folder / "models" / "gemm",
            options=OPTIONS,
            work=folder / "work",
            report=told.append,
        )
    return Trained(
        data=data, models_dir=folder / "models", work=folder / "work", store=store,
        bundle=bundle, reports=reports, fit=fits[0], told=tuple(told),
    )  # fmt: skip
