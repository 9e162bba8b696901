"""The REST interface's types, generated from each Task, so that one definition drives all doors.

They describe requests and answers in the OpenAPI document. Requests are checked by the Task
itself, which says the same as these and says it the same way in Python, files and REST.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, create_model

from perfcast.prediction import STATUSES
from perfcast.serving.recommendation import Choice, Exclusion, Objective, Withheld
from perfcast.serving.shapes import COUNT
from perfcast.serving.task_info import InputInfo, OutputInfo, input_info, output_info
from perfcast.task import Input, Task

__all__ = [
    "ErrorBody",
    "ModelInfo",
    "answer_model",
    "columns_answer",
    "columns_example",
    "columns_request",
    "either",
    "inline_schema",
    "model_info",
    "predict_example",
    "predict_request",
    "recommend_answer",
    "recommend_example",
    "recommend_request",
    "request_body",
    "row_model",
    "value_schema",
]

_PRINTABLE = r"^(?: |[^\p{C}\p{Z}])*$"
"""What Python calls printable: no control or format characters, and of all spaces only the one."""
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ErrorProblem(BaseModel):
    row: int | None = Field(description="number of the row in the request, from 0")
    field: str
    reason: str


class ErrorDetail(BaseModel):
    type: str = Field(examples=["UnknownValue"])
    message: str
    problems: list[ErrorProblem]


class ErrorBody(BaseModel):
    """What every refused request is answered with."""

    error: ErrorDetail


class ModelInfo(BaseModel):
    """One loaded model and what may be asked of it."""

    name: str = Field(description="the task", examples=["gemm"])
    version: str
    model: str = Field(description="how answers name it", examples=["gemm@1"])
    default: bool = Field(description="whether it answers where no version is asked for")
    created: str | None = Field(description="when it was made, as its card says")
    title: str
    coverage: float = Field(description="nominal coverage of the intervals")
    inputs: list[InputInfo]
    outputs: list[OutputInfo]
    summary: dict[str, Any] = Field(description="headline accuracy, from the model card")


def row_model(task: Task) -> type[BaseModel]:
    """One question."""
    fields: dict[str, Any] = {column.name: _input(column) for column in task.inputs}
    return create_model(f"{_title(task)}Row", __config__=_STRICT, __doc__=task.title, **fields)


def predict_request(task: Task) -> type[BaseModel]:
    """A batch of questions."""
    rows = (_list_of(row_model(task)), Field(min_length=1))
    return create_model(f"{_title(task)}Questions", __config__=_STRICT, rows=rows)


def columns_request(task: Task) -> type[BaseModel]:
    """A batch of questions as columns of equal length; a single value stands for all rows."""
    fields: dict[str, Any] = {}
    for column in task.inputs:
        item = _item(column)
        many: Any = Annotated[_list_of(item), Field(min_length=1)]
        default = ... if column.required else None
        about = f"{_about(column)}; one value, or one for each row"
        fields[column.name] = (item | many, Field(default=default, description=about))
    config = ConfigDict(**_STRICT, json_schema_extra={"examples": [columns_example(task)]})
    return create_model(
        f"{_title(task)}Columns", __config__=config, __doc__=columns_request.__doc__, **fields
    )


def columns_answer(task: Task) -> type[BaseModel]:
    """A batch of answers as columns: those of a row's answer, each a list."""
    row = answer_model(task).model_fields["rows"].annotation
    (answers,) = get_args(row)
    fields: dict[str, Any] = {
        name: (_list_of(field.annotation), Field(description=field.description))
        for name, field in answers.model_fields.items()
        if name != "model"
    }
    columns = create_model(f"{_title(task)}AnswerColumns", **fields)
    return create_model(
        f"{_title(task)}ColumnsAnswer",
        model=(str, ...),
        coverage=(float, ...),
        columns=(columns, ...),
    )


def either(first: type[BaseModel], second: type[BaseModel]) -> type[BaseModel]:
    """What fits one of two models."""
    union: Any = first | second  # type checkers want types written out
    return RootModel[union]


def answer_model(task: Task) -> type[BaseModel]:
    """A batch of answers, one per row, in order."""
    fields: dict[str, Any] = {}
    for output in task.outputs:
        about = f"{output.description} [{output.unit}]; null where withheld"
        fields[output.name] = (float | None, Field(description=about))
        if output.interval:
            for end in ("low", "high"):
                bound = f"{end} end of the interval of {output.name} [{output.unit}]"
                fields[f"{output.name}_{end}"] = (float | None, Field(description=bound))
    status = _one_of(STATUSES)
    fields["status"] = (status, Field(description="worst of the quantities' statuses"))
    fields["reasons"] = (list[str], Field(description="why a row is not in_domain"))
    for output in task.outputs:
        if output.interval:
            fields[f"{output.name}_status"] = (status, ...)
    fields["model"] = (str, ...)
    row = create_model(f"{_title(task)}AnswerRow", **fields)
    rows = (_list_of(row), ...)
    return create_model(
        f"{_title(task)}Answers", model=(str, ...), coverage=(float, ...), rows=rows
    )


