"""The REST types say what the Task says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from perfcast.features.tasks import GEMM
from perfcast.serving import schemas
from perfcast.serving.predictor import GemmPredictor
from tests.strategies import json_bad_categories, json_bad_integers

Question = schemas.predict_request(GEMM)


def accepted(row: dict[str, Any]) -> bool:
    try:
        Question.model_validate({"rows": [row]})
    except ValidationError:
        return False
    return True


def agreed_by_task(row: dict[str, Any]) -> bool:
    _, problems = GEMM.validate(row)
    return not problems


values = st.one_of(
    json_bad_integers,
    json_bad_categories,
    st.integers(1, 5000),
    st.sampled_from(("h200_sxm", "fp8", "vllm", "1.0")),
)


@given(st.sampled_from(GEMM.input_names), values)
def test_schema_and_task_agree_on_every_value(name: str, value: Any) -> None:
    row = {**schemas.predict_example(GEMM)["rows"][0], name: value}
    listed = {key: [item] for key, item in row.items()}
    # The task alone takes "" for null, as files write it, and 4096.0, a whole number in JSON
    # Schema too; text that cannot be printed is beyond what a schema can say.
    assume(value != "" and not (isinstance(value, float) and value.is_integer()))
    assume(not isinstance(value, str) or value.isprintable())
    assert accepted(row) == agreed_by_task(listed)


def test_unknown_and_missing_keys_are_refused() -> None:
    row = schemas.predict_example(GEMM)["rows"][0]
    assert accepted(row)
    assert not accepted({**row, "tile": 1})
    assert not accepted({key: row[key] for key in row if key != "m"})
    with pytest.raises(ValidationError):
        Question.model_validate({"rows": []})


def test_answers_fit_their_schema(gemm: GemmPredictor) -> None:
    answer = gemm.predict(gpu=["h200_sxm", "l40s"], dtype="fp8", m=8, n=8, k=8)
    body = {"model": answer.model, "coverage": answer.coverage, "rows": answer.records()}
    model = schemas.answer_model(GEMM)
    assert model.model_validate(body).model_dump() == body


def test_recommendations_fit_their_schema(gemm: GemmPredictor) -> None:
    request = schemas.recommend_example(GEMM)
    schemas.recommend_request(GEMM).model_validate(request)
    body = gemm.recommend(**request).to_dict()
    model = schemas.recommend_answer(GEMM)
    assert set(model.model_fields) == set(body)
    model.model_validate(body)


def test_inlined_schemas_hold_no_references() -> None:
    schema = schemas.inline_schema(Question)
    assert "$ref" not in str(schema)
    row = schema["properties"]["rows"]["items"]
    assert row["properties"]["gpu"]["enum"] == list(GEMM.input("gpu").allowed)
    assert row["properties"]["m"]["maximum"] == GEMM.input("m").maximum
    assert row["additionalProperties"] is False
    assert set(row["required"]) == {column.name for column in GEMM.inputs if column.required}


def test_model_info_carries_units_and_defaults() -> None:
    info = schemas.model_info(GEMM, {"version": "3", "coverage": 0.9}, default=True)
    assert (info["model"], info["default"], info["created"]) == ("gemm@3", True, None)
    assert {output["name"]: output["unit"] for output in info["outputs"]} == {
        output.name: output.unit for output in GEMM.outputs
    }
    by_name = {column["name"]: column for column in info["inputs"]}
    assert by_name["m"]["minimum"] == 1
    assert by_name["framework"]["default"] == GEMM.input("framework").default_note
    assert by_name["gpu"]["allowed"] == list(GEMM.input("gpu").allowed)
    assert schemas.ModelInfo.model_validate(info).summary == {}
