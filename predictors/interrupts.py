"""Ctrl-C where it must wait: while C code calls back into Python."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_deferred"]


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold SIGINT back until the block is left, and deliver it then.

    xgboost fills a `QuantileDMatrix` through a Python callback. KeyboardInterrupt raised in there
    is swallowed by ctypes, and xgboost goes on with memory nobody filled: the process dies of it,
    or fits the wrong data. Only the main thread gets signals; in others this does nothing.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    caught: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        caught.append(number)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            signal.raise_signal(signal.SIGINT)
