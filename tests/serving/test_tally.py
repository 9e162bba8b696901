"""Rows are counted by their worst status, whoever asked."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from perfcast.serving.engine import Engine
from perfcast.serving.predictor import GemmPredictor
from perfcast.serving.tally import Tally, observe, tallies, tally_of
from tests.standin import questions


def test_a_row_counts_once_by_its_worst_status() -> None:
    tally = Tally("t", "t@1", ("a_status", "b_status"))
    tally.add({"a_status": np.array([0, 1, 2, 0]), "b_status": np.array([0, 0, 1, 2])})
    tally.add({"a_status": np.array([1]), "b_status": np.array([0])})
    assert tally.rows == [1, 2, 2, 0]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_status_that_nobody_knows_breaks_nothing(rows: int) -> None:
    tally = Tally("t", "t@1", ("a_status",))
    tally.add({"a_status": np.full(rows, 99)})
    tally.add({"a_status": np.full(rows, -1)})
    assert tally.rows == [rows, 0, 0, rows]


def test_one_tally_per_model() -> None:
    first = tally_of("test_tally", "test_tally@1")
    assert tally_of("test_tally", "test_tally@1") is first
    assert tally_of("test_tally", "test_tally@2") is not first
    observe("test_tally", "test_tally@1", np.array([0, 2]))
    assert first.rows == [1, 0, 1, 0]
    assert first in tallies()


def test_an_engine_counts_what_it_runs(gemm: GemmPredictor) -> None:
    statuses = tuple(name for name in gemm.session.output_names if name.endswith("_status"))
    tally = Tally("gemm", "gemm@1", statuses)

    async def ask() -> list[int]:
        engine = Engine(gemm.session, tally)
        asked = [gemm.task.require_valid(questions(rows)) for rows in (1, 3, 5000)]
        await asyncio.gather(*(engine.run(columns) for columns in asked))
        return tally.rows

    counted = asyncio.run(ask())
    expected = np.zeros(4, dtype=np.int64)
    for rows in (1, 3, 5000):
        answers = gemm.predict_columns(questions(rows))
        expected += np.bincount(answers.status, minlength=4)
    assert counted == expected.tolist()
