"""Values that no question may hold, for property tests at every door."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from perfcast.features.tasks import GEMM
from perfcast.task import Task

MAXIMUM = GEMM.input("m").maximum

fractions = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda x: not x.is_integer() or not 1 <= x <= MAXIMUM
)
out_of_range = st.one_of(
    st.integers(max_value=0),
    st.integers(min_value=MAXIMUM + 1),
    st.sampled_from([0, -1, 2**31, 2**63, -(2**63), 2**64, 10**30, 10**400, 10**5000]),
)
json_bad_integers: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=20),
    st.sampled_from(["4096", "", "NaN", "1e3"]),
    fractions,
    st.sampled_from([1e30, -1e30, 1e300, 0.0, -0.0, 0.5]),
    st.integers(max_value=0, min_value=-(2**63)),
    st.integers(min_value=MAXIMUM + 1, max_value=2**64 - 1),
    st.lists(st.integers(1, 5), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
bad_integers: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=20),
    st.binary(max_size=5),
    fractions,
    st.sampled_from([math.nan, math.inf, -math.inf, 1e30, 1 + 0j]),
    out_of_range,
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
json_bad_categories: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**53), max_value=2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=150).filter(lambda text: text not in GEMM.input("gpu").allowed),
    st.sampled_from(["", "h200", "H200_SXM", " h200_sxm", "h200_sxm\x00"]),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
bad_categories: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=5),
    st.text(max_size=150).filter(lambda text: text not in GEMM.input("gpu").allowed),
    st.sampled_from(["\ud800", "h200_sxm\n", 10**5000]),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def good_row(task: Task = GEMM) -> dict[str, Any]:
    """A question that can be answered."""
    return {column.name: column.example for column in task.inputs}
