"""A Prediction is an answer with its uncertainty: value, interval, status, unit and origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATUSES", "Estimate", "Prediction", "Reasons", "significant"]

STATUSES = ("in_domain", "extrapolated", "out_of_domain", "invalid")
"""What a row's answer is worth, best first; an array of codes indexes this tuple.

`in_domain`: like rows the model was tested on; the interval holds at its stated coverage.
`extrapolated`: beyond them; the interval is wider and comes from tests that extrapolate alike.
`out_of_domain`: nothing here supports an answer; the values are withheld (null).
`invalid`: the question itself is wrong (only where invalid rows are kept, as in files).
"""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """One predicted quantity for N rows: `value`, `low`, `high` float64 [N], NaN where withheld.

    `value` is a median. `low` and `high` are None for quantities derived without an interval.
    `status` [N] holds codes into `STATUSES` for this quantity alone.
    """

    unit: str
    value: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    status: NDArray[np.int64]


class Reasons(Mapping[int, tuple[str, ...]]):
    """The sentences behind each row's status, decoded from bits only when they are looked at.

    `bits` [N] is int64, bit i standing for `sentences[i]`; `kept` holds the sentences of rows
    whose question was itself wrong. Rows without a reason are absent from the mapping.
    """

    __slots__ = ("_bits", "_decoded", "_kept", "_sentences")

    def __init__(
        self,
        bits: NDArray[np.int64],
        sentences: tuple[str, ...],
        kept: Mapping[int, tuple[str, ...]] | None = None,
    ) -> None:
        self._bits = bits
        self._sentences = sentences
        self._kept = kept or {}
        self._decoded: dict[int, tuple[str, ...]] = {}

    def __getitem__(self, row: int) -> tuple[str, ...]:
        if row in self._kept:
            return self._kept[row]
        if not 0 <= row < len(self._bits) or not self._bits[row]:
            raise KeyError(row)
        return self.sentences(int(self._bits[row]))

    def __iter__(self) -> Iterator[int]:
        rows = set(np.flatnonzero(self._bits).tolist())
        return iter(sorted(rows.union(self._kept)))

    def __len__(self) -> int:
        return len(set(np.flatnonzero(self._bits).tolist()).union(self._kept))

    def __repr__(self) -> str:
        return repr(dict(self))

    @property
    def bits(self) -> NDArray[np.int64]:
        """[N]: the bit set of each row, 0 for none."""
        return self._bits

    def sentences(self, bits: int) -> tuple[str, ...]:
        """What a bit set stands for."""
        found = self._decoded.get(bits)
        if found is None:
            found = tuple(
                sentence for bit, sentence in enumerate(self._sentences) if bits >> bit & 1
            )
            self._decoded[bits] = found
        return found

    def joined(self) -> NDArray[np.object_]:
        """[N]: each row's sentences joined with "; ", "" for none. Rows mostly share few texts."""
        distinct, which = np.unique(self._bits, return_inverse=True)
        texts = ["; ".join(self.sentences(bits)) for bits in distinct.tolist()]
        rows = np.array(texts, dtype=object)[which]
        for row, sentences in self._kept.items():
            rows[row] = "; ".join(sentences)
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Answers to N rows of one task.

    `status` [N] is the worst of the quantities' statuses; `reasons` says why for every row that
    is not `in_domain`, as a mapping from row number to sentences. `model` names the bundle and
    version that answered, `coverage` the intervals' nominal coverage.
    """

    task: str
    model: str
    coverage: float
    estimates: Mapping[str, Estimate]
    status: NDArray[np.int64]
    reasons: Reasons

    def __len__(self) -> int:
        return len(self.status)

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """[N]: rows of which no quantity was withheld."""
        whole = np.ones(len(self), dtype=np.bool_)
        for estimate in self.estimates.values():
            whole &= ~np.isnan(estimate.value)
        return whole

    def columns(self) -> dict[str, NDArray[Any]]:
        """Flat output columns of length N, NaN where an answer is withheld.

        For each quantity `<name>`, `<name>_low`, `<name>_high`; then `status`, `reasons` (joined
        with "; ", empty for none), `<name>_status` for each quantity with an interval, `model`.
        """
        out: dict[str, NDArray[Any]] = {}
        for name, estimate in self.estimates.items():
            out[name] = estimate.value
            if estimate.low is not None and estimate.high is not None:
                out[f"{name}_low"], out[f"{name}_high"] = estimate.low, estimate.high
        names = np.array(STATUSES, dtype=object)
        out["status"] = names[self.status]
        out["reasons"] = self.reasons.joined()
        for name, estimate in self.estimates.items():
            if estimate.low is not None:
                out[f"{name}_status"] = names[estimate.status]
        out["model"] = np.full(len(self), self.model, dtype=object)
        return out

    def records(self) -> list[dict[str, Any]]:
        """One JSON-ready dict per row, `None` where an answer is withheld, `reasons` a list.

        Numbers carry seven significant digits, which is what the model's float32 holds.
        """
        columns = self.columns()
        names = tuple(columns)
        columns["reasons"] = _reason_lists(self)
        lists = [
            values.tolist() if values.dtype == object else _nullable(values)
            for values in columns.values()
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


def significant(values: NDArray[np.float64], digits: int = 7) -> NDArray[np.float64]:
    """`values` rounded to `digits` significant digits, so that float32 prints without its tail."""
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.floor(np.log10(np.abs(values)))
        shift = np.where(np.isfinite(magnitude), digits - 1 - magnitude, 0.0)
        shift = np.clip(shift, -300, 300)
        # Powers of ten with a positive exponent below 23 are exact: divide by those, never by 0.1.
        up, down = 10.0 ** np.maximum(shift, 0.0), 10.0 ** np.maximum(-shift, 0.0)
        rounded = np.round(values * up / down) * down / up
    return np.where(np.isfinite(values), rounded, values)


def _nullable(values: NDArray[np.float64]) -> list[float | None]:
    finite = np.isfinite(values)
    numbers: list[float | None] = significant(values).tolist()
    for row in np.flatnonzero(~finite).tolist():
        numbers[row] = None
    return numbers


def _reason_lists(prediction: Prediction) -> NDArray[np.object_]:
    lists = np.empty(len(prediction), dtype=object)
    for row in range(len(prediction)):
        lists[row] = []
    for row, sentences in prediction.reasons.items():
        lists[row] = list(sentences)
    return lists
