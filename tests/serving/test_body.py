"""Bodies: read whole, bounded while they arrive, and never more in memory than they should be."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.errors import InvalidInput, TooLarge
from perfcast.features.tasks import GEMM
from perfcast.serving.body import parse_json, read_body, rows_to_columns
from tests.strategies import good_row


def read(chunks: list[bytes], limit: int, *, leaves: bool = False) -> tuple[bytes, int]:
    """The body made of `chunks`, and how many of them were taken."""
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        if taken == len(chunks):
            return {"type": "http.disconnect"}
        taken += 1
        more = leaves or taken < len(chunks)
        return {"type": "http.request", "body": chunks[taken - 1], "more_body": more}

    return asyncio.run(read_body(receive, limit)), taken


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=10))
def test_a_body_is_what_arrived(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    assert read(chunks, len(whole)) == (whole, len(chunks))
    if whole:
        with pytest.raises(TooLarge):
            read(chunks, len(whole) - 1)


def test_messages_without_a_body_are_empty() -> None:
    async def receive() -> Any:
        return {"type": "http.request"}

    assert asyncio.run(read_body(receive, 0)) == b""


def test_a_client_that_leaves_is_not_answered() -> None:
    with pytest.raises(InvalidInput, match="cut short"):
        read([b"{", b"}"], 100, leaves=True)


def test_a_flood_of_chunks_takes_no_more_than_its_bytes() -> None:
    chunks = [b"x"] * 50_000
    tracemalloc.start()
    body, _ = read(chunks, 50_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert body == b"x" * 50_000
    assert peak < 20 * 50_000


@pytest.mark.parametrize("text", [b"[" * 200_000, b"[]," * 200_000, b'{"a":' * 50_000])
def test_json_of_nothing_but_brackets_is_refused_unparsed(text: bytes) -> None:
    with pytest.raises(TooLarge, match="arrays and objects"):
        parse_json(text, 2**20)


def test_json_within_bounds_is_parsed() -> None:
    rows = [good_row() for _ in range(5_000)]
    text = orjson.dumps({"rows": rows})
    assert len(text) > 2**16
    assert parse_json(text, len(text)) == {"rows": rows}
    with pytest.raises(orjson.JSONDecodeError):
        parse_json(b"[" * 60_000, 2**20)


def test_unknown_keys_without_end_are_not_all_looked_up() -> None:
    rows = [{**good_row(), f"gpu{i}": 1} for i in range(20_000)]
    wide = [{f"gpu{i}": 1 for i in range(20_000)}]
    for bad in (rows, wide):
        with pytest.raises(InvalidInput) as caught:
            rows_to_columns(GEMM, bad, 100_000)
        assert len(caught.value.problems) <= 200
