"""Recommendations: every deployment weighed, constraints kept, the front and the miss named."""

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
from perfcast.bundle import write_bundle
from perfcast.errors import InvalidInput, TooLarge, UnknownValue
from perfcast.features.tasks import GEMM
from perfcast.serving.predictor import GemmPredictor
from perfcast.serving.recommend import recommend
from tests.standin import (
    BEYOND,
    NO_POWER,
    NO_POWER_GPU,
    UNSUPPORTED_DTYPE,
    latency_ms,
    standin_card,
    standin_model,
)

SHAPE = (4096, 4096, 8192)
LAYER = [(4096, 4096, 8192, 3), (64, 8192, 1024)]
ALL = math.prod(len(column.allowed) for column in GEMM.inputs if column.allowed)


def test_all_deployments_are_considered_and_ranked(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, limit=None)
    assert found.considered == ALL
    assert found.feasible == len(found.choices)
    assert found.feasible + sum(w.count for w in found.withheld) == ALL
    times = [choice.latency_ms for choice in found.choices]
    assert times == sorted(times)
    best = found.choices[0]
    m, n, k = SHAPE
    expected = latency_ms(gpu=best.gpu, framework=best.framework, dtype=best.dtype, m=m, n=n, k=k)
    assert best.latency_ms == pytest.approx(expected, rel=1e-6)
    assert best.latency_ms_low < best.latency_ms < best.latency_ms_high


def test_a_layer_is_summed_with_its_counts(gemm: GemmPredictor) -> None:
    found = gemm.recommend(LAYER, gpus=["h200_sxm"], frameworks=["vllm"], dtypes=["fp8"])
    assert found.shapes == 2
    (choice,) = found.choices
    answer = gemm.predict(
        gpu="h200_sxm", framework="vllm", dtype="fp8", m=[4096, 64], n=[4096, 8192], k=[8192, 1024]
    )
    latency, power = answer["latency_ms"], answer["power_w"]
    counts = np.array([3, 1])
    total = (latency.value * counts).sum()
    energy = (latency.value * power.value * counts).sum()
    assert choice.latency_ms == pytest.approx(total, rel=1e-6)
    assert choice.energy_mj == pytest.approx(energy, rel=1e-6)
    assert choice.power_w == pytest.approx(energy / total, rel=1e-6)
    assert latency.high is not None
    assert choice.latency_ms_high == pytest.approx((latency.high * counts).sum(), rel=1e-6)
    low, value, high = choice.power_w_low, choice.power_w, choice.power_w_high
    assert low is not None
    assert value is not None
    assert high is not None
    assert low < value < high


@pytest.mark.parametrize("objective", ["latency_ms", "power_w", "energy_mj"])
def test_each_objective_orders_the_choices(gemm: GemmPredictor, objective: Any) -> None:
    found = gemm.recommend(SHAPE, objective=objective, limit=None)
    values = [getattr(choice, objective) for choice in found.choices]
    assert values == sorted(values)
    assert found.objective == objective


def test_constraints_hold_and_say_what_they_excluded(gemm: GemmPredictor) -> None:
    every = gemm.recommend(SHAPE, limit=None)
    found = gemm.recommend(SHAPE, max_power_w=700, max_latency_ms=1.0, limit=None)
    assert found.choices
    for choice in found.choices:
        assert choice.power_w is not None
        assert choice.power_w <= 700
        assert choice.latency_ms <= 1.0
    excluded = {each.constraint: each for each in found.excluded}
    over = [c.power_w for c in every.choices if c.power_w is not None and c.power_w > 700]
    assert excluded["max_power_w"].count == len(over)
    assert excluded["max_power_w"].closest == pytest.approx(min(over), rel=1e-6)
    slow = [c for c in every.choices if c.latency_ms > 1.0]
    assert excluded["max_latency_ms"].count == len(slow)
    unknown = [c for c in every.choices if c.power_w is None]
    assert {c.gpu for c in unknown} == {NO_POWER_GPU}
    assert excluded["power_w"].count == len(unknown)
    assert excluded["power_w"].limit is None


def test_unknown_power_does_not_matter_to_latency(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, gpus=[NO_POWER_GPU], dtypes=["fp8"])
    assert len(found.choices) == 3
    choice = found.choices[0]
    assert (choice.power_w, choice.energy_mj, choice.power_w_high) == (None, None, None)
    assert choice.reasons == (NO_POWER,)
    assert choice.status == "out_of_domain"
    assert not choice.pareto
    assert found.pareto_front == ()


def test_the_front_holds_what_nothing_beats(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, limit=None)

    def costs(choice: Any) -> tuple[float, float, float]:
        return choice.latency_ms, choice.power_w, choice.energy_mj

    known = [choice for choice in found.choices if choice.power_w is not None]
    for choice in known:
        beaten = any(
            all(a <= b for a, b in zip(costs(rival), costs(choice), strict=True))
            and costs(rival) != costs(choice)
            for rival in known
        )
        assert choice.pareto == (not beaten)
    assert found.pareto_front == tuple(choice for choice in known if choice.pareto)
    assert {choice.gpu for choice in found.pareto_front} > {found.choices[0].gpu}


def test_the_limit_cuts_choices_and_not_the_front(gemm: GemmPredictor) -> None:
    whole = gemm.recommend(SHAPE, limit=None)
    cut = gemm.recommend(SHAPE, limit=1)
    assert cut.choices == whole.choices[:1]
    also: Any = 1.0  # which JSON does not tell from 1
    assert gemm.recommend(SHAPE, limit=also).choices == cut.choices
    assert cut.pareto_front == whole.pareto_front
    assert cut.feasible == whole.feasible


