"""BYTES tensors: what is written is read, and no bytes whatever do more than be refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perfcast.errors import MalformedRequest
from perfcast.features.tasks import GEMM
from perfcast.serving.oip import strings
from perfcast.serving.oip.strings import read_strings, write_strings
from tests.strategies import good_row

words = st.one_of(
    st.sampled_from(("", "a", "h200_sxm", "rtx_pro_6000_server", "0.24.0", "ä", "x" * 9, "x" * 10)),
    st.text(max_size=12),
    st.text("ab", min_size=14, max_size=40),
    st.sampled_from(("x" * 255, "x" * 256, "x" * 300, "\x00", "a\x00", "\x00\x00\x00\x00", "a\0b")),
)
columns = st.lists(words, min_size=1, max_size=40)


def record(word: bytes) -> bytes:
    return struct.pack("<I", len(word)) + word


@settings(deadline=None)
@given(columns)
@example(["", "", "a", "", "b", ""])
@example(["ab", "a"])
def test_what_is_written_is_read(column: list[str]) -> None:
    assert read_strings(write_strings(column), len(column)).tolist() == column


@settings(deadline=None)
@given(columns, st.integers(1, 8))
@example(["a" * 17, "a" * 9, "a" * 16], 2)
@example(["a" * 16, "a" * 17, "a" * 9], 1)
@example(["", "x"], 1)
@example(["x", ""], 3)
def test_every_way_of_reading_agrees(column: list[str], times: int) -> None:
    column = column * times
    data, rows = write_strings(column), len(column)
    assert strings._one_by_one(data, rows).tolist() == column
    for other in (strings._at_once(data, rows), strings._all_alike(data, rows)):
        assert other is None or other.tolist() == column


@pytest.mark.parametrize("seed", range(20))
def test_names_are_read_at_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    column = rng.choice(GEMM.input("gpu").allowed, rng.integers(257, 2_000)).tolist()
    found = strings._at_once(write_strings(column), len(column))
    assert found is not None
    assert found.tolist() == column
    assert len(set(found.words)) == len(found.words) == len(set(column))


@pytest.mark.parametrize("word", ["h200_sxm", "", "a\x00", "x" * 300])
def test_a_column_of_one_word_is_one_word(word: str) -> None:
    found = read_strings(write_strings([word] * 1000), 1000)
    assert list(found.words) == [word]
    assert found.tolist() == [word] * 1000


def test_keys_that_want_one_slot_are_still_told_apart() -> None:
    keys = np.arange(10_000, dtype=np.uint64) % np.uint64(5000)  # more than there are slots
    count, codes = strings._distinct(keys)
    assert count == 5000
    assert np.array_equal(np.unique(keys)[codes], keys)


# bytes that look like strings, or nearly so
pieces = st.one_of(
    st.binary(max_size=6),
    st.binary(max_size=6).map(record),
    st.sampled_from((b"\0", b"\0\0\0", b"\1\0\0\0", b"\xff\xff\xff\xff", record(b"fp8"))),
)


@settings(deadline=None)
@given(st.lists(pieces, max_size=30).map(b"".join), st.integers(0, 40))
@example(record(b"a\0\0\0\0") + b"\1\0\0\0", 2)
@example(b"\1\0\0\0a" + b"\0" * 3, 2)
@example(b"\1\0\0\0\0\1\0\0\0b", 2)
def test_arbitrary_bytes_are_read_alike_or_refused(data: bytes, rows: int) -> None:
    try:
        expected = strings._one_by_one(data, rows).tolist()
    except MalformedRequest:
        with pytest.raises(MalformedRequest):
            read_strings(data, rows)
        return
    assert read_strings(data, rows).tolist() == expected
    if rows:
        for other in (strings._at_once(data, rows), strings._all_alike(data, rows)):
            assert other is None or other.tolist() == expected


@settings(deadline=None)
@given(st.lists(pieces, max_size=30).map(b"".join), st.integers(1, 40))
def test_reading_at_once_never_takes_what_the_loop_refuses(data: bytes, rows: int) -> None:
    found = strings._at_once(data, rows) if len(data) >= 4 * rows else None
    if found is not None:
        assert strings._one_by_one(data, rows).tolist() == found.tolist()


@pytest.mark.parametrize(
    ("data", "rows", "reason"),
    [
        (b"", 1, "cannot hold 1"),
        (b"\0\0\0\0", 2, "cannot hold 2"),
        (b"", 2**62, "cannot hold"),
        (b"x", 0, "no string is expected"),
        (b"\x05\0\0\0abcd", 1, "string 0 of 1 is longer"),
        (b"\xff\xff\xff\xffabcd", 1, "string 0 of 1 is longer"),
        (b"\2\0\0\0abcd", 1, "2 bytes more"),
        (b"\4\0\0\0abcd", 2, "within the length of string 1 of 2"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, rows: int, reason: str) -> None:
    with pytest.raises(MalformedRequest, match=reason):
        read_strings(data, rows)


@pytest.mark.parametrize("name", ["gpu", "framework", "framework_version"])
def test_what_is_not_utf8_fits_no_column(name: str) -> None:
    (word,) = read_strings(record(b"vllm\xff"), 1).tolist()
    _, (problem,) = GEMM.validate({**good_row(), name: [word]})
    assert (problem.row, problem.field) == (0, name)
