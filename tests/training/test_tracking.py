from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from perfcast.bundle import Bundle, write_bundle
from perfcast.errors import MissingExtra
from perfcast.training.dataset import DataSet
from perfcast.training.report import Forecast, Report, evaluate
from perfcast.training.tracking import (
    CHAMPION,
    MODEL_TAG,
    Champion,
    Tracker,
    judge,
    tracking_uri,
)

METRIC = "latency_ms/all/median_ape_percent"


@pytest.fixture(scope="module")
def tracker(store: str) -> Tracker:
    return Tracker(experiment="test", uri=store)


@pytest.fixture(scope="module")
def client(store: str) -> MlflowClient:
    return MlflowClient(tracking_uri=store, registry_uri=store)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    card = {"task": "gemm", "version": "1", "coverage": 0.9, "reasons": [], "deployments": []}
    return write_bundle(tmp_path / "gemm", b"not a real model", card)


def report(data: DataSet, error: float) -> Report:
    truth = data["latency_ms"]
    return evaluate(
        truth, Forecast(truth * (1 + error)), data.categories,
        title="site:a", quantity="latency_ms", baselines={"floor": Forecast(truth / 2)},
    )  # fmt: skip


def test_a_run_keeps_everything(
    tracker: Tracker, client: MlflowClient, data: DataSet, bundle: Bundle, tmp_path: Path
) -> None:
    made = report(data, 0.05)
    write_bundle(bundle.path / "other", b"a version beside it", bundle.card)
    parameters = {"trees": 800, "fit": {"depth": 8, "sizes": [1, 2]}, "long": "x" * 10_000}
    with tracker.run(
        "first", parameters=parameters, data_fingerprint=data.fingerprint(), split="site:a"
    ) as run:
        run.log_report(made)
        run.log_metrics({"loss": 2.0}, step=1)
        run.log_metrics({"loss": 1.0}, step=2)
        run.log_metrics({f"many/{i}": float(i) for i in range(1200)})
        run.log_bundle(bundle)
    kept = client.get_run(run.run_id)
    assert kept.info.status == "FINISHED"
    assert kept.data.params["trees"] == "800"
    assert kept.data.params["fit.depth"] == "8"
    assert kept.data.metrics.items() >= made.metrics().items()
    assert kept.data.metrics["many/1199"] == 1199
    assert [point.value for point in client.get_metric_history(run.run_id, "loss")] == [2, 1]
    assert kept.data.tags["data_fingerprint"] == data.fingerprint()
    folder = Path(client.download_artifacts(run.run_id, "bundle", str(tmp_path)))
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "model.onnx"]
    assert Bundle.open(folder).version == "1"
    text = client.download_artifacts(run.run_id, "reports/site_a-latency_ms.json", str(tmp_path))
    assert json.loads(Path(text).read_text()) == made.to_dict()


def test_only_a_better_model_becomes_champion(
    tracker: Tracker, client: MlflowClient, data: DataSet, bundle: Bundle
) -> None:
    assert tracker.champion("gemm") is None
    outcomes = []
    for error in (0.05, 0.07, 0.03):
        with tracker.run("r", parameters={}, data_fingerprint="f", split="site:a") as run:
            made = report(data, error)
            run.log_report(made)
            run.log_bundle(bundle)
            value = made.row().scores.median_ape_percent
            assert value is not None
            outcomes.append(run.register("gemm", METRIC, value))
    assert [outcome.champion for outcome in outcomes] == [True, False, True]
    assert [outcome.version for outcome in outcomes] == ["1", "2", "3"]
    assert "3 below 5 of version 1" in outcomes[2].reason
    champion = tracker.champion("gemm")
    assert champion is not None and champion.version == "3"
    assert champion.metrics[METRIC] == pytest.approx(3)
    kept = client.get_model_version_by_alias("gemm", CHAMPION)
    assert kept.tags["judgement"] == outcomes[2].reason
    assert str(kept.source).endswith("/bundle")
    assert kept.tags[MODEL_TAG] == bundle.card["model_sha256"]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_cut_short_says_so(
    tracker: Tracker, client: MlflowClient, error: type[BaseException], status: str
) -> None:
    with (
        pytest.raises(error),
        tracker.run("cut", parameters={}, data_fingerprint="f", split="s") as run,
    ):
        raise error
    assert client.get_run(run.run_id).info.status == status


def test_judgement() -> None:
    tags = {"split": "site:a", "data_fingerprint": "f"}
    champion = Champion(version="4", run_id="r", metrics={METRIC: 2.0}, tags=tags)
    assert judge(METRIC, 9.0, None) == (True, "the first of its name")
    assert judge(METRIC, 1.9, champion, tags=tags)[0]
    assert not judge(METRIC, 2.0, champion, tags=tags)[0], "equal is not better"
    assert judge(METRIC, np.nan, None) == (False, f"{METRIC} is nan")
    other_split = {**tags, "split": "site:b"}
    assert judge(METRIC, 1.0, champion, tags=other_split) == (
        False,
        "scored on split 'site:b', version 4 on 'site:a'",
    )
    better, reason = judge(METRIC, 1.0, champion, tags={**tags, "data_fingerprint": "g"})
    assert better and reason.endswith("on other data")
    better, reason = judge("another", 1.0, champion, tags=tags)
    assert not better and "no figure for another" in reason


def test_where_runs_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == "sqlite:///perfcast-mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
    assert tracking_uri() == "http://tracking.example:5000"


def test_without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'perfcast\[train\]'"):
        Tracker(uri="sqlite:///unused.db")
