"""The typed routes below /v1, generated for every task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request, Response

from perfcast.errors import UnknownTask
from perfcast.features.tasks import TASKS
from perfcast.serving import schemas
from perfcast.serving.body import read_object
from perfcast.serving.columnar import asked_columns, columns_json
from perfcast.serving.engine import INLINE_ROWS
from perfcast.serving.query import VERSION_PARAMETER, asked_version
from perfcast.serving.recommend import recommend
from perfcast.serving.registry import Registry
from perfcast.serving.task_info import can_recommend
from perfcast.settings import Settings
from perfcast.task import Task

__all__ = ["v1_router"]

_RECOMMEND_KEYS = (
    "shapes", "gpus", "frameworks", "dtypes", "max_latency_ms", "max_power_w", "max_energy_mj",
    "objective", "limit",
)  # fmt: skip
_REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": schemas.ErrorBody, "description": "no model answers this task or version"},
    413: {"model": schemas.ErrorBody, "description": "too many rows, bytes or candidates"},
    422: {"model": schemas.ErrorBody, "description": "something in the request cannot be used"},
    503: {"model": schemas.ErrorBody, "description": "no model is loaded"},
}
_R = TypeVar("_R")


def v1_router(registry: Registry, settings: Settings) -> APIRouter:
    """Routes that answer from what `registry` holds at the time of each request."""
    router = APIRouter(prefix="/v1")
    for task in TASKS.values():
        _add_predict(router, task, registry, settings)
        if can_recommend(task):
            _add_recommend(router, task, registry, settings)
    _add_models(router, registry)

    @router.post("/{task}/predict", include_in_schema=False)
    @router.post("/{task}/recommend", include_in_schema=False)
    async def unknown(task: str) -> Response:
        registry.get(task)  # raises NotReady or, with the nearest name, UnknownTask
        raise UnknownTask(task, TASKS)

    return router


def _add_predict(router: APIRouter, task: Task, registry: Registry, settings: Settings) -> None:
    keys = ("rows", *task.input_names)

    async def predict(request: Request) -> Response:
        predictor = registry.get(task.name, asked_version(request))
        body = await read_object(request, settings.max_body_bytes, keys)
        columns, columnar = asked_columns(task, body, settings.max_rows)
        prediction = await predictor.answer_columns(columns)

        def answer() -> bytes:
            if columnar:
                return columns_json(prediction)
            return orjson.dumps(
                {
                    "model": prediction.model,
                    "coverage": prediction.coverage,
                    "rows": prediction.records(),
                }
            )

        return _json(await _run(answer, inline=len(prediction) <= INLINE_ROWS))

    router.add_api_route(
        f"/{task.name}/predict",
        predict,
        methods=["POST"],
        operation_id=f"{task.name}_predict",
        summary=task.title,
        description="Median, interval, status and reasons for each row, in the order of the rows. "
        "Ask in rows and be answered in rows, or ask in columns, where a single value stands for "
        "all rows, and be answered in columns: for many rows that is several times faster.",
        response_model=schemas.answer_model(task) | schemas.columns_answer(task),
        responses=_REFUSALS,
        openapi_extra=schemas.request_body(
            schemas.either(schemas.predict_request(task), schemas.columns_request(task)),
            schemas.predict_example(task),
            VERSION_PARAMETER,
        ),
        tags=[task.name],
    )


def _add_recommend(router: APIRouter, task: Task, registry: Registry, settings: Settings) -> None:
    async def recommend_route(request: Request) -> Response:
        predictor = registry.get(task.name, asked_version(request))
        body = await read_object(request, settings.max_body_bytes, _RECOMMEND_KEYS)

        def answer() -> bytes:
            options = {"shapes": [], **body, "max_candidates": settings.max_candidates}
            return orjson.dumps(recommend(predictor, **options).to_dict())

        return _json(await _run(answer, inline=False))

    router.add_api_route(
        f"/{task.name}/recommend",
        recommend_route,
        methods=["POST"],
        operation_id=f"{task.name}_recommend",
        summary="Rank GPU x framework x dtype for a list of shapes within constraints",
        description=recommend.__doc__,
        response_model=schemas.recommend_answer(task),
        responses=_REFUSALS,
        openapi_extra=schemas.request_body(
            schemas.recommend_request(task), schemas.recommend_example(task), VERSION_PARAMETER
        ),
        tags=[task.name],
    )


def _add_models(router: APIRouter, registry: Registry) -> None:
    @router.get("/models", response_model=list[schemas.ModelInfo], tags=["models"])
    async def models() -> Response:
        """Every loaded version: what may be asked of it, how accurate it is, which is the default.

        The default version of a task comes first.
        """
        listed: list[dict[str, Any]] = []
        for held in registry:
            default = not any(info["name"] == held.task.name for info in listed)
            listed.append(schemas.model_info(held.task, held.bundle.card, default=default))
        return _json(orjson.dumps(listed))

    @router.get(
        "/models/{task}",
        responses={code: _REFUSALS[code] for code in (404, 422, 503)},
        openapi_extra={"parameters": [VERSION_PARAMETER]},
        tags=["models"],
    )
    async def model(request: Request, task: str) -> Response:
        """The whole model card: data, split, metrics by group, calibration, domain."""
        predictor = registry.get(task, asked_version(request))
        return _json(orjson.dumps(dict(predictor.bundle.card)))


async def _run(answer: Callable[[], _R], *, inline: bool) -> _R:
    return answer() if inline else await to_thread.run_sync(answer)


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json")
