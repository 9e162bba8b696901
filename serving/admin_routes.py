"""Management over REST: there only if the settings have a token for it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from perfcast.errors import Unauthorized
from perfcast.serving import schemas
from perfcast.serving.operations.access import holds
from perfcast.serving.registry import Registry
from perfcast.settings import Settings

__all__ = ["Reloaded", "admin_router"]

_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": schemas.ErrorBody, "description": "not with this token"}
}


class Reloaded(BaseModel):
    """What a look at the models directory has changed."""

    loaded: list[str] = Field(description="models that answer now", examples=[["gemm@2"]])
    removed: list[str] = Field(description="models that no longer do")
    refused: dict[str, str] = Field(
        description="what is wrong with bundles that cannot be used, by folder"
    )


def admin_router(registry: Registry, settings: Settings) -> APIRouter:
    """`/v1/admin`; empty without a management token.

    The service's gate asks for the token before a request gets here. It is asked for here as well,
    so that no other way to these routes, now or later, is an open one.
    """
    router = APIRouter(prefix="/v1/admin", tags=["admin"])
    if not settings.management_token:
        return router
    token = settings.management_token.encode()

    @router.post("/reload", response_model=Reloaded, responses=_REFUSALS)
    async def reload(request: Request) -> Response:
        """Look into the models directory now, as the service does by itself now and then.

        Of several worker processes, the one that answers looks; the others follow in their time.
        """
        if not holds(dict(request.scope["headers"]), token):
            raise Unauthorized("this route needs the management token: Authorization: Bearer")
        changes = await asyncio.to_thread(registry.refresh)
        content = {
            "loaded": changes.loaded,
            "removed": changes.removed,
            "refused": dict(changes.refused),
        }
        return Response(orjson.dumps(content), media_type="application/json")

    return router
