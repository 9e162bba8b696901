"""The short way for single rows says what the long way says, or leaves it to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcast.features.tasks import GEMM
from perfcast.serving.scalars import ScalarFeeds
from tests.strategies import MAXIMUM, bad_categories, bad_integers, good_row

FEEDS = ScalarFeeds(GEMM)

rows = st.fixed_dictionaries(
    {
        "gpu": st.sampled_from(GEMM.input("gpu").allowed),
        "dtype": st.sampled_from(GEMM.input("dtype").allowed),
        "m": st.integers(1, MAXIMUM),
        "n": st.integers(1, MAXIMUM),
        "k": st.integers(1, MAXIMUM),
    },
    optional={
        "framework": st.sampled_from((None, "", *GEMM.input("framework").allowed)),
        "framework_version": st.sampled_from((None, "", "0.24.0", "any text")),
    },
)


@given(rows)
def test_good_rows_are_taken_and_equal_the_long_way(row: dict[str, Any]) -> None:
    feeds = FEEDS(row)
    assert feeds is not None
    checked = GEMM.require_valid(row)
    assert feeds.keys() == checked.keys()
    for name, array in checked.items():
        assert feeds[name].dtype == array.dtype
        assert feeds[name].tolist() == array.tolist()


@given(st.sampled_from(("m", "n", "k")), bad_integers)
def test_bad_integers_are_left(name: str, value: Any) -> None:
    assert FEEDS({**good_row(), name: value}) is None


@given(st.sampled_from(("gpu", "dtype")), bad_categories)
def test_bad_categories_are_left(name: str, value: Any) -> None:
    assert FEEDS({**good_row(), name: value}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"m": [1]},
        {"gpu": ["l4"]},
        {"tile": 1},
        {"framework_version": "\n"},
        {"framework_version": "x" * 101},
        {"framework": "tgi"},
    ],
)
def test_everything_else_is_left(change: dict[str, Any]) -> None:
    assert FEEDS({**good_row(), **change}) is None


def test_missing_columns_are_left() -> None:
    assert FEEDS({}) is None
