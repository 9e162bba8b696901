"""The engine joins what has arrived, cuts what is long, and gives everyone their own rows."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.errors import BundleError
from perfcast.serving import engine as engine_module
from perfcast.serving.engine import CHUNK, INLINE_ROWS, Engine
from perfcast.serving.predictor import GemmPredictor
from perfcast.serving.session import Session


class Counting(Session):
    """A session that notes how many rows each run had, and answers m doubled."""

    def __init__(self, *, fails: bool = False) -> None:
        self.sizes: list[int] = []
        self._fails = fails

    def run(self, columns: Any) -> dict[str, NDArray[Any]]:
        self.sizes.append(len(columns["m"]))
        if self._fails:
            raise BundleError("the model failed")
        return {"twice": columns["m"] * 2}


def question(*m: int) -> dict[str, NDArray[Any]]:
    return {"m": np.array(m)}


def test_what_arrives_together_runs_together() -> None:
    session = Counting()

    async def ask() -> list[dict[str, NDArray[Any]]]:
        engine = Engine(session)
        return await asyncio.gather(*(engine.run(question(i, -i)) for i in range(1, 9)))

    answers = asyncio.run(ask())
    assert session.sizes == [16]
    assert [a["twice"].tolist() for a in answers] == [[2 * i, -2 * i] for i in range(1, 9)]


def test_what_arrives_alone_runs_alone() -> None:
    session = Counting()

    async def ask() -> None:
        engine = Engine(session)
        for i in range(3):
            assert (await engine.run(question(i)))["twice"].tolist() == [2 * i]

    asyncio.run(ask())
    assert session.sizes == [1, 1, 1]


def test_long_questions_are_cut_and_others_get_turns() -> None:
    session = Counting()
    long = np.arange(2 * CHUNK + 5)

    async def ask() -> None:
        engine = Engine(session)
        slow = asyncio.create_task(engine.run({"m": long}))
        await asyncio.sleep(0)
        assert (await engine.run(question(7)))["twice"].tolist() == [14]
        assert np.array_equal((await slow)["twice"], long * 2)

    asyncio.run(ask())
    assert sum(session.sizes) == len(long) + 1
    assert max(session.sizes) <= CHUNK
    assert len(session.sizes) > 3


@pytest.mark.parametrize("rows", [INLINE_ROWS + 1, 1_023, 1_024, 2_048, 10_000, 50_001])
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_every_length_keeps_its_order_in_every_number_of_lanes(
    rows: int, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "LANES", lanes)
    session = Counting()
    answer = asyncio.run(Engine(session).run({"m": np.arange(rows)}))
    assert np.array_equal(answer["twice"], np.arange(rows) * 2)
    assert max(session.sizes) <= CHUNK
    assert max(session.sizes) - min(session.sizes) <= 1


def test_a_group_is_never_longer_than_a_chunk() -> None:
    session = Counting()
    each = INLINE_ROWS
    count = CHUNK // each + 1

    async def ask() -> None:
        engine = Engine(session)
        rows = [np.full(each, i) for i in range(count)]
        answers = await asyncio.gather(*(engine.run({"m": m}) for m in rows))
        assert all((a["twice"] == 2 * i).all() for i, a in enumerate(answers))

    asyncio.run(ask())
    assert session.sizes == [CHUNK, each]


@pytest.mark.parametrize("rows", [1, INLINE_ROWS + 1])
def test_everyone_hears_of_a_failure(rows: int) -> None:
    async def ask() -> None:
        engine = Engine(Counting(fails=True))
        asked = [engine.run(question(*range(rows))) for _ in range(2)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in found] == [BundleError, BundleError]

    asyncio.run(ask())


def test_who_gave_up_is_not_answered() -> None:
    session = Counting()

    async def ask() -> None:
        engine = Engine(session)
        gone, stays = (asyncio.create_task(engine.run(question(i))) for i in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        assert (await stays)["twice"].tolist() == [4]
        assert gone.cancelled() or (await asyncio.gather(gone, return_exceptions=True))

    asyncio.run(ask())


def test_a_server_and_a_program_get_the_same_answer(gemm: GemmPredictor) -> None:
    columns = {"gpu": ["h200_sxm"], "dtype": ["fp8"], "m": [64], "n": [4096], "k": [4096]}
    served = asyncio.run(gemm.answer_columns(columns)).records()
    assert served == gemm.predict_columns(columns).records()
