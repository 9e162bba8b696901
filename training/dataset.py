"""Measurements as columns: a `DataSet` holds a task's inputs beside its measured outputs.

A data set is always in canonical order (sorted by its input columns), whatever files it came
from, so that a seed means the same rows everywhere. `reading.py` makes data sets from files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import DataError, nearest
from perfcast.features.versions import version_key

__all__ = ["Category", "DataSet", "canonical_order"]


@dataclass(frozen=True, slots=True)
class Category:
    """A column of strings: `codes` int32 [N] into `levels`, which are sorted and distinct."""

    codes: NDArray[np.int32]
    levels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def values(self) -> NDArray[np.object_]:
        """The strings themselves, an object array [N] that shares one `str` per level."""
        return np.array(self.levels, dtype=object)[self.codes]

    def is_in(self, values: Iterable[str]) -> NDArray[np.bool_]:
        """Whether each row holds one of `values`: bool [N]."""
        wanted = frozenset(values)
        table = np.array([level in wanted for level in self.levels], dtype=bool)
        return table[self.codes]

    def take(self, rows: NDArray[Any]) -> Category:
        """The rows given by an index array or mask, without the levels that no longer occur."""
        codes = self.codes[rows]
        used, compact = np.unique(codes, return_inverse=True)
        return Category(compact.astype(np.int32), tuple(self.levels[int(code)] for code in used))

    @classmethod
    def of(cls, values: Sequence[str] | NDArray[np.object_]) -> Category:
        """Encode strings [N]."""
        levels, codes = np.unique(np.asarray(values, dtype=str), return_inverse=True)
        return cls(codes.astype(np.int32), tuple(str(level) for level in levels))


@dataclass(frozen=True, slots=True)
class DataSet:
    """N measurements of one task.

    `categories` has the task's string columns (and `kernel_source` where the files had it);
    `numbers` its integer inputs (int64 [N]) and measured outputs (float64 [N], NaN where an
    output was not measured; the task's first output is never NaN). `keys` names the input
    columns, which together identify a row.
    """

    task: str
    keys: tuple[str, ...]
    categories: Mapping[str, Category]
    numbers: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.numbers.values())))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Column `name` [N]: numbers, or an object array of `str`. Raises `DataError`."""
        if name in self.numbers:
            return self.numbers[name]
        return self.category(name).values()

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.categories, *self.numbers)

    def category(self, name: str) -> Category:
        """The string column `name`. Raises `DataError` if there is none."""
        if name not in self.categories:
            raise DataError(f"no column of strings {name!r}; {nearest(name, self.categories)}")
        return self.categories[name]

    def groups(self, names: Sequence[str]) -> Category:
        """The combinations of string columns that occur, as one column of "a/b/c"."""
        parts = [self.category(name) for name in names]
        code = np.zeros(len(self), dtype=np.int64)
        for part in parts:
            code = code * len(part.levels) + part.codes
        used, inverse = np.unique(code, return_inverse=True)
        labels = []
        for combination in used.tolist():
            label: list[str] = []
            rest = combination
            for part in reversed(parts):
                rest, digit = divmod(rest, len(part.levels))
                label.append(part.levels[digit])
            labels.append("/".join(reversed(label)))
        order = np.argsort(np.array(labels, dtype=object))
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return Category(rank[inverse], tuple(labels[int(i)] for i in order))

    def take(self, rows: NDArray[Any]) -> DataSet:
        """The rows given by an index array or a mask [N]."""
        return DataSet(
            self.task,
            self.keys,
            {name: column.take(rows) for name, column in self.categories.items()},
            {name: column[rows] for name, column in self.numbers.items()},
        )

    def matching(self, wanted: Mapping[str, Iterable[str]]) -> DataSet:
        """The rows whose string columns hold one of the wanted values, column by column.

        Raises `DataError` for a column that does not exist or a value that does not occur.
        """
        keep = np.ones(len(self), dtype=bool)
        for name, values in wanted.items():
            column, names = self.category(name), list(values)
            for value in names:
                if value not in column.levels:
                    raise DataError(
                        f"no rows with {name} {value!r}; {nearest(value, column.levels)}"
                    )
            keep &= column.is_in(names)
        return self.take(keep)

    def measured(self, name: str) -> DataSet:
        """The rows in which output `name` was measured."""
        if name not in self.numbers:
            raise DataError(f"no column of numbers {name!r}; {nearest(name, self.numbers)}")
        return self.take(np.isfinite(self.numbers[name]))

    def newest_versions(
        self, *, column: str = "framework_version", within: Sequence[str] = ("gpu", "framework")
    ) -> DataSet:
        """Without the rows of versions that a newer one supersedes within their group."""
        group, version = self.groups(within), self.category(column)
        order = sorted(range(len(version.levels)), key=lambda i: version_key(version.levels[i]))
        age = np.empty(len(order), dtype=np.int64)
        age[order] = np.arange(len(order))
        row_age = age[version.codes]
        newest = np.full(len(group.levels), -1)
        np.maximum.at(newest, group.codes, row_age)
        return self.take(row_age == newest[group.codes])

    def fingerprint(self) -> str:
        """SHA-256 over the contents: equal for equal rows, in whatever order or files."""
        order = canonical_order(self.keys, self.categories, self.numbers)
        digest = hashlib.sha256(f"{self.task}|{len(self)}".encode())
        for name in sorted(self.categories):
            column = self.categories[name].take(order)
            digest.update(f"|{name}:{column.levels!r}:".encode())
            digest.update(column.codes.astype("<i4").tobytes())
        for name in sorted(self.numbers):
            values = self.numbers[name][order]
            digest.update(f"|{name}:".encode())
            digest.update(values.astype("<i8" if values.dtype.kind == "i" else "<f8").tobytes())
        return digest.hexdigest()


def canonical_order(
    keys: Sequence[str],
    categories: Mapping[str, Category],
    numbers: Mapping[str, NDArray[Any]],
) -> NDArray[np.int64]:
    """The row order that sorts by the key columns, first key first: int64 [N], stable."""
    packed: NDArray[np.int64] | None = None
    span = 1
    for name in keys:
        codes: NDArray[Any]
        if name in categories:
            codes, size = categories[name].codes, len(categories[name].levels)
        else:
            codes, size = _ranks(numbers[name])
        if packed is None:
            packed, span = codes.astype(np.int64), size
            continue
        if span * size >= 2**62:  # exact for any number of columns: rank what we have, go on
            packed, span = _ranks(packed)
        packed, span = packed * size + codes, span * size
    assert packed is not None, "a task without inputs has no rows to order"
    return np.argsort(packed, kind="stable")


def _ranks(values: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    levels, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int64), len(levels)
