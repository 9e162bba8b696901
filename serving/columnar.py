"""Columnar JSON: `{"gpu": "h200_sxm", "m": [1, 64], ...}` asks, columns answer.

Many rows say their keys many times; columns say them once, and numbers go from the model's arrays
to text without a Python object for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from perfcast.errors import InvalidInput, Problem, TooLarge
from perfcast.prediction import STATUSES, Prediction, Reasons
from perfcast.serving.body import rows_to_columns
from perfcast.task import Task

__all__ = ["asked_columns", "columns_json"]


def asked_columns(
    task: Task, body: Mapping[str, Any], max_rows: int
) -> tuple[Mapping[str, Any], bool]:
    """The columns that `body` asks about, and whether it was itself columnar.

    `body` is either `{"rows": [...]}` or has columns of `task` as keys, single values standing for
    all rows. Raises what `rows_to_columns` raises, `TooLarge` beyond `max_rows`, and
    `InvalidInput` for both forms at once and for columns without a row.
    """
    if "rows" in body or not body:
        if len(body) > 1:
            mixed = [key for key in body if key != "rows"]
            raise InvalidInput([Problem(key, "give rows or columns, not both") for key in mixed])
        return rows_to_columns(task, body.get("rows"), max_rows), False
    for name, values in body.items():
        if isinstance(values, list):
            if not values:
                raise InvalidInput([Problem(name, "must hold at least one row")])
            if len(values) > max_rows:
                raise TooLarge(f"{len(values)} rows, more than {max_rows} in one request")
    return body, True


def columns_json(prediction: Prediction) -> bytes:
    """The answer in columns: those of `Prediction.records`, null where an answer is withheld."""
    names = np.array(STATUSES, dtype=object)
    columns: dict[str, Any] = {}
    for name, estimate in prediction.estimates.items():
        columns[name] = _short(estimate.value)
        if estimate.low is not None and estimate.high is not None:
            columns[f"{name}_low"] = _short(estimate.low)
            columns[f"{name}_high"] = _short(estimate.high)
    columns["status"] = names[prediction.status].tolist()
    columns["reasons"] = _sentences(prediction.reasons)
    for name, estimate in prediction.estimates.items():
        if estimate.low is not None:
            columns[f"{name}_status"] = names[estimate.status].tolist()
    return orjson.dumps(
        {"model": prediction.model, "coverage": prediction.coverage, "columns": columns},
        option=orjson.OPT_SERIALIZE_NUMPY,  # which writes NaN as null
    )


def _short(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """What the model said, in float32, which prints in as few digits as tell it apart."""
    return values.astype(np.float32)


def _sentences(reasons: Reasons) -> list[tuple[str, ...]]:
    """The sentences of every row, () for none."""
    known: dict[int, tuple[str, ...]] = {}
    bits = reasons.bits.tolist()
    for each in set(bits):
        known[each] = reasons.sentences(each)
    return [known[each] for each in bits]
