"""Runs the service on a listening socket: in this process, or in several that share it.

uvicorn's supervisor starts the workers, replaces one that dies or hangs within a second, and ends
them all on SIGTERM. What it leaves open is closed here: its own copy of the listening socket, in
which connections would otherwise wait for a process that never accepts them.
"""

from __future__ import annotations

import functools
import math
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess

from perfcast.errors import NotReady
from perfcast.serving.operations.logs import log_config
from perfcast.settings import Settings

__all__ = ["run"]

_KEEP_ALIVE_S: Final = 75
"""Longer than balancers keep an idle connection (60 s is usual), so that they close it, not us."""
_START_S: Final = 60.0


def run(settings: Settings, listener: socket.socket, *, announce: Callable[[], None]) -> None:
    """Serve on `listener` until SIGTERM or SIGINT; `announce` is called once requests are answered.

    Raises `NotReady` if a worker cannot start.
    """
    if settings.workers == 1:
        from perfcast.serving.app import create_app

        _Server(_config(settings, create_app(settings)), announce).run(sockets=[listener])
        return
    with tempfile.TemporaryDirectory(prefix="perfcast-") as folder:
        app = functools.partial(_worker_app, settings, Path(folder))
        config = _config(settings, app, factory=True, workers=settings.workers)
        supervisor = _Supervisor(config, [listener], announce)
        supervisor.run()
        if supervisor.failed:
            raise NotReady("a worker could not start; the log says why")


def _worker_app(settings: Settings, share: Path) -> Any:
    """Called in each worker; the parent never imports what only they need."""
    from perfcast.serving.app import create_app

    return create_app(settings, share=share)


def _config(
    settings: Settings, app: Any, *, factory: bool = False, workers: int = 1
) -> uvicorn.Config:
    from perfcast.serving.operations.protocol import Connection

    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        http=Connection,
        ws="none",
        log_config=log_config(settings.log_level, access=settings.access_log),
        access_log=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil((settings.shutdown_ms + settings.drain_ms) / 1e3),
    )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


class _Supervisor(Multiprocess):
    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        super().__init__(config, sockets)
        self._announce = announce

    @property
    def failed(self) -> bool:
        """Whether the end came because a worker could not start."""
        return any(process.exitcode == STARTUP_FAILURE for process in self.processes)

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(_START_S) for process in self.processes):
            self._announce()

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()
