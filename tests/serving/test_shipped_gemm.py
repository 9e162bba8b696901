"""The bundle that ships in models/gemm keeps the whole contract, through every door."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfcast
from perfcast.features.hardware import GPUS
from perfcast.features.tasks import GEMM
from perfcast.prediction import STATUSES, Prediction
from perfcast.serving.predictor import GemmPredictor
from tests.cli.helpers import perfcast as command

MODELS = Path(__file__).parent.parent.parent / "models"
OUT_OF_DOMAIN = STATUSES.index("out_of_domain")


@pytest.fixture(scope="module")
def shipped() -> GemmPredictor:
    return perfcast.load("gemm")


@pytest.fixture(scope="module")
def measured(shipped: GemmPredictor) -> list[dict[str, Any]]:
    """Every deployment in the training data, once, without its versions."""
    found = {
        (each["gpu"], each["framework"], each["dtype"])
        for each in shipped.bundle.card["deployments"]
    }
    return [dict(zip(("gpu", "framework", "dtype"), each, strict=True)) for each in sorted(found)]


def check(answer: Prediction, m: Any, n: Any, k: Any) -> None:
    """What holds for every answer whatever the question."""
    latency, power = answer["latency_ms"], answer["power_w"]
    for estimate in (latency, power):
        assert estimate.low is not None
        assert estimate.high is not None
        withheld = estimate.status == OUT_OF_DOMAIN
        for values in (estimate.value, estimate.low, estimate.high):
            np.testing.assert_array_equal(np.isnan(values), withheld)
            assert (np.isfinite(values) & (values > 0) | withheld).all()
        assert ((estimate.low <= estimate.value) | withheld).all()
        assert ((estimate.value <= estimate.high) | withheld).all()
        assert set(estimate.status.tolist()) <= {0, 1, 2}
    np.testing.assert_array_equal(answer.status, np.maximum(latency.status, power.status))
    np.testing.assert_allclose(
        answer["energy_mj"].value, latency.value * power.value, rtol=1e-5, equal_nan=True
    )
    flops = 2.0 * np.asarray(m, float) * np.asarray(n, float) * np.asarray(k, float)
    np.testing.assert_allclose(
        answer["tflops"].value, flops / latency.value / 1e9, rtol=1e-5, equal_nan=True
    )
    for row in np.flatnonzero(answer.status):
        assert answer.reasons[int(row)], "every answer that is not in_domain says why"


def test_the_card_says_what_programs_rely_on(shipped: GemmPredictor) -> None:
    card = shipped.bundle.card
    assert card["task"] == "gemm"
    assert card["coverage"] == 0.9
    assert 0 < len(card["reasons"]) <= 63
    assert all(isinstance(sentence, str) and sentence for sentence in card["reasons"])
    assert card["self_test"]["inputs"]
    assert card["metrics"]
    assert {each["gpu"] for each in card["deployments"]} <= set(GPUS)


def test_all_models_stay_below_forty_megabytes() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 40e6


def largest_sites(shipped: GemmPredictor, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """n and k within what every one of these deployments was measured at."""
    support = shipped.bundle.card["support"]
    found: dict[str, list[int]] = {"n": [], "k": []}
    for each in asked:
        ranges = [
            facts
            for name, facts in support.items()
            if all(name.split("/")[i] == each[key] for i, key in ((0, "gpu"), (1, "framework")))
            and name.split("/")[3] == each["dtype"]
        ]
        for axis, sizes in found.items():
            sizes.append(min(4096, *(facts[f"max_{axis}"] for facts in ranges), 4096))
    return {axis: np.array(sizes) for axis, sizes in found.items()}


def test_every_measured_deployment_is_answered_in_domain(
    shipped: GemmPredictor, measured: list[dict[str, Any]]
) -> None:
    columns = {name: [each[name] for each in measured] for name in ("gpu", "framework", "dtype")}
    sizes = {"m": np.full(len(measured), 512), **largest_sites(shipped, measured)}
    answer = shipped.predict_columns({**columns, **sizes})
    check(answer, **sizes)
    assert set(answer["latency_ms"].status.tolist()) == {0}


def test_every_gpu_is_answered(shipped: GemmPredictor) -> None:
    sizes = {"m": 4096, "n": 4096, "k": 4096}
    answer = shipped.predict_columns({"gpu": list(GPUS), "dtype": "bfloat16", **sizes})
    check(answer, **sizes)
    assert answer.answered.all()
    known = {each["gpu"] for each in shipped.bundle.card["deployments"]}
    for gpu, status in zip(GPUS, answer["latency_ms"].status.tolist(), strict=True):
        assert (status == 0) == (gpu in known), gpu


def test_answers_are_physical(shipped: GemmPredictor, measured: list[dict[str, Any]]) -> None:
    for name, facts in GPUS.items():
        answer = shipped.predict(gpu=name, dtype="bfloat16", m=8192, n=8192, k=8192)
        assert answer["tflops"].value[0] <= 1.15 * facts.peak_bf16_tflops, name
        assert answer["power_w"].value[0] <= 1.1 * facts.tdp_w, name


def test_what_the_hardware_cannot_do_is_withheld(shipped: GemmPredictor) -> None:
    without = [name for name, facts in GPUS.items() if facts.peak_fp4_tflops is None]
    answer = shipped.predict(gpu=without, dtype="nvfp4", m=64, n=64, k=64)
    check(answer, 64, 64, 64)
    assert set(answer.status.tolist()) == {OUT_OF_DOMAIN}


def test_left_out_means_what_the_task_says(
    shipped: GemmPredictor, measured: list[dict[str, Any]]
) -> None:
    rank = ("vllm", "trtllm", "sglang")
    pairs = {(each["gpu"], each["dtype"]) for each in measured}
    for gpu, dtype in sorted(pairs):
        frameworks = {e["framework"] for e in measured if (e["gpu"], e["dtype"]) == (gpu, dtype)}
        default = next(name for name in rank if name in frameworks)
        question = {"gpu": gpu, "dtype": dtype, "m": 300, "n": 3000, "k": 3000}
        given_none = shipped.predict_columns(question).records()[0]
        given_it = shipped.predict_columns({**question, "framework": default}).records()[0]
        assert given_none == given_it, (gpu, dtype)


def test_every_measured_version_is_answered(shipped: GemmPredictor) -> None:
    deployments = shipped.bundle.card["deployments"]
    names = ("gpu", "framework", "framework_version", "dtype")
    columns = {name: [each[name] for each in deployments] for name in names}
    sizes = {"m": np.full(len(deployments), 512), **largest_sites(shipped, deployments)}
    answer = shipped.predict_columns({**columns, **sizes})
    check(answer, **sizes)
    assert not np.isnan(answer["latency_ms"].value).any()


def test_an_unknown_version_is_never_in_domain(shipped: GemmPredictor) -> None:
    answer = shipped.predict(
        gpu="h200_sxm", framework="vllm", framework_version=["", "99.9"], dtype="fp8",
        m=8, n=8192, k=8192,
    )  # fmt: skip
    check(answer, 8, 8192, 8192)
    assert answer["latency_ms"].status.tolist() == [0, 1]
    found = answer.columns()
    assert found["latency_ms_low"][1] < found["latency_ms_low"][0]
    assert found["latency_ms_high"][1] > found["latency_ms_high"][0]


def test_one_row_and_many_agree(shipped: GemmPredictor, measured: list[dict[str, Any]]) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {**measured[rng.integers(len(measured))], "m": int(m), "n": int(n), "k": int(k)}
        for m, n, k in rng.integers(1, 20_000, (64, 3))
    ]
    together = shipped.predict_columns({name: [row[name] for row in rows] for name in rows[0]})
    for at, row in enumerate(rows):
        alone = shipped.predict_columns(row)
        for name, estimate in alone.estimates.items():
            np.testing.assert_allclose(
                estimate.value[0], together[name].value[at], rtol=1e-5, equal_nan=True
            )
        assert alone.status[0] == together.status[at]


sizes = st.one_of(
    st.integers(1, 64), st.integers(1, 70_000), st.integers(1, GEMM.input("m").maximum)
)


@settings(deadline=None)
@given(
    st.sampled_from(GEMM.input("gpu").allowed),
    st.sampled_from(("", *GEMM.input("framework").allowed)),
    st.sampled_from(GEMM.input("dtype").allowed),
    st.text(max_size=10),
    sizes, sizes, sizes,
)  # fmt: skip
def test_any_valid_question_keeps_the_contract(
    shipped: GemmPredictor, gpu: str, framework: str, dtype: str, version: str,
    m: int, n: int, k: int,
) -> None:  # fmt: skip
    question = {"gpu": gpu, "framework": framework, "dtype": dtype, "m": m, "n": n, "k": k}
    for asked in ("", version if version.isprintable() else ""):
        answer = shipped.predict_columns({**question, "framework_version": asked})
        check(answer, m, n, k)
        json.dumps(answer.records(), allow_nan=False)


def test_recommendations_rank_measured_deployments(shipped: GemmPredictor) -> None:
    found = shipped.recommend([(4096, 4096, 8192, 32), (4096, 28672, 4096)], limit=None)
    assert found.feasible > 20
    assert any(choice.measured for choice in found.choices)
    assert found.pareto_front
    for choice in found.choices:
        assert math.isfinite(choice.latency_ms)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_command_line_answers_with_it() -> None:
    done = command(
        "predict", "gemm", "--gpu", "h200_sxm", "--dtype", "fp8",
        "-m", "4096", "-n", "4096", "-k", "8192", "--json",
    )  # fmt: skip
    assert done.status == 0, done.err
    assert done.json["latency_ms_status"] == "in_domain"
    # power was measured on this GPU, but not in fp8: the row as a whole says so
    assert done.json["status"] == done.json["power_w_status"] == "extrapolated"
    assert done.json["latency_ms_low"] < done.json["latency_ms"] < done.json["latency_ms_high"]
