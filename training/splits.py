"""Ways to hold rows out, named after what is new in use.

`site_split`: shapes of weights (n, k) never seen. `frontier_split`: larger than any seen.
`leave_one_out`: a GPU, or a framework version, never seen. `random_split`: rows at random, which
share their sites with the training rows and so flatter a model; for comparison with papers only.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import DataError, InvalidInput, Problem
from perfcast.training.dataset import DataSet

__all__ = ["Split", "frontier_split", "leave_one_out", "random_split", "site_folds", "site_split"]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows of one data set to train and to test on: sorted, disjoint int64 index arrays."""

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"Split({self.name!r}, train={len(self.train):,}, test={len(self.test):,})"


def site_split(
    data: DataSet, *, salt: str, test_fraction: float = 0.2, site: Sequence[str] = ("n", "k")
) -> Split:
    """Hold out whole sites, the combinations of the integer columns `site`.

    A site is tested if its salted hash falls in the first `test_fraction` of the hash's range,
    so it is the same on every GPU, framework and dtype, and does not depend on what else is in
    the data. Another salt gives an independent choice.
    """
    _check_fraction(test_fraction)
    held = _site_hash(data, salt, site) < test_fraction * 2.0**32
    return _split(f"site:{salt}", held)


def site_folds(
    data: DataSet, *, salt: str, folds: int = 5, site: Sequence[str] = ("n", "k")
) -> list[Split]:
    """Every site is tested in exactly one of `folds` splits."""
    if folds < 2:
        raise InvalidInput([Problem("folds", f"must be at least 2, not {folds}")])
    fold = (_site_hash(data, salt, site) * np.uint64(folds)) >> np.uint64(32)
    return [_split(f"site:{salt}:{i + 1}/{folds}", fold == i) for i in range(folds)]


def frontier_split(
    data: DataSet, *, bound: int | None = None, columns: Sequence[str] = ("n", "k")
) -> Split:
    """Hold out rows in which any of `columns` is above `bound`.

    Without a bound, those at the largest value of their column: each column has its own.
    """
    held = np.zeros(len(data), dtype=bool)
    for name in columns:
        values = data[name]
        held |= (values == values.max()) if bound is None else (values > bound)
    return _split(f"frontier:{'max' if bound is None else bound}", held)


def leave_one_out(
    data: DataSet, columns: Sequence[str] = ("gpu",), *, values: Sequence[str] | None = None
) -> list[Split]:
    """One split for each value of string columns (each combination, written "a/b"), tested alone.

    `columns=("gpu",)`: a device never measured. `columns=("framework", "framework_version")`: a
    release never measured. `values` restricts which are tested; raises `DataError` for one that
    does not occur.
    """
    group = data.groups(columns)
    chosen = group.levels if values is None else values
    missing = [value for value in chosen if value not in group.levels]
    if missing:
        raise DataError(f"no rows with {'/'.join(columns)} {missing[0]!r}")
    return [_split(f"leave-out:{value}", group.is_in([value])) for value in chosen]


def random_split(data: DataSet, *, seed: int, test_fraction: float = 0.2) -> Split:
    """Hold out rows at random: exactly `test_fraction` of them, rounded."""
    _check_fraction(test_fraction)
    held = np.zeros(len(data), dtype=bool)
    chosen = np.random.default_rng(seed).permutation(len(data))
    held[chosen[: round(test_fraction * len(data))]] = True
    return _split(f"random:{seed}", held)


def _split(name: str, held: NDArray[np.bool_]) -> Split:
    split = Split(name, np.flatnonzero(~held), np.flatnonzero(held))
    if len(split.train) == 0 or len(split.test) == 0:
        side = "train" if len(split.train) == 0 else "test"
        raise DataError(f"split {name!r} leaves no rows to {side} on")
    return split


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InvalidInput([Problem("test_fraction", f"must lie between 0 and 1, not {fraction}")])


def _site_hash(data: DataSet, salt: str, site: Sequence[str]) -> NDArray[np.uint64]:
    """A hash in [0, 2^32) of each row's site: uint64 [N]."""
    columns = np.stack([data[name] for name in site], axis=1)
    sites, row_site = _distinct(columns)
    words = [f"{salt}|{'|'.join(map(str, values))}" for values in sites.tolist()]
    crc = np.array([zlib.crc32(word.encode()) for word in words], dtype=np.uint64)
    # CRC-32 is linear: two salts of one length would shift all hashes by one constant, and the
    # splits would be related. Mixing (MurmurHash3's finaliser) breaks that.
    mask = np.uint64(0xFFFFFFFF)
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        crc = ((crc ^ (crc >> np.uint64(shift))) * np.uint64(factor)) & mask
    mixed: NDArray[np.uint64] = crc ^ (crc >> np.uint64(16))
    return mixed[row_site]


def _distinct(columns: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Distinct rows of `columns` [N, C], and for each row which one it is: [S, C], [N]."""
    code = np.zeros(len(columns), dtype=np.int64)
    for column in columns.T:  # much faster than np.unique(axis=0), which compares whole rows
        _, ranks = np.unique(column, return_inverse=True)
        code = code * (int(ranks.max(initial=0)) + 1) + ranks
        _, code = np.unique(code, return_inverse=True)
    first = np.full(int(code.max(initial=-1)) + 1, -1, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code), dtype=np.int64)[::-1]
    return columns[first], code.astype(np.int64)
