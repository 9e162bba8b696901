"""What a task tells of itself is what the Task is."""

from __future__ import annotations

import dataclasses

import pytest

from perfcast.features.tasks import GEMM
from perfcast.serving import schemas
from perfcast.serving.task_info import TaskInfo, can_recommend, task_info
from perfcast.task import Input, Output, Task

OTHER = Task(
    name="other",
    title="A task to come",
    inputs=(
        Input(name="chip", kind="category", allowed=("a", "b"), example="a", description="chip"),
        Input(
            name="nodes", kind="integer", example=8, unit="nodes", minimum=2, maximum=9,
            description="nodes of the graph",
        ),
        Input(
            name="note", kind="text", example="x", required=False, default_note="none",
            description="anything",
        ),
    ),
    outputs=(Output(name="latency_ms", unit="ms", description="time", interval=False),),
)  # fmt: skip


def test_inputs_carry_what_a_form_needs() -> None:
    chip, nodes, note = task_info(OTHER).inputs
    assert (chip.kind, chip.allowed, chip.minimum, chip.maximum) == (
        "category", ["a", "b"], None, None,
    )  # fmt: skip
    assert (nodes.kind, nodes.unit, nodes.minimum, nodes.maximum) == ("integer", "nodes", 2, 9)
    assert nodes.allowed is None and nodes.required
    assert (note.required, note.default, note.example) == (False, "none", "x")


def test_every_column_of_gemm_is_told() -> None:
    info = task_info(GEMM)
    for told, column in zip(info.inputs, GEMM.inputs, strict=True):
        for field in ("name", "kind", "unit", "required", "description", "example"):
            assert getattr(told, field) == getattr(column, field)
    for answer, output in zip(info.outputs, GEMM.outputs, strict=True):
        for field in ("name", "unit", "description", "interval"):
            assert getattr(answer, field) == getattr(output, field)
    derived = {answer.name: answer.derived_from for answer in info.outputs}
    assert derived["latency_ms"] == []
    assert derived["energy_mj"] == ["latency_ms", "power_w"]
    assert derived["tflops"] == ["latency_ms"]
    assert TaskInfo.model_validate(info.model_dump()) == info


def test_a_task_says_which_routes_it_has() -> None:
    info = task_info(GEMM)
    assert info.predict == "/v1/gemm/predict"
    assert info.roofline is not None and info.roofline.path == "/v1/gemm/roofline"
    assert info.roofline.output in {output.name for output in GEMM.outputs}
    assert info.recommend is not None and info.recommend.path == "/v1/gemm/recommend"
    other = task_info(OTHER)
    assert (other.roofline, other.recommend) == (None, None)


def test_recommendations_are_described_as_their_schema_is() -> None:
    info = task_info(GEMM).recommend
    assert info is not None
    request = schemas.inline_schema(schemas.recommend_request(GEMM))["properties"]
    told = {choice.name for choice in info.choices} | {limit.name for limit in info.limits}
    assert set(request) == told | {"shapes", "objective", "limit"}
    one = request["shapes"]["anyOf"][0]  # the other forms are short for it
    assert set(one["properties"]) == {column.name for column in info.shape}
    assert request["objective"]["enum"] == info.objectives
    for choice in info.choices:
        assert GEMM.input(choice.input).allowed


@pytest.mark.parametrize("missing", ["latency_ms", "power_w", "energy_mj"])
def test_rankings_need_all_three_quantities(missing: str) -> None:
    assert can_recommend(GEMM)
    left = tuple(output for output in GEMM.outputs if output.name != missing)
    assert not can_recommend(dataclasses.replace(GEMM, outputs=left))
