"""Routes about the tasks themselves: what may be asked, and what the data sheet alone says."""

from __future__ import annotations

from typing import Any

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from perfcast.errors import UnknownTask
from perfcast.features.tasks import TASKS
from perfcast.features.tasks import task as known_task
from perfcast.prediction import significant
from perfcast.serving import schemas
from perfcast.serving.body import read_object, rows_to_columns
from perfcast.serving.rooflines import ROOFLINES
from perfcast.serving.task_info import TaskInfo, task_info
from perfcast.settings import Settings
from perfcast.task import Task

__all__ = ["RooflineAnswers", "tasks_router"]

_INLINE_ROWS = 512
"""Up to here the answer takes less than handing it to a thread would."""
_REFUSED: dict[int, dict[str, Any]] = {
    404: {"model": schemas.ErrorBody, "description": "no such task"},
    413: {"model": schemas.ErrorBody, "description": "too many rows or bytes"},
    422: {"model": schemas.ErrorBody, "description": "something in the request cannot be used"},
}


class RooflineAnswers(BaseModel):
    """What the data sheet implies, one number per row, in order."""

    roofline_ms: list[float | None] = Field(
        description="time below which the GPU cannot go at its published rates; "
        "null: it has no arithmetic for the dtype"
    )


def tasks_router(settings: Settings) -> APIRouter:
    """`/v1/tasks`, and `/v1/{task}/roofline` for the tasks that have one. Needs no model."""
    router = APIRouter(prefix="/v1")
    infos = {name: task_info(task) for name, task in TASKS.items()}
    listing = orjson.dumps([info.model_dump() for info in infos.values()])

    @router.get("/tasks", response_model=list[TaskInfo], tags=["tasks"])
    async def tasks() -> Response:
        """Every kind of question: input columns with bounds, outputs with units, routes."""
        return _json(listing)

    @router.get(
        "/tasks/{task}", response_model=TaskInfo, responses={404: _REFUSED[404]}, tags=["tasks"]
    )
    async def one_task(task: str) -> Response:
        """One kind of question."""
        return _json(orjson.dumps(infos[known_task(task).name].model_dump()))

    for name in ROOFLINES:
        _add_roofline(router, TASKS[name], settings)

    @router.post("/{task}/roofline", include_in_schema=False)
    async def unknown(task: str) -> Response:
        raise UnknownTask(task, ROOFLINES)

    return router


def _add_roofline(router: APIRouter, task: Task, settings: Settings) -> None:
    async def roofline(request: Request) -> Response:
        body = await read_object(request, settings.max_body_bytes, ("rows",))
        columns = rows_to_columns(task, body.get("rows"), settings.max_rows)

        def answer() -> bytes:
            floor_ms = significant(ROOFLINES[task.name](task.require_valid(columns)))
            # orjson writes NaN as null
            return orjson.dumps({"roofline_ms": floor_ms.tolist()})

        if len(body["rows"]) <= _INLINE_ROWS:
            return _json(answer())
        return _json(await to_thread.run_sync(answer))

    router.add_api_route(
        f"/{task.name}/roofline",
        roofline,
        methods=["POST"],
        operation_id=f"{task.name}_roofline",
        summary="What the hardware's data sheet alone implies",
        description="The roofline for each row: the larger of operations at the peak rate and "
        "bytes at the peak bandwidth. Nothing learned; no model needed.",
        response_model=RooflineAnswers,
        responses={code: _REFUSED[code] for code in (413, 422)},
        openapi_extra=schemas.request_body(
            schemas.predict_request(task), schemas.predict_example(task)
        ),
        tags=[task.name],
    )


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