def recommend_request(task: Task) -> type[BaseModel]:
    """Shapes, the deployments to consider, and constraints."""
    sizes: dict[str, Any] = {
        column.name: _input(column) for column in task.inputs if column.kind == "integer"
    }
    numbers = tuple(_item(column) for column in task.inputs if column.kind == "integer")
    count = _item(COUNT)
    sizes["count"] = (count, Field(default=1, description=COUNT.description))
    named: Any = create_model(f"{_title(task)}Shape", __config__=_STRICT, **sizes)
    shape = named | GenericAlias(tuple, numbers) | GenericAlias(tuple, (*numbers, count))
    bound = Annotated[float | None, Field(gt=0)]
    choices: dict[str, Any] = {}
    for column in task.inputs:
        if column.kind == "category":
            one = _one_of(column.allowed)
            many: Any = Annotated[_list_of(one), Field(min_length=1)]
            about = f"{column.description}; default: all"
            choices[f"{column.name}s"] = (
                one | many | None,
                Field(default=None, description=about),
            )
    return create_model(
        f"{_title(task)}RecommendRequest",
        __config__=_STRICT,
        shapes=(
            shape | Annotated[_list_of(shape), Field(min_length=1)],
            Field(description="one shape, or many"),
        ),
        **choices,
        max_latency_ms=(bound, Field(default=None, description="for all shapes together [ms]")),
        max_power_w=(bound, Field(default=None, description="mean power [W]")),
        max_energy_mj=(bound, Field(default=None, description="for all shapes together [mJ]")),
        objective=(Objective, "latency_ms"),
        limit=(Annotated[int | None, Field(ge=1)], 10),
    )


def recommend_answer(task: Task) -> type[BaseModel]:
    """A ranking; see `perfcast.serving.recommendation`."""
    return create_model(
        f"{_title(task)}Recommendation",
        task=(str, ...),
        model=(str, ...),
        coverage=(float, ...),
        objective=(Objective, ...),
        shapes=(int, ...),
        considered=(int, ...),
        feasible=(int, ...),
        choices=(list[Choice], ...),
        pareto_front=(list[Choice], ...),
        excluded=(list[Exclusion], ...),
        withheld=(list[Withheld], ...),
        closest_miss=(Choice | None, ...),
        note=(str, ...),
    )


def predict_example(task: Task) -> dict[str, Any]:
    """A request that works."""
    row = {column.name: column.example for column in task.inputs if column.kind != "text"}
    return {"rows": [row]}


def columns_example(task: Task) -> dict[str, Any]:
    """The same for columns: three rows that differ in one of them."""
    (row,) = predict_example(task)["rows"]
    last = [column for column in task.inputs if column.kind == "integer"][-1]
    return {**row, last.name: [1, 64, last.example]}


def recommend_example(task: Task) -> dict[str, Any]:
    """A request that works."""
    shape = {column.name: column.example for column in task.inputs if column.kind == "integer"}
    return {"shapes": [{**shape, "count": 2}], "objective": "energy_mj", "limit": 3}


def model_info(task: Task, card: Mapping[str, Any], *, default: bool) -> dict[str, Any]:
    """What `ModelInfo` describes, for a task and its bundle's card."""
    return {
        "name": task.name,
        "version": str(card["version"]),
        "model": f"{task.name}@{card['version']}",
        "default": default,
        "created": card.get("created"),
        "title": task.title,
        "coverage": card["coverage"],
        "inputs": [input_info(column).model_dump() for column in task.inputs],
        "outputs": [output_info(output, task).model_dump() for output in task.outputs],
        "summary": card.get("summary", {}),
    }


def request_body(
    model: type[BaseModel], example: dict[str, Any], *parameters: dict[str, Any]
) -> dict[str, Any]:
    """What the OpenAPI document says of a body and `parameters` that a route reads by itself."""
    content = {"schema": inline_schema(model), "example": example}
    body = {"required": True, "content": {"application/json": content}}
    return {"requestBody": body, **({"parameters": list(parameters)} if parameters else {})}


def inline_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON schema without references, to stand anywhere in an OpenAPI document."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(definitions[node["$ref"].rsplit("/", 1)[-1]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(item) for item in node] if isinstance(node, list) else node

    inlined: dict[str, Any] = resolved(schema)
    return inlined


def value_schema(column: Input) -> dict[str, Any]:
    """The JSON schema of one value of a column."""
    return TypeAdapter(_item(column)).json_schema()


def _title(task: Task) -> str:
    return task.name.title().replace("_", "")


def _one_of(values: tuple[str, ...]) -> Any:
    literal: Any = Literal  # type checkers want the values written out, which a task cannot
    return literal[values]


def _list_of(kind: Any) -> Any:
    return GenericAlias(list, (kind,))


def _input(column: Input) -> tuple[Any, Any]:
    settings: dict[str, Any] = {} if column.required else {"default": None}
    settings |= {"description": _about(column), "examples": [column.example]}
    return _item(column), Field(**settings)


def _about(column: Input) -> str:
    about = column.description + (f" [{column.unit}]" if column.unit else "")
    return about if column.required else f"{about}; default: {column.default_note}"


def _item(column: Input) -> Any:
    """What one value of a column must be."""
    if column.kind == "integer":
        return Annotated[int, Field(ge=column.minimum, le=column.maximum)]
    kind: Any = Annotated[str, Field(max_length=100, pattern=_PRINTABLE)]
    if column.kind == "category":
        kind = _one_of(column.allowed if column.required else (*column.allowed, ""))
    return kind if column.required else kind | None  # where "" says the same as null
