from __future__ import annotations

from typing import Any

import ndonnx as ndx
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcast.predictors.lattice import Bracket, Lattice, bracket, cell, read

MAXIMUM = 2**24
FLOAT = np.float64

axes = st.lists(st.integers(1, 5_000), min_size=2, max_size=7, unique=True).map(
    lambda nodes: np.array(sorted(nodes), dtype=np.float64)
)
questions = st.integers(1, 8_000) | st.just(MAXIMUM)


def lattice_on(*nodes: NDArray[np.float64], rows: int = 2, seed: int = 0) -> Lattice:
    shape = (rows, *(len(axis) for axis in nodes))
    return Lattice.pack(np.random.default_rng(seed).normal(size=shape).astype(np.float16), FLOAT)


def values_at(lattice: Lattice, row: Any, *queries: tuple[NDArray[np.float64], Any]) -> Any:
    """Read at one point for each axis's `(nodes, size)`."""
    nodes, sizes = zip(*queries, strict=True)
    place = bracket(np, nodes, np.stack([np.atleast_1d(x) for x in sizes]))
    return read_one(np, lattice, np.atleast_1d(row), place)


def read_one(xp: Any, lattice: Lattice, row: Any, at: Bracket) -> Any:
    """The only quantity [N] of `lattice`."""
    _, n, k, m = lattice.table.shape
    return read(xp, lattice, cell(xp, (n, k, m), row, at))[0, :]


@given(axes, axes, axes, st.integers(0, 1))
def test_nodes_are_read_as_they_are(
    n: NDArray[np.float64], k: NDArray[np.float64], m: NDArray[np.float64], row: int
) -> None:
    lattice = lattice_on(n, k, m)
    i, j, h = (grid.ravel() for grid in np.indices((len(n), len(k), len(m))))
    found = values_at(
        lattice,
        np.full(len(i), row),
        *((axis, axis[at].astype(np.int64)) for axis, at in ((n, i), (k, j), (m, h))),
    )
    assert found == pytest.approx(lattice.unpack()[row].ravel(), abs=1e-12)


@given(axes, axes, axes, questions, questions, questions)
def test_between_nodes_lies_between_their_values(
    n: NDArray[np.float64], k: NDArray[np.float64], m: NDArray[np.float64], x: int, y: int, z: int
) -> None:
    lattice = lattice_on(n, k, m)
    found = float(values_at(lattice, 1, (n, x), (k, y), (m, z))[0])
    cell = lattice.unpack()[1]
    for axis, (nodes, at) in enumerate(((n, x), (k, y), (m, z))):
        right = int(np.clip(np.searchsorted(nodes, at), 1, len(nodes) - 1))
        around = (right - 1, right)
        if at >= nodes[-1]:
            around = (right, right)
        if at <= nodes[0]:
            around = (0, 0)
        cell = np.take(cell, around, axis=axis)
    assert cell.min() - 1e-12 <= found <= cell.max() + 1e-12


@given(axes, questions)
def test_brackets(nodes: NDArray[np.float64], x: int) -> None:
    place = bracket(np, [nodes], np.array([[x]]))
    left, share = int(place.left[0, 0]), float(place.share[0, 0])
    assert 0 <= left <= len(nodes) - 2
    assert -1e-12 <= share <= 1 + 1e-12
    read_back = np.exp((1 - share) * np.log(nodes[left]) + share * np.log(nodes[left + 1]))
    assert read_back == pytest.approx(np.clip(x, nodes[0], nodes[-1]))


def test_linear_in_the_logarithm() -> None:
    nodes = np.array([1.0, 4.0, 64.0])
    place = bracket(np, [nodes], np.array([[0, 1, 2, 4, 16, 64, 65, MAXIMUM]]))
    assert place.left.tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]
    assert place.share[0] == pytest.approx([0, 0, 0.5, 0, 0.5, 1, 1, 1])


@given(axes, axes, questions, questions)
def test_axes_do_not_depend_on_each_other(
    one: NDArray[np.float64], other: NDArray[np.float64], x: int, y: int
) -> None:
    both = bracket(np, [one, other], np.array([[x], [y]]))
    for i, (nodes, size) in enumerate(((one, x), (other, y))):
        alone, part = bracket(np, [nodes], np.array([[size]])), both.on(np, i)
        assert (part.left, part.share) == (alone.left, alone.share)


