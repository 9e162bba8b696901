"""Whether this process is ready to answer, and whether it is on its way out.

Stopping has two steps. At the signal readiness turns 503, so that balancers look elsewhere. A
moment later, when everything sent before the signal has been read, new requests are refused as
well; what was accepted before goes on to its end.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from perfcast.errors import NotReady

__all__ = ["STOPPING", "Lifecycle"]

_GRACE_S: Final = 0.1
"""From the signal to the first refusal: requests already on their way are still accepted."""

STOPPING: Final = "the service is shutting down"


class Lifecycle:
    """The one answer to "are you ready?", shared by every door of a process."""

    def __init__(self, loaded: Callable[[], bool]) -> None:
        """`loaded` tells whether at least one model can answer."""
        self._loaded = loaded
        self._refuses_from = 0.0
        self.stopping = False
        """True from the moment the process was told to stop."""

    @property
    def ready(self) -> bool:
        """Whether new questions are welcome: a model is loaded and nobody asked for the end."""
        return self._loaded() and not self.stopping

    @property
    def refusing(self) -> bool:
        """Whether requests that arrive now are refused."""
        return self.stopping and time.monotonic() >= self._refuses_from

    def require_ready(self) -> None:
        """Raise `NotReady` with the reason unless `ready`."""
        if self.stopping:
            raise NotReady(STOPPING)
        if not self._loaded():
            raise NotReady("no model is loaded")

    def stop(self) -> None:
        """Not ready any more. May be called from a signal handler, and more than once."""
        if not self.stopping:
            self._refuses_from = time.monotonic() + _GRACE_S
            self.stopping = True

    @contextmanager
    def watching_signals(self) -> Iterator[None]:
        """While inside, SIGTERM and SIGINT `stop` first and then do what the server wants.

        Only where a server has handlers of its own, in the main thread: nobody else's are touched.
        """
        replaced: dict[signal.Signals, Callable[[int, FrameType | None], object]] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                before = signal.getsignal(number)
                if callable(before):
                    replaced[number] = before
                    signal.signal(number, self._then(before))
        try:
            yield
        finally:
            for number, before in replaced.items():
                signal.signal(number, before)

    def _then(
        self, before: Callable[[int, FrameType | None], object]
    ) -> Callable[[int, FrameType | None], None]:
        def handle(number: int, frame: FrameType | None) -> None:
            self.stop()
            before(number, frame)

        return handle
