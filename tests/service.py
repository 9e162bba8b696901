"""The whole service on a socket of this machine, for tests that need one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from perfcast.serving.app import create_app
from perfcast.serving.listening import listen
from perfcast.serving.operations.protocol import Connection
from perfcast.settings import Settings


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Serve in a thread while the block runs; gives the address, such as http://127.0.0.1:4711."""
    with listen("127.0.0.1", 0) as listener:
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(settings), http=Connection, log_level="critical", access_log=False
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
