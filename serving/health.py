"""Whether the process lives, and whether it is ready for questions; the two are not the same.

A process that is not alive should be started anew. One that is not ready should be left alone, but
sent no questions: it has no model yet, or is finishing what it accepted before it ends.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter

from perfcast.serving import schemas
from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.serving.registry import Registry

__all__ = ["health_router"]

_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": schemas.ErrorBody, "description": "no model is loaded, or shutting down"}
}


def health_router(registry: Registry, lifecycle: Lifecycle) -> APIRouter:
    """`/livez`, `/readyz`, and `/healthz`, which says what `/readyz` says."""
    router = APIRouter(tags=["health"])

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        """200 for as long as requests are read at all."""
        return {"status": "alive"}

    @router.get("/readyz", responses=_NOT_READY)
    @router.get("/healthz", responses=_NOT_READY)
    async def readyz() -> dict[str, object]:
        """200 once models are loaded, 503 before and from the moment of SIGTERM."""
        lifecycle.require_ready()
        return {"status": "ready", "models": [held.bundle.name for held in registry]}

    return router
