"""Ready, stopping, refusing: in this order, and only forward."""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from perfcast.errors import NotReady
from perfcast.serving.operations.lifecycle import Lifecycle


def test_ready_while_a_model_is_loaded() -> None:
    models: list[str] = []
    lifecycle = Lifecycle(lambda: bool(models))
    assert not lifecycle.ready
    with pytest.raises(NotReady, match="no model is loaded"):
        lifecycle.require_ready()
    models.append("gemm")
    assert [lifecycle.ready] == [True]
    lifecycle.require_ready()


def test_stopping_is_not_ready_at_once_and_refuses_a_little_later() -> None:
    lifecycle = Lifecycle(lambda: True)
    lifecycle.stop()
    assert not lifecycle.ready
    assert lifecycle.stopping
    with pytest.raises(NotReady, match="shutting down"):
        lifecycle.require_ready()
    pause = threading.Event()
    while not lifecycle.refusing:
        lifecycle.stop()  # a second signal puts nothing off
        pause.wait(0.01)


def test_signals_stop_it_and_go_on_to_the_server() -> None:
    lifecycle = Lifecycle(lambda: True)
    heard: list[int] = []

    def server(number: int, _frame: FrameType | None) -> None:
        assert lifecycle.stopping
        heard.append(number)

    before = signal.signal(signal.SIGTERM, server)
    try:
        with lifecycle.watching_signals():
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is server
    finally:
        signal.signal(signal.SIGTERM, before)


def test_default_handlers_and_other_threads_are_left_alone() -> None:
    lifecycle = Lifecycle(lambda: True)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with lifecycle.watching_signals():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)

    def elsewhere() -> None:
        with lifecycle.watching_signals():
            pass

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert not lifecycle.stopping
