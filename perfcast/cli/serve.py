"""`perfcast serve`: the REST service in this process."""

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
    json: JSON = False,
) -> int:
    """Serve predictions over REST until interrupted."""
    import socket

    import uvicorn

    from perfcast.serving.app import create_app
    from perfcast.serving.listening import listen
    from perfcast.serving.store import available
    from perfcast.settings import Settings

    console = Console(json=json)
    settings = Settings.from_env()
    settings = dataclasses.replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )
    if not available(settings.models_dir):
        raise NotReady(f"no models in {settings.models_dir}")
    listener = listen(settings.host, settings.port)
    host_part = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host_part}:{listener.getsockname()[1]}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                if json:
                    console.result({"listening": address})
                else:
                    console.show(f"perfcast is listening on {address} (documentation: /docs)")

    with listener:
        config = uvicorn.Config(create_app(settings), log_level="warning", access_log=False)
        Server(config).run(sockets=[listener])
    return 0
