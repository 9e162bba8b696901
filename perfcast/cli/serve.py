"""`perfcast serve`: the service, in this process or in several."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from perfcast.cli.console import Console
from perfcast.cli.options import JSON
from perfcast.errors import NotReady

__all__ = ["serve"]


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on; PERFCAST_HOST or 127.0.0.1.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; PERFCAST_PORT or 8000; 0 picks a free one.",
            show_default=False,
            min=0,
            max=65535,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes that answer; PERFCAST_WORKERS or 1.",
            show_default=False,
            min=1,
            max=256,
        ),
    ] = None,
    json: JSON = False,
) -> int:
    """Serve predictions over REST until interrupted."""
    from perfcast.serving.listening import listen
    from perfcast.serving.operations.workers import run
    from perfcast.serving.store import available
    from perfcast.settings import Settings

    console = Console(json=json)
    settings = Settings.from_env()
    settings = dataclasses.replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        workers=settings.workers if workers is None else workers,
    )
    if not available(settings.models_dir):
        raise NotReady(f"no models in {settings.models_dir}")
    listener = listen(settings.host, settings.port)
    host_part = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host_part}:{listener.getsockname()[1]}"

    def announce() -> None:
        if json:
            console.result({"listening": address})
        else:
            console.show(f"perfcast is listening on {address} (documentation: /docs)")

    with listener:
        run(settings, listener, announce=announce)
    return 0
