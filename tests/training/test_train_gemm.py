"""`train_gemm` from measurements to a served, tracked bundle, and what becomes of it cut off."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from mlflow import MlflowClient
from numpy.typing import NDArray

import perfcast
from perfcast.bundle import Bundle, write_bundle
from perfcast.errors import DataError, ExportMismatch, InvalidInput, MissingExtra
from perfcast.features.hardware import GPUS
from perfcast.features.tasks import GEMM
from perfcast.prediction import Prediction
from perfcast.predictors.campaign import Axes, Deployment
from perfcast.predictors.gemm import REASONS
from perfcast.serving.predictor import GemmPredictor
from perfcast.training.evaluate_gemm import evaluate_gemm
from perfcast.training.gemm_needs import FAMILIES
from perfcast.training.reading import read_data_set
from perfcast.training.stages import Stages
from perfcast.training.tracking import CHAMPION
from perfcast.training.train_gemm import PRIMARY_METRIC, train_gemm
from tests.training.tiny_campaign import (
    AXES,
    DEPLOYMENTS,
    GAP,
    OPTIONS,
    POWERED,
    columns,
    truth,
    write,
)
from tests.training.trained import Trained

OLD_CARD = {"task": "gemm", "version": "old", "coverage": 0.9, "reasons": [], "deployments": []}
IN_DOMAIN, EXTRAPOLATED = 0, 1


@pytest.fixture(scope="module")
def predictor(trained: Trained) -> GemmPredictor:
    return perfcast.load("gemm", models_dir=trained.models_dir)


def ask(predictor: GemmPredictor, deployment: Deployment, axes: Axes = AXES) -> Prediction:
    """Every node of `axes`, in C order."""
    n, k, m = (values.ravel() for values in np.meshgrid(axes.n, axes.k, axes.m, indexing="ij"))
    sizes = {"m": m, "n": n, "k": k}
    return predictor.predict_columns(
        {**deployment._asdict(), **{name: size.astype(np.int64) for name, size in sizes.items()}}
    )


def relative(found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.abs(found / wanted.ravel() - 1.0))


# what is served


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids="/".join)
def test_measured_deployments_are_answered_in_domain(
    predictor: GemmPredictor, deployment: Deployment
) -> None:
    latency, power = (values[0] for values in truth([deployment]))
    answer = ask(predictor, deployment)
    found = answer["latency_ms"]
    assert (found.status == IN_DOMAIN).all()
    error = relative(found.value, latency)
    assert np.median(error) < 0.01 and np.quantile(error, 0.9) < 0.03
    assert found.low is not None and found.high is not None
    inside = (found.low <= latency.ravel()) & (latency.ravel() <= found.high)
    assert inside.mean() > 0.85, "the noiseless truth is easier to hold than a measurement"
    watts = answer["power_w"]
    error = relative(watts.value, power)
    if deployment in POWERED:
        assert (watts.status == IN_DOMAIN).all()
        assert np.median(error) < 0.02 and np.quantile(error, 0.9) < 0.06
    else:
        assert (watts.status == EXTRAPOLATED).all()
        assert np.median(error) < 0.15
    assert answer["energy_mj"].value == pytest.approx(found.value * watts.value, rel=1e-5)


def test_the_m_that_was_not_measured(predictor: GemmPredictor) -> None:
    deployment, m = GAP
    axes = replace(AXES, m=np.array([float(m)]))
    answer = ask(predictor, deployment, axes)
    assert relative(answer["latency_ms"].value, truth([deployment], axes)[0]).max() < 0.1


def test_shapes_between_nodes(predictor: GemmPredictor) -> None:
    n, k, m = (768.0, 3000.0), (1536.0, 5000.0), (2.0, 100.0, 3000.0)
    axes = Axes(np.array(n), np.array(k), np.array(m))
    for deployment in DEPLOYMENTS:
        answer = ask(predictor, deployment, axes)
        assert (answer["latency_ms"].status == IN_DOMAIN).all()
        assert relative(answer["latency_ms"].value, truth([deployment], axes)[0]).max() < 0.3


def test_unmeasured_gpus_are_estimated_and_say_so(predictor: GemmPredictor) -> None:
    deployment = Deployment("l40s", "vllm", "", "bfloat16")
    answer = ask(predictor, deployment)
    found = answer["latency_ms"]
    assert (found.status == EXTRAPOLATED).all()
    assert np.median(relative(found.value, truth([deployment])[0])) < 0.2
    assert any("this GPU was not measured" in reason for reason in answer.reasons[0])


def test_defaults_are_the_newest_versions(predictor: GemmPredictor) -> None:
    question = {"dtype": "bfloat16", "m": 64, "n": 4096, "k": 4096}
    for deployment, framework in ((DEPLOYMENTS[4], None), (DEPLOYMENTS[6], "vllm")):
        asked = {"gpu": deployment.gpu, **question}
        default = predictor.predict_columns(
            asked if framework is None else {**asked, "framework": framework}
        )
        named = predictor.predict_columns({**deployment._asdict(), **question})
        assert default["latency_ms"].value == named["latency_ms"].value
    older = predictor.predict_columns({**DEPLOYMENTS[3]._asdict(), **question})
    newest = predictor.predict_columns({**DEPLOYMENTS[4]._asdict(), **question})
    assert older["latency_ms"].value != newest["latency_ms"].value


def test_what_cannot_be_answered_is_withheld(predictor: GemmPredictor) -> None:
    gpus, dtypes = ["h200_sxm", "a100_sxm"], ["int4_wo", "bfloat16"]
    answer = predictor.predict_columns({"gpu": gpus, "dtype": dtypes, "m": 1, "n": 2**20, "k": 1})
    for name in ("latency_ms", "power_w"):
        assert np.isnan(answer[name].value).all()
    (nobody,) = answer.reasons[0]
    assert "nor can they be inferred" in nobody
    assert any("more than 16 times beyond" in reason for reason in answer.reasons[1])


# the card


def test_the_card_keeps_its_promises(trained: Trained) -> None:
    card = trained.bundle.card
    measured = read_data_set(trained.data, task=GEMM)
    assert card["task"] == "gemm"
    assert card["version"].endswith(card["model_sha256"][:8])
    assert card["data"]["sha256"] == measured.fingerprint()
    assert card["data"]["rows"] == len(measured)
    assert card["data"]["licence"] == "Apache-2.0" and card["data"]["source"]
    assert {"python", "numpy", "scikit-learn", "ndonnx"} <= card["data"]["trained_with"].keys()
    assert "2 folds of whole (n, k) pairs" in card["method"]["split"]
    assert card["method"]["options"] == asdict(OPTIONS)
    names = {"site", "frontier", "gpu", "version", "power", "power_gpu"}
    assert card["metrics"].keys() == names
    assert {row["told"] for row in card["noise"]} == {"trtllm", "vllm"}
    assert 0 <= card["parity"]["largest_relative_difference"] <= 1e-4
    assert card["parity"]["rows"] > 10_000
    assert card["reasons"] == list(REASONS)
    assert card["coverage"] == OPTIONS.coverage
    described = [Deployment(*(d[f] for f in Deployment._fields)) for d in card["deployments"]]
    assert tuple(described) == DEPLOYMENTS
    assert [d["power_measured"] for d in card["deployments"]] == [d in POWERED for d in DEPLOYMENTS]
    assert card["support"].keys() == {"/".join(d) for d in DEPLOYMENTS}
    for support in card["support"].values():
        assert (support["min_m"], support["max_m"], support["min_n"], support["max_k"]) == (
            1, 8192, 128, 7680,
        )  # fmt: skip
        assert all(support["wider_between_nodes"][size] >= 1 for size in "nkm")


def test_the_cards_figures_are_the_reports(trained: Trained) -> None:
    card = trained.bundle.card
    for name, report in trained.reports.items():
        stated = card["metrics"][name]["rows"][0]
        assert stated["median_ape_percent"] == report.row().scores.median_ape_percent
    site = trained.reports["site"].row().scores
    assert card["summary"]["latency_median_error_percent"] == round(site.median_ape_percent or 0, 4)
    assert card["summary"].keys() == {
        "latency_median_error_percent", "latency_p90_error_percent", "latency_coverage_percent",
        "frontier_median_error_percent", "unmeasured_gpu_mean_error_percent",
        "power_median_error_percent", "power_p90_error_percent", "power_r2",
        "measured_deployments", "nominal_coverage_percent",
    }  # fmt: skip


def test_the_card_is_strict_json(trained: Trained) -> None:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} in the card")

    text = (trained.bundle.path / "card.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == trained.bundle.card


def test_the_self_test_asks_what_can_be_answered(trained: Trained) -> None:
    test = trained.bundle.card["self_test"]
    assert tuple(test["inputs"]) == GEMM.input_names
    answered = [value for value in test["outputs"]["latency_ms"] if value is not None]
    assert len(answered) >= 3
    assert any(value is None for value in test["outputs"]["latency_ms"])


def test_nothing_is_left_behind(trained: Trained) -> None:
    assert not trained.work.exists()
    assert [path.name for path in trained.models_dir.iterdir()] == ["gemm"]


# cut off and resumed


@dataclass(frozen=True)
class History:
    """A training cut off after its first stage, then failing at the gate, then left alone."""

    output: Path
    work: Path
    kept_first: list[str]
    after_interruption: bytes
    after_failure: bytes
    told: list[str]
    bundle: Bundle


def stop_at(prefix: str) -> Callable[[str], None]:
    def report(line: str) -> None:
        if line.startswith(prefix):
            raise KeyboardInterrupt

    return report


@pytest.fixture(scope="module")
def history(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("history")
    output, work = folder / "models" / "gemm", folder / "work"
    write_bundle(output, b"old", OLD_CARD)

    def train(report: Callable[[str], None]) -> Bundle:
        bundle, _ = train_gemm(
            trained.data, output=output, options=OPTIONS, work=work, report=report
        )
        return bundle

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", trained.store)
        with pytest.raises(KeyboardInterrupt):
            train(stop_at("latency-hopper: "))
        kept_first = sorted(path.name for path in work.iterdir())
        after_interruption = Bundle.open(output).model_path.read_bytes()
        with patch.context() as broken:
            broken.setattr("perfcast.training.gemm_bundle.verify", disagree)
            with pytest.raises(ExportMismatch):
                train(lambda _: None)
        after_failure = Bundle.open(output).model_path.read_bytes()
        told: list[str] = []
        bundle = train(told.append)
    return History(output, work, kept_first, after_interruption, after_failure, told, bundle)


def disagree(*_: object) -> float:
    raise ExportMismatch("made to")


def test_an_interruption_keeps_the_old_bundle_and_the_finished_stage(history: History) -> None:
    assert history.after_interruption == b"old"
    assert history.kept_first == ["key", "latency-hopper.npz"]


def test_a_failure_keeps_the_old_bundle(history: History) -> None:
    assert history.after_failure == b"old"
    assert [path.name for path in history.output.parent.iterdir()] == ["gemm"]


def test_a_resumed_training_makes_the_same_model(history: History, trained: Trained) -> None:
    """Which also says that equal data, options and seed make equal models."""
    resumed = [line for line in history.told if line.endswith(": resumed")]
    stages = ("latency", "intervals")
    assert resumed == [
        *(f"{stage}-{kin}: resumed" for kin in FAMILIES for stage in stages),
        "transfer: resumed", "power: resumed",
    ]  # fmt: skip
    assert history.bundle.card["model_sha256"] == trained.bundle.card["model_sha256"]
    assert Bundle.open(history.output).card["model_sha256"] == trained.bundle.card["model_sha256"]
    assert not history.work.exists()


def test_the_first_interruption_leaves_no_bundle(trained: Trained, tmp_path: Path) -> None:
    """And stages of other data or options are not taken for this training's."""
    work = tmp_path / "work"
    Stages(work, key="other data").run("latency-hopper", lambda: {"error": np.zeros(1)})
    told: list[str] = []

    def report(line: str) -> None:
        told.append(line)
        stop_at("boosting: fold 1")(line)

    with pytest.raises(KeyboardInterrupt):
        train_gemm(
            trained.data, output=tmp_path / "models" / "gemm", options=OPTIONS, work=work,
            track=False, report=report,
        )  # fmt: skip
    assert not any("resumed" in line for line in told)
    assert [path.name for path in work.iterdir()] == ["key"]
    assert not (tmp_path / "models").exists()


