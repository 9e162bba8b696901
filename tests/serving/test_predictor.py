"""The Python door: questions in any form, answers with intervals, refusals that name everything."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perfcast
from perfcast.bundle import write_bundle
from perfcast.errors import BundleError, InvalidInput, UnknownTask, UnknownValue
from perfcast.features.tasks import GEMM
from perfcast.prediction import STATUSES
from perfcast.serving import predictor as predictor_module
from perfcast.serving.predictor import GemmPredictor
from perfcast.serving.store import available
from tests.standin import (
    BEYOND,
    NO_POWER,
    UNKNOWN_VERSION,
    UNSUPPORTED_DTYPE,
    latency_ms,
    questions,
    standin_card,
    standin_model,
)
from tests.strategies import bad_categories, bad_integers, good_row

ROW: dict[str, Any] = {"gpu": "h200_sxm", "dtype": "fp8", "m": 4096, "n": 4096, "k": 8192}


def test_one_question(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**ROW)
    latency = answer["latency_ms"]
    assert latency.low is not None
    assert latency.high is not None
    assert latency.value.shape == (1,)
    assert latency.value.dtype == np.float64
    assert latency.value[0] == pytest.approx(latency_ms(**ROW), rel=1e-6)
    assert latency.low[0] < latency.value[0] < latency.high[0]
    assert latency.unit == "ms"
    assert answer.status.tolist() == [0]
    assert dict(answer.reasons) == {}
    assert (answer.task, answer.model, answer.coverage) == ("gemm", "gemm@standin", 0.9)


def test_quantities_come_in_the_order_of_the_task(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**ROW)
    assert list(answer.estimates) == [output.name for output in GEMM.outputs]
    assert len(answer.estimates) == len(GEMM.outputs)
    assert {name: e.unit for name, e in answer.estimates.items()} == {
        output.name: output.unit for output in GEMM.outputs
    }
    assert answer["energy_mj"].low is None
    energy = answer["latency_ms"].value * answer["power_w"].value
    assert answer["energy_mj"].value == pytest.approx(energy, rel=1e-6)
    assert "latency_ms" in repr(answer.estimates)


def test_arrays_and_scalars_agree(gemm: GemmPredictor) -> None:
    columns = questions(50)
    together = gemm.predict_columns(columns)
    for row in range(0, 50, 7):
        alone = gemm.predict_columns({k: v.tolist()[row] for k, v in columns.items()})
        assert alone.records()[0] == together.records()[row]


def test_scalars_broadcast(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**{**ROW, "m": [1, 64, 4096]})
    assert len(answer) == 3
    expected = [latency_ms(**{**ROW, "m": m}) for m in (1, 64, 4096)]
    np.testing.assert_allclose(answer["latency_ms"].value, expected, rtol=1e-6)


def test_long_questions_are_cut_and_come_out_the_same(
    gemm: GemmPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = questions(1000)
    whole = gemm.predict_columns(columns).columns()
    monkeypatch.setattr(predictor_module, "CHUNK", 64)
    for name, values in gemm.predict_columns(columns).columns().items():
        np.testing.assert_array_equal(values, whole[name])


def test_no_rows_make_no_answers(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**{**ROW, "m": []})
    assert len(answer) == 0
    assert answer.records() == []
    assert answer["latency_ms"].value.shape == (0,)


def test_extrapolation_says_so(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**{**ROW, "n": 70_000}, framework_version="9.9")
    assert answer.records()[0]["status"] == "extrapolated"
    assert answer.reasons[0] == (UNKNOWN_VERSION, BEYOND)


def test_withheld_answers_are_null(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**{**ROW, "gpu": "a100_sxm", "dtype": "nvfp4"})
    assert np.isnan(answer["latency_ms"].value[0])
    record = answer.records()[0]
    assert record["latency_ms"] is None
    assert record["status"] == "out_of_domain"
    assert record["reasons"] == [UNSUPPORTED_DTYPE]
    assert not answer.answered[0]


def test_power_alone_may_be_withheld(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**{**ROW, "gpu": "l40s"})
    record = answer.records()[0]
    assert record["latency_ms"] is not None
    assert record["latency_ms_status"] == "in_domain"
    assert (record["power_w"], record["energy_mj"]) == (None, None)
    assert record["power_w_status"] == "out_of_domain"
    assert record["status"] == "out_of_domain"
    assert record["reasons"] == [NO_POWER]
    assert answer["tflops"].status[0] == 0, "the rate depends on latency alone"
    assert answer["energy_mj"].status[0] == 2


def test_unknown_values_name_the_nearest(gemm: GemmPredictor) -> None:
    with pytest.raises(UnknownValue, match="did you mean 'h200_sxm'"):
        gemm.predict(**{**ROW, "gpu": "h200"})


def test_misspelt_keywords_name_the_nearest(gemm: GemmPredictor) -> None:
    row = {**ROW, "gpus": "l4"}
    del row["gpu"]
    with pytest.raises(InvalidInput, match="did you mean 'gpu'") as caught:
        gemm.predict(**row)
    assert {problem.field for problem in caught.value.problems} == {"gpu", "gpus"}


def test_positional_arguments_are_not_taken(gemm: GemmPredictor) -> None:
    with pytest.raises(TypeError):
        gemm.predict("h200_sxm", "vllm")  # type: ignore[call-arg]


def test_the_signature_is_the_task() -> None:
    parameters = inspect.signature(GemmPredictor.predict).parameters
    assert tuple(parameters)[1:-1] == GEMM.input_names
    optional = {name for name, p in parameters.items() if p.default is None}
    assert optional == {column.name for column in GEMM.inputs if not column.required}


def test_kept_rows_stay_in_place(gemm: GemmPredictor) -> None:
    columns = {**ROW, "m": [1, 0, 3, None], "gpu": ["l4", "l4", "h2000", 5]}
    answer = gemm.predict(**columns, on_invalid="keep")
    good = gemm.predict(**{**ROW, "m": 1, "gpu": "l4"})
    assert [STATUSES[code] for code in answer.status] == [
        "in_domain", "invalid", "invalid", "invalid",
    ]  # fmt: skip
    assert answer.records()[0] == good.records()[0]
    assert np.isnan(answer["latency_ms"].value[1:]).all()
    assert answer["power_w"].status.tolist() == [0, 3, 3, 3]
    assert answer.reasons[1][0].startswith("m: must be a whole number")
    assert [reason.split(":")[0] for reason in answer.reasons[3]] == ["gpu", "m"]
    assert not answer.answered[1:].any()


def test_more_than_a_hundred_bad_rows_are_kept(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**{**ROW, "m": [0] * 300}, on_invalid="keep")
    assert answer.status.tolist() == [3] * 300
    assert len(answer.reasons) == 300


def test_a_bad_scalar_spoils_every_row(gemm: GemmPredictor) -> None:
    answer = gemm.predict(**{**ROW, "m": [1, 2], "gpu": "x"}, on_invalid="keep")
    assert answer.status.tolist() == [3, 3]


def test_keeping_does_not_forgive_wrong_columns(gemm: GemmPredictor) -> None:
    with pytest.raises(InvalidInput, match="unknown column"):
        gemm.predict_columns({**ROW, "tile": 1}, on_invalid="keep")
    with pytest.raises(InvalidInput, match="lengths differ"):
        gemm.predict(**{**ROW, "m": [1, 2], "n": [1, 2, 3]}, on_invalid="keep")


def test_on_invalid_is_checked(gemm: GemmPredictor) -> None:
    with pytest.raises(InvalidInput, match="on_invalid"):
        gemm.predict(**{**ROW, "m": [1]}, on_invalid="ignore")  # type: ignore[arg-type]


@given(st.sampled_from(("m", "n", "k")), bad_integers)
def test_no_bad_integer_is_answered(gemm: GemmPredictor, name: str, value: Any) -> None:
    with pytest.raises(InvalidInput):
        gemm.predict_columns({**good_row(), name: value})
    kept = gemm.predict_columns({**good_row(), name: [value, 5]}, on_invalid="keep").records()
    assert (kept[0]["status"], kept[0]["latency_ms"]) == ("invalid", None)
    assert kept[1]["latency_ms"] is not None


@given(st.sampled_from(("gpu", "dtype")), bad_categories)
def test_no_bad_category_is_answered(gemm: GemmPredictor, name: str, value: Any) -> None:
    with pytest.raises(InvalidInput):
        gemm.predict_columns({**good_row(), name: value})
    kept = gemm.predict_columns({**good_row(), name: [value]}, on_invalid="keep").records()
    assert (kept[0]["status"], kept[0]["latency_ms"]) == ("invalid", None)


def test_threads_share_a_predictor(gemm: GemmPredictor) -> None:
    columns = questions(500)
    expected = gemm.predict_columns(columns)["latency_ms"].value
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(5):
            found = gemm.predict_columns(columns)["latency_ms"].value
            if not np.array_equal(found, expected, equal_nan=True):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_loading_names_what_there_is(models_dir: Path, tmp_path: Path) -> None:
    assert available(models_dir) == ("gemm",)
    with pytest.raises(UnknownTask, match="did you mean 'gemm'"):
        perfcast.load("gem", models_dir=models_dir)
    with pytest.raises(UnknownTask, match="none is known"):
        perfcast.load("gemm", models_dir=tmp_path)
    with pytest.raises(UnknownTask):
        perfcast.load("../gemm", models_dir=models_dir)


def test_a_bundle_of_another_task_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "gemm", standin_model(), {**standin_card(), "task": "graph"})
    with pytest.raises(BundleError, match="graph"):
        perfcast.load("gemm", models_dir=tmp_path)


def test_it_names_its_bundle(gemm: GemmPredictor) -> None:
    assert repr(gemm) == "GemmPredictor('gemm@standin')"
