from __future__ import annotations

import signal
import threading
from typing import Any

import numpy as np
import pytest
import xgboost

from perfcast.predictors.interrupts import interrupts_deferred
from tests.predictors.campaigns import boosting


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    done = []

    def interrupted_twice() -> None:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    assert done == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens() -> None:
    with interrupts_deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_errors_pass_and_the_handler_comes_back() -> None:
    with pytest.raises(ValueError, match="mine"), interrupts_deferred():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_own_is_called() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            assert heard == []
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_are_none_of_its_business() -> None:
    done = []

    def work() -> None:
        with interrupts_deferred():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(timeout=30)
    assert done == [signal.default_int_handler]


def test_an_interrupt_while_xgboost_reads_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undeferred, xgboost would go on without the data, and the interrupt would be forgotten."""
    inner = xgboost.data.SingleBatchInternalIter
    read = inner.next
    interrupted: list[bool] = []

    def reading(self: Any, data: Any) -> Any:
        if not interrupted:
            interrupted.append(True)
            signal.raise_signal(signal.SIGINT)
        return read(self, data)

    monkeypatch.setattr(inner, "next", reading)
    X, groups = np.random.default_rng(0).uniform(size=(300, 3)), np.arange(300) % 2
    with pytest.raises(KeyboardInterrupt):
        boosting(folds=2).fit(X, X[:, 0], groups=groups)
    assert interrupted
    boosting(folds=2).fit(X, X[:, 0], groups=groups)