# tracking


@pytest.fixture(scope="module")
def client(trained: Trained) -> MlflowClient:
    return MlflowClient(tracking_uri=trained.store, registry_uri=trained.store)


def test_the_run_is_on_record(trained: Trained, client: MlflowClient, tmp_path: Path) -> None:
    run_id = str(client.get_model_version("gemm", "1").run_id)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in asdict(OPTIONS).items()}
    fingerprint = trained.bundle.card["data"]["sha256"]
    assert run.data.tags["data_fingerprint"] == fingerprint
    assert run.data.tags["split"] == "sites:fold:2"
    site = trained.reports["site"].row().scores
    assert run.data.metrics[PRIMARY_METRIC] == pytest.approx(site.median_ape_percent)
    for name in ("frontier", "gpu"):
        scores = trained.reports[name].row().scores
        assert run.data.metrics[f"{name}/{PRIMARY_METRIC}"] == pytest.approx(
            scores.median_ape_percent
        )
    assert run.data.metrics["power_w/gpu/h200_sxm/r2"] > 0.9
    assert run.data.metrics["seconds/latency-hopper"] > 0
    folder = Path(client.download_artifacts(run_id, "bundle", str(tmp_path)))
    assert Bundle.open(folder).card == trained.bundle.card
    assert trained.told[-1] == "version 1: champion, the first of its name"


