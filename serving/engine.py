"""One model's runs on behalf of many requests: what has arrived runs together, long runs are cut.

Nothing ever waits for company. Questions that arrived in the same turn of the event loop are
joined, because the model's cost for a few rows is mostly the cost of being called at all; a
question that arrives alone runs at once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perfcast.serving.session import Session
from perfcast.serving.tally import Tally

__all__ = ["CHUNK", "INLINE_ROWS", "Engine"]

INLINE_ROWS: Final = 256
"""Up to here a run takes less than a millisecond: handing it to a thread would cost more."""

CHUNK: Final = 4_096
"""Rows per run of a long question: others get their turn, and memory stays flat."""

LANES: Final = min(4, os.cpu_count() or 1)
"""Runs at a time of one long question: onnxruntime lets go of the interpreter, each has a core."""

_WORTH_A_LANE: Final = 1_024
"""Rows below which the cost of being called at all would show in a run of their own."""

Columns = Mapping[str, NDArray[Any]]


class Engine:
    """Runs checked columns, each [N] with N >= 1, through one session. For one event loop."""

    def __init__(self, session: Session, tally: Tally | None = None) -> None:
        """`tally` counts the rows of every run."""
        self._session = session
        self._count = _uncounted if tally is None else tally.add
        self._waiting: list[tuple[Columns, int, asyncio.Future[dict[str, NDArray[Any]]]]] = []

    async def run(self, columns: Columns) -> dict[str, NDArray[Any]]:
        """The model's outputs, each [N]. Raises `BundleError` if the model fails."""
        size = len(next(iter(columns.values())))
        if size > INLINE_ROWS:
            return await self._run_long(columns, size)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dict[str, NDArray[Any]]] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._drain)
        self._waiting.append((columns, size, answer))
        return await answer

    def _drain(self) -> None:
        """Run everything that waits, as few runs as `CHUNK` allows."""
        waiting, self._waiting = self._waiting, []
        group: list[tuple[Columns, int, asyncio.Future[dict[str, NDArray[Any]]]]] = []
        rows = 0
        for entry in waiting:
            if entry[2].cancelled():
                continue
            if rows + entry[1] > CHUNK:
                self._run_group(group)
                group, rows = [], 0
            group.append(entry)
            rows += entry[1]
        self._run_group(group)

    def _run_group(
        self, group: list[tuple[Columns, int, asyncio.Future[dict[str, NDArray[Any]]]]]
    ) -> None:
        if not group:
            return
        first = group[0][0]
        try:
            if len(group) == 1:
                outputs = self._session.run(first)
                self._count(outputs)
                group[0][2].set_result(outputs)
                return
            joined = {name: np.concatenate([entry[0][name] for entry in group]) for name in first}
            outputs = self._session.run(joined)
            self._count(outputs)
        except Exception as error:
            for *_, answer in group:
                answer.set_exception(error)
            return
        start = 0
        for _, size, answer in group:
            part = slice(start, start + size)
            answer.set_result({name: values[part] for name, values in outputs.items()})
            start += size

    async def _run_long(self, columns: Columns, size: int) -> dict[str, NDArray[Any]]:
        """Chunk by chunk, in as many threads as `LANES` and the length allow."""
        lanes = max(1, min(LANES, size // _WORTH_A_LANE))
        count = -(-size // (CHUNK * lanes)) * lanes  # so that all lanes end at the same time
        edges = [size * at // count for at in range(count + 1)]
        parts = [
            {name: values[start:end] for name, values in columns.items()}
            for start, end in itertools.pairwise(edges)
        ]
        each = count // lanes
        found = await asyncio.gather(
            *(self._run_lane(parts[at : at + each]) for at in range(0, count, each))
        )
        answers = [outputs for lane in found for outputs in lane]
        if count == 1:
            return answers[0]
        return {name: np.concatenate([part[name] for part in answers]) for name in answers[0]}

    async def _run_lane(self, parts: Sequence[Columns]) -> list[dict[str, NDArray[Any]]]:
        answers = []
        for part in parts:
            outputs = await asyncio.to_thread(self._session.run, part)
            self._count(outputs)
            answers.append(outputs)
        return answers


def _uncounted(_outputs: Columns) -> None:
    """What an engine without a tally does with a run."""