def test_what_the_model_withholds_is_counted_with_its_reasons(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, gpus=["a100_sxm"], dtypes=["nvfp4", "bfloat16"])
    assert [(w.count, w.reasons) for w in found.withheld] == [(3, (UNSUPPORTED_DTYPE,))]
    assert {choice.dtype for choice in found.choices} == {"bfloat16"}


def test_the_worst_shape_sets_status_and_reasons(gemm: GemmPredictor) -> None:
    found = gemm.recommend([SHAPE, (1, 100_000, 1)], gpus=["h200_sxm"], dtypes=["fp8"])
    assert {choice.status for choice in found.choices} == {"extrapolated"}
    assert found.choices[0].reasons == (BEYOND,)


def test_measured_deployments_are_marked(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, gpus=["h200_sxm"], dtypes=["fp8"], limit=None)
    assert {(c.framework, c.measured) for c in found.choices} == {
        ("vllm", True), ("trtllm", True), ("sglang", False),
    }  # fmt: skip


def test_when_nothing_fits_the_closest_miss_is_named(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, max_latency_ms=1e-6)
    assert found.choices == ()
    assert found.feasible == 0
    fastest = gemm.recommend(SHAPE, limit=1).choices[0].latency_ms
    assert found.closest_miss is not None
    assert found.closest_miss.latency_ms == fastest


def test_when_nothing_is_known_there_is_no_miss(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, gpus=["a30"], dtypes=["nvfp4"], max_power_w=1)
    assert found.closest_miss is None
    assert found.considered == 3
    assert found.withheld[0].count == 3


def test_everything_is_json_ready(gemm: GemmPredictor) -> None:
    found = gemm.recommend(LAYER, max_power_w=900, gpus=["l40s", "h200_sxm", "a30"])
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read == found.to_dict()
    assert read["choices"] == found.to_records()
    miss = gemm.recommend(SHAPE, max_power_w=1).to_dict()
    assert json.loads(json.dumps(miss, allow_nan=False)) == miss
    assert isinstance(miss["closest_miss"]["reasons"], list)


def test_too_many_candidates_are_refused(gemm: GemmPredictor) -> None:
    with pytest.raises(TooLarge, match=f"{ALL} deployments x 2 shapes = {2 * ALL} candidates"):
        recommend(gemm, LAYER, max_candidates=ALL)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"gpus": ["h200"]}, UnknownValue, "gpus: unknown value 'h200'; did you mean 'h200_sxm'"),
        ({"gpus": []}, InvalidInput, "gpus: must name at least one"),
        ({"gpus": "h200"}, UnknownValue, "gpus: unknown value"),
        ({"gpus": 5}, InvalidInput, "gpus: must be strings, not 5"),
        ({"dtypes": [None]}, InvalidInput, "dtypes: must be strings, not null"),
        ({"frameworks": {"tgi": 1}}, UnknownValue, "frameworks: unknown value 'tgi'"),
        ({"objective": "speed"}, InvalidInput, "must be one of latency_ms, power_w, energy_mj"),
        ({"objective": None}, InvalidInput, "objective"),
        ({"limit": 0}, InvalidInput, "limit: must be a positive whole number, not 0"),
        ({"limit": True}, InvalidInput, "limit"),
        ({"limit": 1.5}, InvalidInput, "limit"),
        ({"max_power_w": 0}, InvalidInput, "max_power_w: must be a positive number, not 0"),
        ({"max_power_w": math.nan}, InvalidInput, "max_power_w"),
        ({"max_energy_mj": math.inf}, InvalidInput, "max_energy_mj"),
        ({"max_latency_ms": "1"}, InvalidInput, "max_latency_ms"),
        ({"max_latency_ms": True}, InvalidInput, "max_latency_ms"),
        ({"max_latency_ms": 10**5000}, InvalidInput, "max_latency_ms"),
    ],
)
def test_refusals(gemm: GemmPredictor, options: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        recommend(gemm, SHAPE, **options)


@settings(deadline=None)
@given(st.floats(1e-3, 1e4), st.floats(1e-2, 1e3), st.floats(1e-3, 1e5))
def test_choices_always_meet_the_constraints(
    gemm: GemmPredictor, power: float, latency: float, energy: float
) -> None:
    found = gemm.recommend(
        SHAPE, max_power_w=power, max_latency_ms=latency, max_energy_mj=energy, limit=None
    )
    for choice in found.choices:
        assert choice.power_w is not None
        assert choice.energy_mj is not None
        assert choice.power_w <= power * (1 + 1e-6)
        assert choice.latency_ms <= latency * (1 + 1e-6)
        assert choice.energy_mj <= energy * (1 + 1e-6)
    assert bool(found.choices) == (found.closest_miss is None)


def test_every_category_may_be_measured_in_other_versions(tmp_path: Path) -> None:
    card = {**standin_card(), "deployments": [{"gpu": "l4", "framework": "vllm", "dtype": "fp8"}]}
    write_bundle(tmp_path / "gemm", standin_model(), card)
    found = perfcast.load("gemm", models_dir=tmp_path).recommend(SHAPE, gpus=["l4"], limit=None)
    assert [(c.framework, c.dtype) for c in found.choices if c.measured] == [("vllm", "fp8")]


@pytest.mark.parametrize("bound", [2**64, 10**300, 1.7e308])
def test_bounds_beyond_everything_exclude_nothing(gemm: GemmPredictor, bound: float) -> None:
    free = gemm.recommend(SHAPE)
    assert gemm.recommend(SHAPE, max_latency_ms=bound).choices == free.choices


def test_bounds_of_next_to_nothing_exclude_everything(gemm: GemmPredictor) -> None:
    found = gemm.recommend(SHAPE, max_latency_ms=5e-324)
    assert found.choices == () and found.feasible == 0
