"""A bundle's own questions and answers, asked again wherever it is opened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.bundle import Bundle
from perfcast.errors import BundleError, InvalidInput
from perfcast.serving.session import Session
from perfcast.task import Task

__all__ = ["self_test"]

_RELATIVE = 1e-3  # processors round differently; a wrong model is wrong by far more


def self_test(bundle: Bundle, task: Task, session: Session) -> None:
    """Ask the questions in `card["self_test"]["inputs"]` and compare with its `outputs`.

    Both are columns of equal length, null standing for a withheld value. A card without a self
    test passes. Raises `BundleError` naming the first output that differs.
    """
    test = bundle.card.get("self_test")
    if test is None:
        return
    try:
        expected = {
            name: np.array(values, dtype=np.float64) for name, values in test["outputs"].items()
        }
        checked = task.require_valid(test["inputs"])
    except (AttributeError, KeyError, TypeError, ValueError, InvalidInput) as error:
        raise BundleError(f"{bundle.name}: the self-test in its card cannot be read") from error
    answers = session.run(checked)
    for name, values in expected.items():
        if name not in answers or not _agrees(answers[name], values):
            raise BundleError(f"{bundle.name}: the model's {name} differs from its self-test")


def _agrees(found: NDArray[Any], expected: NDArray[np.float64]) -> bool:
    return found.shape == expected.shape and bool(
        np.allclose(found.astype(np.float64), expected, rtol=_RELATIVE, atol=0.0, equal_nan=True)
    )