def test_an_equal_model_is_registered_but_no_champion(
    trained: Trained, history: History, client: MlflowClient
) -> None:
    assert history.told[-1].startswith("version 2: not champion, ")
    assert "not below" in history.told[-1]
    assert {str(v.version) for v in client.search_model_versions("name='gemm'")} == {"1", "2"}
    assert str(client.get_model_version_by_alias("gemm", CHAMPION).version) == "1"
    experiment = client.get_experiment_by_name("perfcast")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 2, "none of a training cut off"


# campaigns that lack something


def test_a_single_gpu_is_enough(tmp_path: Path) -> None:
    """With one deployment's power: what nobody could test claims no more than a factor of two."""
    alone = DEPLOYMENTS[5:]
    data = write(tmp_path / "h200.csv", columns(alone, powered=alone[2:]))
    bundle, found = train_gemm(
        data, output=tmp_path / "models" / "gemm", options=OPTIONS, work=tmp_path / "w", track=False
    )
    assert list(found) == ["site", "frontier", "power"]
    assert "unmeasured_gpu_mean_error_percent" not in bundle.card["summary"]
    assert "power_gpu" not in bundle.card["metrics"]
    predictor = perfcast.load("gemm", models_dir=tmp_path / "models")
    here = ask(predictor, alone[2])
    latency, power = truth(alone[2:])
    assert np.median(relative(here["latency_ms"].value, latency)) < 0.01
    assert np.median(relative(here["power_w"].value, power)) < 0.02
    sister = ask(predictor, Deployment("h100_sxm", "vllm", "", "fp8"))
    for name in ("latency_ms", "power_w"):
        found_ = sister[name]
        assert found_.low is not None and found_.high is not None
        assert (found_.status == EXTRAPOLATED).all()
        assert np.median(found_.value / found_.low) == pytest.approx(2.0, rel=0.05)
    assert (sister["power_w"].value <= GPUS["h100_sxm"].tdp_w * 1.02).all()
    elsewhere = ask(predictor, Deployment("a100_sxm", "", "", "bfloat16"))
    assert np.isnan(elsewhere["latency_ms"].value).all(), "no GPU of its kind was measured"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (columns(powered=()), "column power_w: empty in every row"),
        (columns(axes=replace(AXES, m=AXES.m[:1])), "column m: 1 in every row"),
        (
            columns(axes=replace(AXES, n=AXES.n[:1], k=AXES.k[:1])),
            "column latency_ms, hopper GPUs: measured at 1 pairs of n and k",
        ),
    ],
    ids=["no power", "one m", "one site"],
)
def test_too_little_is_said_before_the_long_part(
    tmp_path: Path, table: dict[str, list[Any]], message: str
) -> None:
    data = write(tmp_path / "gemm.parquet", table)
    told: list[str] = []
    with pytest.raises(DataError, match=message):
        train_gemm(
            data, output=tmp_path / "models" / "gemm", options=OPTIONS, work=tmp_path / "work",
            track=False, report=told.append,
        )  # fmt: skip
    assert [line.split()[0] for line in told] == ["reading", f"{len(table['m']):,}"]
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("package", ["sklearn", "xgboost", "ndonnx", "mlflow"])
def test_a_missing_package_is_said_before_the_long_part(
    package: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/unused.db")
    told: list[str] = []
    with pytest.raises(MissingExtra, match=rf"{package} is not installed.*perfcast\[train\]"):
        train_gemm(
            trained.data, output=tmp_path / "gemm", options=OPTIONS, work=tmp_path / "work",
            report=told.append,
        )  # fmt: skip
    assert not any("calibrating" in line for line in told)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_things_is_no_place_for_stages(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidInput, match="work: "):
        train_gemm(
            trained.data, output=tmp_path / "gemm", options=OPTIONS, work=tmp_path, track=False
        )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


# evaluation


def test_evaluation_scores_a_bundle(trained: Trained) -> None:
    found = evaluate_gemm(trained.data, bundle=trained.bundle)
    assert list(found) == ["latency_ms", "power_w"]
    latency, power = (found[name].row().scores for name in found)
    rows = len(columns()["m"])
    assert (latency.rows, latency.answered) == (rows, rows)
    assert power.rows == 49 * 9 * len(POWERED)
    assert latency.median_ape_percent is not None and latency.median_ape_percent < 1
    assert power.median_ape_percent is not None and power.median_ape_percent < 2
    assert found["latency_ms"].title == f"{trained.bundle.name} on gemm.parquet"
    assert found["latency_ms"].row({"gpu": "a100_sxm"}).scores.rows == 49 * 8


def test_evaluation_in_chunks_is_the_same(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate_gemm(trained.data, bundle=trained.bundle)
    monkeypatch.setattr("perfcast.training.evaluate_gemm.CHUNK", 1000)
    assert evaluate_gemm(trained.data, bundle=trained.bundle) == whole


def test_evaluation_without_power(trained: Trained, tmp_path: Path) -> None:
    data = write(tmp_path / "new.csv", columns(DEPLOYMENTS[:1], powered=()))
    assert list(evaluate_gemm(data, bundle=trained.bundle)) == ["latency_ms"]


def test_evaluation_of_what_the_model_withholds(trained: Trained, tmp_path: Path) -> None:
    unknown = Deployment("h200_sxm", "sglang", "0.5.8", "fp8_block")
    data = write(tmp_path / "new.parquet", columns([unknown], powered=()))
    scores = evaluate_gemm(data, bundle=trained.bundle)["latency_ms"].row().scores
    assert scores.answered == 0 and scores.rows == 49 * 9
