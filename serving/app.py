"""The service: `create_app` puts its doors, the error form and the loaded models together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

import perfcast
from perfcast.serving.admin_routes import admin_router
from perfcast.serving.document import DESCRIPTION, install_document
from perfcast.serving.front import Front
from perfcast.serving.health import health_router
from perfcast.serving.oip.app import OpenInference
from perfcast.serving.operations.gate import Gate
from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.serving.operations.metrics import Metrics, Model
from perfcast.serving.operations.sharing import Shared
from perfcast.serving.page import install_page
from perfcast.serving.refusals import install_handlers
from perfcast.serving.registry import Registry
from perfcast.serving.reload import watching
from perfcast.serving.routes import v1_router
from perfcast.serving.tasks_routes import tasks_router
from perfcast.settings import Settings

__all__ = ["create_api", "create_app"]


def create_app(settings: Settings | None = None, *, share: Path | None = None) -> Gate:
    """The service as an ASGI application (default settings: `PERFCAST_*` variables).

    Models load when the application starts, so creating it is cheap. Starting raises `BundleError`
    for a task whose bundles are all damaged; with no bundle at all the service starts and says that
    it is not ready. While it runs, it follows what happens in the models directory. Processes that
    `share` a folder tell each other's metrics beside their own.
    """
    chosen = Settings.from_env() if settings is None else settings
    registry = Registry()
    lifecycle = Lifecycle(lambda: registry.ready)
    metrics = Metrics(
        models=lambda: [Model(held.task.name, held.bundle.version) for held in registry],
        ready=lambda: lifecycle.ready,
    )
    protocol = OpenInference(registry, chosen, ready=lambda: lifecycle.ready)
    return Gate(
        Front(create_api(registry, chosen, lifecycle), {"/v2": protocol}),
        settings=chosen,
        lifecycle=lifecycle,
        metrics=metrics,
        shared=Shared(share, metrics.snapshot),
    )


def create_api(registry: Registry, settings: Settings, lifecycle: Lifecycle) -> FastAPI:
    """What FastAPI answers: typed routes, their document, the page. Keeps `registry` up to date."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        registry.load_all(settings.models_dir)
        async with watching(registry, settings.reload_s):
            yield

    app = FastAPI(
        title="perfcast",
        version=perfcast.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        # a redirection would name whatever host the request claims to be for
        redirect_slashes=False,
    )
    install_handlers(app)
    app.include_router(health_router(registry, lifecycle))
    app.include_router(tasks_router(settings))
    app.include_router(admin_router(registry, settings))
    app.include_router(v1_router(registry, settings))
    install_page(app)
    install_document(app, settings)
    return app
