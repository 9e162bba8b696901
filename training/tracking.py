"""Keeps what every training did in MLflow, and names the best model `champion`.

The default is an SQLite file in the working folder, its artifacts in a folder beside it; the usual
MLFLOW_TRACKING_URI points to a server instead. Artifacts are ONNX, JSON and Markdown: no model
flavour of MLflow is used, since those pickle.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfcast.bundle import CARD_FILE, MODEL_FILE, Bundle
from perfcast.errors import MissingExtra
from perfcast.training.report import Report

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "CHAMPION", "MODEL_TAG", "Champion", "Registration", "TrackedRun", "Tracker", "connect",
    "judge", "tracking_uri",
]  # fmt: skip

DEFAULT_URI = "sqlite:///perfcast-mlflow.db"
CHAMPION = "champion"
MODEL_TAG = "model_sha256"
"""Tag of a run and of a registered version: the hash of its model, kept apart from the file."""
_BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # MLflow's limits for one request
_LONGEST_PARAMETER = 6000


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file of the working folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The registered version that holds the alias: its run, and that run's metrics and tags."""

    version: str
    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What became of a registered version: whether it is the champion now, and why."""

    version: str
    champion: bool
    reason: str


def judge(
    metric: str, value: float, champion: Champion | None, *, tags: Mapping[str, str] | None = None
) -> tuple[bool, str]:
    """Whether a model with `value` of `metric`, where less is better, should be the champion.

    Figures compare only on the same questions: if `tags` name a `split` and the champion was
    scored on another one, it stays. A different data set is said in the reason.
    """
    if not math.isfinite(value):
        return False, f"{metric} is {value}"
    if champion is None:
        return True, "the first of its name"
    own, theirs = dict(tags or {}), champion.tags
    if own.get("split") != theirs.get("split"):
        split, other = own.get("split"), theirs.get("split")
        return False, f"scored on split {split!r}, version {champion.version} on {other!r}"
    if metric not in champion.metrics:
        return False, f"version {champion.version} has no figure for {metric}"
    old = champion.metrics[metric]
    word = "below" if value < old else "not below"
    same = own.get("data_fingerprint") == theirs.get("data_fingerprint")
    note = "" if same else ", on other data"
    return value < old, f"{metric} {value:.4g} {word} {old:.4g} of version {champion.version}{note}"


class TrackedRun:
    """One open run. Everything logged is on disk, or on the server, when the call returns."""

    def __init__(self, client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
        self._client = client
        self.run_id = run_id
        self.tags = dict(tags)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Settings; nested mappings become "outer.inner"."""
        from mlflow.entities import Param

        flat = [
            Param(key, str(value)[:_LONGEST_PARAMETER]) for key, value in _flatten(parameters, "")
        ]
        for batch in _batches(flat, _BATCH["params"]):
            self._client.log_batch(self.run_id, params=batch)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Figures by name, such as `Report.metrics()`; `step` numbers points of one curve."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(key, float(value), now, step) for key, value in metrics.items()]
        for batch in _batches(points, _BATCH["metrics"]):
            self._client.log_batch(self.run_id, metrics=batch)

    def log_report(self, report: Report) -> None:
        """Every figure as a metric, and the report as JSON and Markdown under `reports/`."""
        self.log_metrics(report.metrics())
        name = "".join(c if c.isalnum() or c in "-._" else "_" for c in report.title)
        place = f"reports/{name}-{report.quantity}"
        self._client.log_dict(self.run_id, report.to_dict(), f"{place}.json")
        self._client.log_text(self.run_id, report.to_markdown(), f"{place}.md")

    def log_bundle(self, bundle: Bundle) -> None:
        """The bundle's two files as artifacts under `bundle/`, and its model's hash as a tag."""
        for name in (CARD_FILE, MODEL_FILE):
            self._client.log_artifact(self.run_id, str(bundle.path / name), "bundle")
        self.tags[MODEL_TAG] = bundle.card["model_sha256"]
        self._client.set_tag(self.run_id, MODEL_TAG, self.tags[MODEL_TAG])

    def register(self, model: str, metric: str, value: float) -> Registration:
        """Register this run's bundle as the next version of `model`; `judge` awards the alias.

        `metric` must be among the logged metrics for later versions to be compared with this one.
        """
        from mlflow.exceptions import MlflowException

        champion = _champion(self._client, model)
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        root = self._client.get_run(self.run_id).info.artifact_uri
        created = self._client.create_model_version(
            model, f"{root}/bundle", run_id=self.run_id, tags=self.tags
        )
        better, reason = judge(metric, value, champion, tags=self.tags)
        self._client.set_model_version_tag(model, created.version, "judgement", reason)
        if better:
            self._client.set_registered_model_alias(model, CHAMPION, created.version)
        return Registration(version=str(created.version), champion=better, reason=reason)


class Tracker:
    """An experiment in a tracking store. Raises `MissingExtra` where MLflow is not installed."""

    def __init__(self, *, experiment: str = "perfcast", uri: str | None = None) -> None:
        self.uri = tracking_uri() if uri is None else uri
        self._client = connect(self.uri)
        found = self._client.get_experiment_by_name(experiment)
        self._experiment = (
            self._client.create_experiment(experiment, _artifact_root(self.uri))
            if found is None
            else found.experiment_id
        )

    @contextmanager
    def run(
        self,
        name: str,
        *,
        parameters: Mapping[str, Any],
        data_fingerprint: str,
        split: str,
    ) -> Iterator[TrackedRun]:
        """A run that ends as finished, as failed on an error, or as killed on an interruption.

        `split` names the questions that the run's figures are about, salts and seeds included.
        """
        tags = {"data_fingerprint": data_fingerprint, "split": split}
        created = self._client.create_run(self._experiment, run_name=name, tags=tags)
        run = TrackedRun(self._client, created.info.run_id, tags)
        status = "FAILED"
        try:
            run.log_parameters(parameters)
            yield run
            status = "FINISHED"
        except (KeyboardInterrupt, GeneratorExit):
            status = "KILLED"
            raise
        finally:
            self._client.set_terminated(run.run_id, status)

    def champion(self, model: str) -> Champion | None:
        """The version of `model` that holds the alias, None if there is none."""
        return _champion(self._client, model)


def connect(uri: str) -> MlflowClient:
    """A client of the store at `uri`. Raises `MissingExtra` where MLflow is not installed."""
    # what is trained, and where, is nobody else's business unless the user says so
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "mlflow":
            raise
        raise MissingExtra("mlflow", "train") from error
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _artifact_root(uri: str) -> str | None:
    """For an SQLite file, a folder beside it; a server knows its own place."""
    if not uri.startswith("sqlite:///"):
        return None
    database = Path(uri.removeprefix("sqlite:///")).resolve()
    return database.with_name(f"{database.stem}-artifacts").as_uri()


def _champion(client: MlflowClient, model: str) -> Champion | None:
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version_by_alias(model, CHAMPION)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
    if not version.run_id:  # registered by other means than a run: nothing to compare with
        return Champion(version=str(version.version), run_id="", metrics={}, tags={})
    data = client.get_run(version.run_id).data
    return Champion(
        version=str(version.version),
        run_id=version.run_id,
        metrics=dict(data.metrics),
        tags=dict(data.tags),
    )


def _flatten(parameters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
