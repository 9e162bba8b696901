"""What a task tells of itself over REST: its columns, bounds, units and routes.

Forms, clients and the web page are built from this, so nothing here is written by hand: it all
comes from the `Task`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from perfcast.serving.recommendation import QUANTITIES
from perfcast.serving.rooflines import ROOFLINES
from perfcast.serving.shapes import COUNT
from perfcast.task import Input, Output, Task

__all__ = [
    "ChoiceInfo",
    "InputInfo",
    "LimitInfo",
    "OutputInfo",
    "RecommendInfo",
    "RooflineInfo",
    "TaskInfo",
    "can_recommend",
    "input_info",
    "output_info",
    "task_info",
]


class InputInfo(BaseModel):
    """One input column."""

    name: str = Field(examples=["m"])
    kind: Literal["category", "text", "integer"]
    unit: str | None
    required: bool = Field(description="false: may be absent or null; `default` says what then")
    description: str
    example: str | int
    default: str | None
    allowed: list[str] | None = Field(description="every value of a category; null: any")
    minimum: int | None = Field(description="smallest number accepted; null: not a number")
    maximum: int | None


class OutputInfo(BaseModel):
    """One predicted quantity."""

    name: str = Field(examples=["latency_ms"])
    unit: str
    description: str
    interval: bool = Field(
        description="whether <name>_low, <name>_high and <name>_status come with it"
    )
    derived_from: list[str] = Field(
        description="the outputs it is computed from, and worth what the worst of them is worth"
    )


class ChoiceInfo(BaseModel):
    """A list in a recommendation's request that restricts the candidates."""

    name: str = Field(examples=["gpus"])
    input: str = Field(description="the input whose values it lists", examples=["gpu"])


class LimitInfo(BaseModel):
    """A constraint in a recommendation's request."""

    name: str = Field(examples=["max_power_w"])
    output: str = Field(description="the output it bounds", examples=["power_w"])


class RecommendInfo(BaseModel):
    """How a recommendation is asked for."""

    path: str = Field(examples=["/v1/gemm/recommend"])
    shape: list[InputInfo] = Field(description="the numbers in one entry of `shapes`")
    choices: list[ChoiceInfo]
    limits: list[LimitInfo]
    objectives: list[str] = Field(description="outputs it can be ranked by")


class RooflineInfo(BaseModel):
    """Where the data sheet's limit is asked for."""

    path: str = Field(examples=["/v1/gemm/roofline"])
    output: str = Field(description="the output that it bounds from below")


class TaskInfo(BaseModel):
    """A kind of question, and where to ask it."""

    name: str = Field(examples=["gemm"])
    title: str
    inputs: list[InputInfo]
    outputs: list[OutputInfo]
    predict: str = Field(description="path to post questions to", examples=["/v1/gemm/predict"])
    roofline: RooflineInfo | None = Field(description="null: the task has none")
    recommend: RecommendInfo | None = Field(description="null: no recommendations")


def can_recommend(task: Task) -> bool:
    """Whether deployments can be ranked for `task`: it predicts all that rankings go by."""
    return {output.name for output in task.outputs} >= set(QUANTITIES)


def input_info(column: Input) -> InputInfo:
    number = column.kind == "integer"
    return InputInfo(
        name=column.name,
        kind=column.kind,
        unit=column.unit,
        required=column.required,
        description=column.description,
        example=column.example,
        default=column.default_note,
        allowed=list(column.allowed) or None,
        minimum=column.minimum if number else None,
        maximum=column.maximum if number else None,
    )


def output_info(output: Output, task: Task) -> OutputInfo:
    predicted = [other.name for other in task.outputs if other.interval]
    return OutputInfo(
        name=output.name,
        unit=output.unit,
        description=output.description,
        interval=output.interval,
        derived_from=[] if output.interval else list(output.derived_from) or predicted,
    )


def task_info(task: Task) -> TaskInfo:
    """Everything a form for `task` needs."""
    return TaskInfo(
        name=task.name,
        title=task.title,
        inputs=[input_info(column) for column in task.inputs],
        outputs=[output_info(output, task) for output in task.outputs],
        predict=f"/v1/{task.name}/predict",
        roofline=_roofline_info(task) if task.name in ROOFLINES else None,
        recommend=_recommend_info(task) if can_recommend(task) else None,
    )


def _roofline_info(task: Task) -> RooflineInfo:
    return RooflineInfo(path=f"/v1/{task.name}/roofline", output="latency_ms")


def _recommend_info(task: Task) -> RecommendInfo:
    sizes = [column for column in task.inputs if column.kind == "integer"]
    return RecommendInfo(
        path=f"/v1/{task.name}/recommend",
        shape=[input_info(column) for column in (*sizes, COUNT)],
        choices=[
            ChoiceInfo(name=f"{column.name}s", input=column.name)
            for column in task.inputs
            if column.kind == "category"
        ],
        limits=[LimitInfo(name=f"max_{name}", output=name) for name in QUANTITIES],
        objectives=list(QUANTITIES),
    )
