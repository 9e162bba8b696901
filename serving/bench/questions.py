"""Questions to measure with: distinct, about deployments that were measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.serving.predictor import Predictor

__all__ = ["answered_questions", "draw_questions"]

_LARGEST = 65_536
_MOST_DRAWS = 20


def draw_questions(
    predictor: Predictor, rng: np.random.Generator, rows: int
) -> dict[str, NDArray[Any]]:
    """Columns [rows] of questions on measured deployments, sizes spread evenly in logarithm."""
    deployments = predictor.bundle.card["deployments"]
    picked = rng.integers(0, len(deployments), rows)
    columns: dict[str, NDArray[Any]] = {}
    for column in predictor.task.inputs:
        if column.kind == "integer":
            values = np.exp(rng.uniform(0.0, np.log(_LARGEST), rows))
            columns[column.name] = values.astype(np.int64)
        elif column.name in deployments[0]:
            texts = [str(deployments[at][column.name]) for at in picked]
            columns[column.name] = np.array(texts, dtype=object)
    return columns


def answered_questions(
    predictor: Predictor, rng: np.random.Generator, rows: int
) -> dict[str, NDArray[Any]]:
    """Model inputs [rows], all different, to each of which the model has a whole answer.

    A server may refuse a question whose answer is withheld, and a refusal takes another time.
    Raises `ValueError` if the model answers too few.
    """
    kept: dict[tuple[Any, ...], None] = {}
    names = predictor.task.input_names
    for _ in range(_MOST_DRAWS):
        feeds = predictor.task.require_valid(draw_questions(predictor, rng, 2 * rows))
        outputs = predictor.session.run(feeds)
        whole = np.logical_and.reduce([np.isfinite(values) for values in outputs.values()])
        found = zip(*(feeds[name][whole].tolist() for name in names), strict=True)
        kept.update(dict.fromkeys(found))
        if len(kept) >= rows:
            columns = zip(*list(kept)[:rows], strict=True)
            return {
                name: np.array(values, dtype=feeds[name].dtype)
                for name, values in zip(names, columns, strict=True)
            }
    raise ValueError(f"{predictor.bundle.name} answers only {len(kept)} of the questions drawn")
