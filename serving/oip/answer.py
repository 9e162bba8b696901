"""What the model said, as the protocol writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from perfcast.errors import AnswerWithheld, Problem
from perfcast.prediction import Reasons
from perfcast.serving.oip.plan import Plan, Wanted

__all__ = ["Answer", "Writer", "datatype_of"]

Headers = list[tuple[bytes, bytes]]

_MOST_ROWS: Final = 4
"""How many withheld rows a refusal names."""


def datatype_of(output: str) -> str:
    """The protocol's type of one of the model's outputs (`perfcast.bundle` has them all)."""
    return "INT64" if output == "reasons" or output.endswith("_status") else "FP32"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response's body, and how long its JSON is if bytes follow it."""

    body: bytes
    json_bytes: int | None

    @property
    def headers(self) -> Headers:
        if self.json_bytes is None:
            return [(b"content-type", b"application/json")]
        return [
            (b"content-type", b"application/octet-stream"),
            (b"inference-header-content-length", b"%d" % self.json_bytes),
        ]


class Writer:
    """Writes the answers to every request with one plan."""

    def __init__(self, plan: Plan, *, name: str, version: str, sentences: Sequence[str]) -> None:
        """`sentences` are the model's reasons by bit."""
        self._plan = plan
        self._sentences = tuple(sentences)
        self._head: dict[str, Any] = {"model_name": name, "model_version": version}
        if plan.id is not None:
            self._head["id"] = plan.id
        self._floats = [
            wanted.name for wanted in plan.outputs if datatype_of(wanted.name) == "FP32"
        ]
        self._shape = [plan.rows, 1] if plan.nested else [plan.rows]
        self._ready: bytes | None = None
        if all(wanted.binary for wanted in plan.outputs):  # then the JSON is the same every time
            self._ready = self._json({})

    def __call__(self, outputs: Mapping[str, NDArray[Any]]) -> Answer:
        """The answer made of the model's `outputs`, each [N].

        Raises `AnswerWithheld` if a wanted one is withheld somewhere and the request did not say
        that it can do with that.
        """
        if not self._plan.keep_withheld:
            self._check(outputs)
        head = self._json(outputs) if self._ready is None else self._ready
        chosen: list[Any] = [outputs[wanted.name] for wanted in self._plan.outputs if wanted.binary]
        return Answer(b"".join((head, *chosen)), len(head) if chosen else None)

    def _json(self, outputs: Mapping[str, NDArray[Any]]) -> bytes:
        described = [self._describe(wanted, outputs) for wanted in self._plan.outputs]
        # orjson writes float32 in as few digits as tell it apart, NaN and infinity as null
        return orjson.dumps({**self._head, "outputs": described}, option=orjson.OPT_SERIALIZE_NUMPY)

    def _describe(self, wanted: Wanted, outputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        datatype = datatype_of(wanted.name)
        described = {"name": wanted.name, "datatype": datatype, "shape": self._shape}
        if not wanted.binary:
            return {**described, "data": outputs[wanted.name]}
        size = self._plan.rows * (8 if datatype == "INT64" else 4)
        return {**described, "parameters": {"binary_data_size": size}}

    def _check(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Raise `AnswerWithheld` if a wanted number is none."""
        if self._plan.rows == 1:  # where calling numpy takes longer than looking
            if all(math.isfinite(outputs[name].item()) for name in self._floats):
                return
        elif all(np.isfinite(outputs[name]).all() for name in self._floats):
            return
        absent = {name: ~np.isfinite(outputs[name]) for name in self._floats}
        rows = np.flatnonzero(np.logical_or.reduce(list(absent.values())))
        reasons = Reasons(outputs["reasons"], self._sentences)
        problems = []
        for row in rows[:_MOST_ROWS].tolist():
            name = next(name for name, missing in absent.items() if missing[row])
            why = "; ".join(reasons.get(row, ("no reason given",)))
            problems.append(Problem(name, f"no answer ({why})", row))
        more = "" if rows.size <= _MOST_ROWS else f", of which there are {rows.size}"
        remedy = f"the parameter {{'withheld': 'nan'}} puts NaN in the place of such answers{more}"
        raise AnswerWithheld([*problems, Problem("outputs", remedy)])
