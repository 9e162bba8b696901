"""Columns ask and columns answer; they say what rows say."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from perfcast.features.tasks import GEMM
from perfcast.serving import schemas
from perfcast.serving.columnar import columns_json
from perfcast.serving.predictor import GemmPredictor
from tests.conftest import MAX_ROWS
from tests.standin import questions
from tests.strategies import json_bad_categories, json_bad_integers

PREDICT = "/v1/gemm/predict"
COLUMNS: dict[str, Any] = {
    "gpu": ["h200_sxm", "a30", "l40s"],
    "framework": [None, "vllm", "trtllm"],
    "dtype": ["fp8", "nvfp4", "fp8"],
    "m": [1, 64, 4096],
    "n": 4096,
    "k": [64, 128, 70_000],
}


def in_rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    size = max(len(values) for values in columns.values() if isinstance(values, list))
    return [
        {
            name: values[at] if isinstance(values, list) else values
            for name, values in columns.items()
        }
        for at in range(size)
    ]


def problems(client: httpx.Client, body: Any, status: int = 422) -> list[dict[str, Any]]:
    response = client.post(PREDICT, json=body)
    assert response.status_code == status, response.text
    found: list[dict[str, Any]] = response.json()["error"]["problems"]
    return found


def test_columns_say_what_rows_say(client: httpx.Client) -> None:
    by_row = client.post(PREDICT, json={"rows": in_rows(COLUMNS)}).json()
    response = client.post(PREDICT, json=COLUMNS)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["model"], answer["coverage"]) == (by_row["model"], by_row["coverage"])
    assert [*answer["columns"], "model"] == list(by_row["rows"][0])
    for name, values in answer["columns"].items():
        expected = [row[name] for row in by_row["rows"]]
        if isinstance(expected[0], float):
            assert [v is None for v in values] == [v is None for v in expected]
            pairs = zip(values, expected, strict=True)
            assert all(v == pytest.approx(e, rel=1e-6) for v, e in pairs if e is not None)
        else:
            assert values == expected
    assert answer["columns"]["latency_ms"][1] is None
    assert answer["columns"]["reasons"][0] == []


def test_numbers_are_the_models_own(client: httpx.Client, gemm: GemmPredictor) -> None:
    question = questions(1000)
    body = {name: values.tolist() for name, values in question.items()}
    answer = client.post(PREDICT, json=body).json()["columns"]
    expected = gemm.session.run(gemm.task.require_valid(question))
    for name in ("latency_ms", "power_w_low", "tflops"):
        found = np.array(answer[name], dtype=np.float64).astype(np.float32)
        np.testing.assert_array_equal(found, expected[name])


def test_a_question_of_single_values_has_one_row(client: httpx.Client) -> None:
    row = schemas.predict_example(GEMM)["rows"][0]
    columns = client.post(PREDICT, json=row).json()["columns"]
    assert {len(values) for values in columns.values()} == {1}


def test_the_example_works_and_fits_its_schema(client: httpx.Client) -> None:
    example = schemas.columns_example(GEMM)
    request, answer = schemas.columns_request(GEMM), schemas.columns_answer(GEMM)
    request.model_validate(example)
    body = client.post(PREDICT, json=example).json()
    assert answer.model_validate(body).model_dump() == body
    with pytest.raises(ValidationError):
        request.model_validate({**example, "m": []})
    with pytest.raises(ValidationError):
        request.model_validate({**example, "m": [0]})
    with pytest.raises(ValidationError):
        request.model_validate({**example, "tile": 1})


def test_the_document_has_both_forms(client: httpx.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"][PREDICT]["post"]
    rows, columns = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert list(rows["properties"]) == ["rows"]
    assert tuple(columns["properties"]) == GEMM.input_names
    answers = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert len(answers["anyOf"]) == 2


@pytest.mark.parametrize(
    ("change", "row", "field", "reason"),
    [
        ({"m": [1, 0, 1]}, 1, "m", "must be a whole number from 1 to 16777216, not 0"),
        ({"n": 0}, None, "n", "not 0"),
        ({"gpu": ["h200_sxm", "l4", "h200"]}, 2, "gpu", "did you mean 'h200_sxm'"),
        ({"gpu": {"a": 1}}, None, "gpu", "must be a string, not dict"),
        ({"k": [[1], [2], [3]]}, 0, "k", "must be a whole number"),
        ({"k": [1, 2]}, None, "columns", "lengths differ"),
        ({"k": []}, None, "k", "at least one row"),
        ({"tile": 1}, None, "tile", "unknown key"),
        ({"rows": []}, None, "gpu", "rows or columns, not both"),
    ],
)
def test_what_is_wrong_is_named(
    client: httpx.Client, change: dict[str, Any], row: int | None, field: str, reason: str
) -> None:
    first = problems(client, {**COLUMNS, **change})[0]
    assert (first["row"], first["field"]) == (row, field)
    assert reason in first["reason"]


def test_missing_columns_are_named_together(client: httpx.Client) -> None:
    found = problems(client, {"m": [1, 2], "n": 3})
    assert {problem["field"] for problem in found} == {"gpu", "dtype", "k"}


def test_too_many_rows_are_refused(client: httpx.Client) -> None:
    problems(client, {**COLUMNS, "m": [1] * (MAX_ROWS + 1)}, 413)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(GEMM.input_names),
        st.one_of(
            json_bad_integers,
            json_bad_categories,
            st.lists(st.one_of(json_bad_integers, json_bad_categories), max_size=3),
        ),
    )
)
def test_nothing_bad_is_answered(client: httpx.Client, columns: dict[str, Any]) -> None:
    body = {"gpu": "h200_sxm", "dtype": "fp8", "m": 0, "n": 1, "k": 1, **columns}
    body["m"] = 0
    assert client.post(PREDICT, json=body).status_code == 422


def test_nothing_but_null_stands_for_a_withheld_answer(gemm: GemmPredictor) -> None:
    prediction = gemm.predict(gpu="a30", dtype="nvfp4", m=[1, 2], n=64, k=64)
    text = columns_json(prediction)
    assert b'"latency_ms":[null,null]' in text
    assert b"NaN" not in text
