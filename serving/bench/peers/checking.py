"""Nobody is measured whose answers are not the model's."""

from __future__ import annotations

import http.client
from collections.abc import Sequence

import numpy as np

from perfcast.serving.bench.peers.long import ask
from perfcast.serving.bench.peers.requests import FORMS, Columns
from perfcast.serving.predictor import Predictor

__all__ = ["WrongAnswer", "check_answers", "check_server"]


class WrongAnswer(Exception):
    """A server's answer is not the model's, or is none."""


def check_server(
    predictor: Predictor, who: str, port: int, path: str, form: str, questions: Sequence[Columns]
) -> None:
    """Ask each of `questions` in `form`, and compare. Raises `WrongAnswer`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        for columns in questions:
            sent = FORMS[form].write(columns)
            answered = FORMS[form].read(*ask(connection, path, sent.body, sent.headers))
            check_answers(who, answered, predictor.session.run(columns))
    except (ValueError, KeyError) as error:
        raise WrongAnswer(f"{who}: {error}") from error
    finally:
        connection.close()


def check_answers(who: str, answered: Columns, expected: Columns) -> None:
    """Compare outputs, each [N]; statuses and reasons may be absent, where words stand for them.

    Raises `WrongAnswer` with the first that differs by more than writing float32 out can explain.
    """
    for name, values in expected.items():
        if name not in answered:
            if values.dtype.kind == "f":
                raise WrongAnswer(f"{who}: no {name} in the answer")
        elif not np.allclose(answered[name], values, rtol=1e-6, atol=0.0):
            raise WrongAnswer(f"{who}: {name} is {answered[name][:3]}, the model says {values[:3]}")
