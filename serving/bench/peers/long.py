"""One long request, against the bare onnxruntime call on the same rows."""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perfcast.serving.bench.peers.requests import FORMS, Columns
from perfcast.serving.predictor import Predictor

__all__ = ["ROWS", "LongFigures", "ask", "measure_long"]

ROWS: Final = 10_000
_WARM_UP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LongFigures:
    """Medians in milliseconds, from the first byte sent to the last received.

    `others`: processors that others kept busy meanwhile.
    """

    rows: int
    repeats: int
    answer_ms: float
    bare_ms: float
    request_bytes: int
    response_bytes: int
    others: float | None

    @property
    def ratio(self) -> float:
        return self.answer_ms / self.bare_ms

    def to_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "repeats": self.repeats,
            "answer_ms": self.answer_ms,
            "session_run_ms": self.bare_ms,
            "ratio": self.ratio,
            "request_bytes": self.request_bytes,
            "response_bytes": self.response_bytes,
            "others": self.others,
        }


def ask(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[dict[str, str], bytes]:
    """The headers (names in lower case) and body of the answer. Raises `ValueError` unless 200."""
    connection.request("POST", path, body, dict(headers))
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise ValueError(f"{path} answered {response.status}: {content[:500]!r}")
    return {name.lower(): value for name, value in response.getheaders()}, content


def measure_long(
    predictor: Predictor,
    port: int,
    questions: Sequence[Columns],
    *,
    paths: Mapping[str, str],
    repeats: int,
    others: Callable[[Callable[[], None]], float | None],
) -> dict[str, LongFigures]:
    """Time a request with each of `questions` in each form of `paths`, and the bare call.

    All take turns, so that a noisy machine disturbs them alike, and each repeat has other rows
    than the one before. `others` runs what it is given and says how busy the machine was besides.
    """
    sent = {form: [FORMS[form].write(columns) for columns in questions] for form in paths}
    sizes: dict[str, int] = {}
    bare: list[float] = []
    times: dict[str, list[float]] = {form: [] for form in paths}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def measure() -> None:
        for repeat in range(repeats + _WARM_UP):
            at = repeat % len(questions)
            start = time.perf_counter()
            predictor.session.runtime.run(None, questions[at])
            bare.append(time.perf_counter() - start)
            for form, path in paths.items():
                request = sent[form][at]
                start = time.perf_counter()
                _, body = ask(connection, path, request.body, request.headers)
                times[form].append(time.perf_counter() - start)
                sizes[form] = len(body)

    busy = others(measure)
    connection.close()
    return {
        form: LongFigures(
            rows=len(next(iter(questions[0].values()))),
            repeats=repeats,
            answer_ms=statistics.median(times[form][_WARM_UP:]) * 1e3,
            bare_ms=statistics.median(bare[_WARM_UP:]) * 1e3,
            request_bytes=len(sent[form][0].body),
            response_bytes=sizes[form],
            others=busy,
        )
        for form in paths
    }
