"""Shapes come as tuples, mappings or arrays, and are read strictly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from perfcast.errors import InvalidInput
from perfcast.features.tasks import GEMM
from perfcast.serving.shapes import read_shapes
from tests.strategies import bad_integers


@pytest.mark.parametrize(
    ("shapes", "sizes", "counts"),
    [
        ((1, 2, 3), [[1], [2], [3]], [1]),
        ([1, 2, 3, 4], [[1], [2], [3]], [4]),
        ([(1, 2, 3), (4, 5, 6, 7)], [[1, 4], [2, 5], [3, 6]], [1, 7]),
        (np.array([[1, 2, 3], [4, 5, 6]]), [[1, 4], [2, 5], [3, 6]], [1, 1]),
        (np.array([1, 2, 3, 9]), [[1], [2], [3]], [9]),
        ({"m": 1, "n": 2, "k": 3}, [[1], [2], [3]], [1]),
        ([{"k": 3, "n": 2, "m": 1, "count": 5}, (4, 5, 6)], [[1, 4], [2, 5], [3, 6]], [5, 1]),
    ],
)
def test_forms(shapes: Any, sizes: list[list[int]], counts: list[int]) -> None:
    columns, times = read_shapes(GEMM, shapes)
    assert list(columns) == ["m", "n", "k"]
    assert [values.tolist() for values in columns.values()] == sizes
    assert times.tolist() == counts


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "at least one shape"),
        (np.empty((0, 3), int), "at least one shape"),
        ("4096x4096", r"must be \(m, n, k\)"),
        (None, r"must be \(m, n, k\)"),
        (7, r"must be \(m, n, k\)"),
        ((1, 2), r"row 0, shape: must be \(m, n, k\)"),
        ([(1, 2, 3), (1, 2, 3, 4, 5)], "row 1, shape"),
        ([(1, 2, 3), "123"], "row 1, shape"),
        ([(1, 2, 3), {"m": 1, "n": 1, "kk": 1}], "row 1, kk: unknown column; did you mean 'k'"),
        ([{"m": 1, "n": 1}], "row 0, k: missing"),
        ([(1, 2, 3), (1, 0, 3)], "row 1, n: must be a whole number from 1"),
        ([(1, 2, 3, 0)], "row 0, count: must be a whole number from 1"),
        ([(1, 2, 3, True)], "row 0, count"),
        (np.array([[1.0, 2.5, 3.0]]), "row 0, n: .* not 2.5"),
    ],
)
def test_refusals(shapes: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_shapes(GEMM, shapes)


@given(bad_integers)
def test_no_bad_size_passes(value: Any) -> None:
    with pytest.raises(InvalidInput):
        read_shapes(GEMM, [(1, 2, 3), (1, value, 3)])
