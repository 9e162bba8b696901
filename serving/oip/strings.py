"""The binary form of a BYTES tensor: for each element its length, four bytes, then its bytes.

Thousands of rows repeat a few dozen names, so a column is read as `Coded`: the distinct words and
one code per row. What numpy can do for all rows at once, it does; what it cannot (long strings,
strings that hold zero bytes) a plain loop does, and the two agree.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import MalformedRequest
from perfcast.task import Coded

__all__ = ["read_strings", "write_strings"]

_FEW_ROWS: Final = 256
"""Up to here the plain loop is faster than numpy's start."""
_MASKS: Final = np.array([2 ** (8 * size) - 1 for size in range(9)], dtype="<u8")
"""Keeps the first 0 to 8 bytes of eight."""
_SLOTS: Final = 4096
_SPREAD, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - 12)
"""Fibonacci hashing of a key into `_SLOTS`."""
_LENGTH: Final = struct.Struct("<I")


def write_strings(values: list[str]) -> bytes:
    """`values` as a BYTES tensor."""
    return b"".join(
        _LENGTH.pack(len(encoded)) + encoded for encoded in (value.encode() for value in values)
    )


def read_strings(data: bytes, rows: int) -> Coded:
    """The `rows` strings in `data`. Raises `MalformedRequest` unless it holds exactly those.

    Bytes that are not UTF-8 become lone surrogates, which no column accepts.
    """
    if len(data) < 4 * rows:
        raise MalformedRequest(f"{len(data)} bytes cannot hold {rows} strings")
    if rows == 0:
        if data:
            raise MalformedRequest(f"{len(data)} bytes where no string is expected")
        return Coded([], np.empty(0, dtype=np.intp))
    if rows > _FEW_ROWS:
        found = _all_alike(data, rows) or _at_once(data, rows)
        if found is not None:
            return found
    return _one_by_one(data, rows)


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _all_alike(data: bytes, rows: int) -> Coded | None:
    """A column that holds one string throughout."""
    record, rest = divmod(len(data), rows)
    if rest or _LENGTH.unpack_from(data)[0] != record - 4 or data != data[:record] * rows:
        return None
    return Coded([_text(data[4:record])], np.zeros(rows, dtype=np.intp))


def _one_by_one(data: bytes, rows: int) -> Coded:
    codes = np.empty(rows, dtype=np.intp)
    known: dict[bytes, int] = {}
    at, size = 0, len(data)
    for row in range(rows):
        start = at + 4
        if start > size:
            raise MalformedRequest(f"the data ends within the length of string {row} of {rows}")
        at = start + int.from_bytes(data[at:start], "little")
        if at > size:
            raise MalformedRequest(f"string {row} of {rows} is longer than the data")
        codes[row] = known.setdefault(data[start:at], len(known))
    if at != size:
        raise MalformedRequest(f"{size - at} bytes more than {rows} strings hold")
    return Coded([_text(word) for word in known], codes)


def _at_once(data: bytes, rows: int) -> Coded | None:
    """Strings of 1 to 255 bytes without zero bytes, and empty ones; None for anything else.

    The record of such a string starts where a byte that is not zero (its length) is followed by
    exactly three that are: no other place looks like that, because empty strings stand as four
    zeros each. Whether the records found do fill the data without a gap is then checked.
    """
    raw = np.frombuffer(data, dtype=np.uint8)
    filled = raw != 0
    padded = np.concatenate((filled, np.zeros(4, dtype=np.bool_)))
    here = filled & ~(padded[1:-3] | padded[2:-2] | padded[3:-1]) & padded[4:]
    starts = np.flatnonzero(here)
    if not starts.size:
        return None
    lengths = raw[starts].astype(np.intp)
    ends = starts + 4 + lengths
    edges = np.empty(starts.size + 1, dtype=np.intp)  # where each gap begins: gaps[i] is before
    edges[0], edges[1:] = 0, ends  # record i, the last one after all
    gaps = np.empty_like(edges)
    gaps[:-1], gaps[-1] = starts, len(data)
    gaps -= edges
    if gaps.min() < 0 or (gaps & 3).any():
        return None
    # As many bytes that are not zero as the records claim: none is in a gap, no zero in a string.
    if np.count_nonzero(filled) != starts.size + int(lengths.sum()) or not _empty(
        filled, edges, gaps
    ):
        return None
    blanks = gaps >> 2
    if starts.size + int(blanks.sum()) != rows:
        return None
    words, codes = _coded(data, starts + 4, lengths)
    if blanks.any():
        words.append(b"")
        every = np.full(rows, len(words) - 1, dtype=np.intp)
        every[np.arange(starts.size) + np.cumsum(blanks[:-1])] = codes
        codes = every
    return Coded([_text(word) for word in words], codes)


def _empty(filled: NDArray[np.bool_], edges: NDArray[np.intp], gaps: NDArray[np.intp]) -> bool:
    """Whether all `gaps`, which begin at `edges`, hold zeros alone."""
    if not gaps.any():
        return True
    total = np.concatenate(([0], np.cumsum(filled)))
    return bool((total[edges + gaps] == total[edges]).all())


def _coded(
    data: bytes, starts: NDArray[np.intp], lengths: NDArray[np.intp]
) -> tuple[list[bytes], NDArray[np.intp]]:
    """The distinct words at `starts`, and the code of each start.

    Words without zero bytes are told apart eight bytes at a time, each eight being one number.
    """
    padded = data + bytes(8)
    eight = np.ndarray((len(data) + 1,), "<u8", padded, 0, (1,))  # beginning at every byte
    count, codes = _distinct(eight[starts] & _MASKS[np.minimum(lengths, 8)])
    seen = 8
    rest = np.flatnonzero(lengths > seen)
    while rest.size:  # words that go on leave their code to the one that ends here
        more = eight[starts[rest] + seen] & _MASKS[np.minimum(lengths[rest] - seen, 8)]
        kinds, fine = _distinct(more)
        longer, fresh = _distinct((codes[rest] * kinds + fine).astype(np.uint64))
        codes[rest] = fresh + count
        count, seen = count + longer, seen + 8
        rest = rest[lengths[rest] > seen]
    row = np.full(count, -1, dtype=np.intp)
    row[codes] = np.arange(codes.size)
    used = row[row >= 0]
    packed = np.cumsum(row >= 0) - 1
    ends = (starts[used] + lengths[used]).tolist()
    words = [data[a:b] for a, b in zip(starts[used].tolist(), ends, strict=True)]
    return words, packed[codes]


def _distinct(keys: NDArray[np.uint64]) -> tuple[int, NDArray[np.intp]]:
    """How many distinct keys there are, and a code below that number for every key [N]."""
    slots = ((keys * _SPREAD) >> _SHIFT).view(np.int64)
    held = np.empty(_SLOTS, dtype=np.uint64)
    held[slots] = keys
    if (held[slots] != keys).any():  # two keys want one slot
        found, codes = np.unique(keys, return_inverse=True)
        return found.size, codes
    used = np.zeros(_SLOTS, dtype=np.bool_)
    used[slots] = True
    return int(np.count_nonzero(used)), (np.cumsum(used) - 1)[slots]