def test_weights_multiply() -> None:
    """The centre of a cell is the mean of its eight corners."""
    pair = np.array([1.0, 4.0])
    lattice = lattice_on(pair, pair, pair)
    middle = Bracket(np.zeros((3, 1), dtype=np.int64), np.full((3, 1), 0.5))
    found = read_one(np, lattice, np.array([1]), middle)
    assert found[0] == pytest.approx(lattice.unpack()[1].mean())
    assert values_at(lattice, 1, (pair, 2), (pair, 2), (pair, 2)) == pytest.approx(found)


def test_long_axes() -> None:
    """More nodes than a byte can count."""
    nodes = np.arange(1.0, 701.0)
    pair = np.array([1.0, 2.0])
    values = np.random.default_rng(0).normal(size=(1, 700, 2, 2))
    lattice = Lattice.pack(values, FLOAT)
    first, row = np.ones(700, dtype=np.int64), np.zeros(700, dtype=np.int64)
    found = values_at(lattice, row, (nodes, np.arange(1, 701)), (pair, first), (pair, first))
    assert found == pytest.approx(values[0, :, 0, 0], abs=1e-12)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_bytes_are_within_half_a_step(values: list[float]) -> None:
    array = np.array(values).reshape(1, -1, 1, 1)
    lattice = Lattice.pack(array, np.uint8)
    assert lattice.table.dtype == np.uint8
    assert np.abs(lattice.unpack() - array).max() <= 0.5001 * lattice.scale + 1e-12
    if array.max() > array.min():
        assert lattice.scale == pytest.approx((array.max() - array.min()) / 255, rel=1e-9)


def test_packed_as_floats() -> None:
    values = np.array([0.1, -2.5, 60_000.0]).reshape(1, 3, 1, 1)
    lattice = Lattice.pack(values, np.float16)
    assert lattice.table.dtype == np.float16
    assert (float(lattice.scale), float(lattice.offset)) == (1.0, 0.0)
    assert lattice.unpack() == pytest.approx(values, rel=2**-11)


def test_quantities_side_by_side() -> None:
    """Each has its own range, and is read as it is read alone."""
    pair = np.array([1.0, 4.0])
    values = np.random.default_rng(0).normal(size=(2, 2, 2, 2, 3, 2)) * [[1, 2], [3, 4], [5, 6]]
    together = Lattice.pack(values, np.uint8, further=2)
    assert together.scale.shape == together.offset.shape == (3, 2)
    place = bracket(np, [pair] * 3, np.array([[1, 2, 3], [4, 3, 1], [2, 2, 2]]))
    row = np.array([0, 1, 1])
    found = read(np, together, cell(np, (2, 2, 2), row, place))
    for at, (i, j) in enumerate(np.ndindex(3, 2)):
        alone = Lattice.pack(values[..., i, j], np.uint8)
        assert np.array_equal(together.unpack()[..., i, j], alone.unpack())
        assert found[at] == pytest.approx(read_one(np, alone, row, place), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_traced_is_what_numpy_says(dtype: type[np.generic]) -> None:
    n, k, m = np.array([64.0, 256, 300]), np.array([1.0, 2, 5000]), np.array([1.0, 3, 4096])
    values = np.random.default_rng(0).normal(size=(2, 3, 3, 3))
    lattice = Lattice.pack(values, dtype)

    def look_up(xp: Any, row: Any, x: Any, y: Any, z: Any) -> Any:
        place = bracket(xp, (n, k, m), xp.reshape(xp.concat([x, y, z]), (3, -1)))
        return read_one(xp, lattice, row, place)

    names = ("row", "x", "y", "z")
    arguments = {name: ndx.argument(shape=("N",), dtype=ndx.int64) for name in names}
    model = ndx.build(arguments, {"value": look_up(ndx, *arguments.values())})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    sizes = [1, 2, 3, 63, 64, 65, 256, 299, 300, 301, 4096, 5000, MAXIMUM]
    parts = [part.ravel() for part in np.meshgrid([0, 1], sizes, sizes, sizes)]
    found = session.run(["value"], dict(zip(names, parts, strict=True)))[0]
    assert found == pytest.approx(look_up(np, *parts), rel=1e-9, abs=1e-12)
