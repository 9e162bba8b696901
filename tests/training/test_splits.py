from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.errors import DataError, InvalidInput
from perfcast.training.dataset import Category, DataSet
from perfcast.training.splits import (
    Split,
    frontier_split,
    leave_one_out,
    random_split,
    site_folds,
    site_split,
)


def sites(data: DataSet) -> set[tuple[int, int]]:
    return set(zip(data["n"].tolist(), data["k"].tolist(), strict=True))


def many_sites(count: int = 3000) -> DataSet:
    rng = np.random.default_rng(3)
    numbers: dict[str, np.ndarray] = {
        name: rng.integers(1, 2**17, count) for name in ("m", "n", "k")
    }
    numbers["latency_ms"] = np.ones(count)
    gpu = Category.of(rng.choice(["l4", "b60"], count))
    return DataSet("gemm", ("gpu", "m", "n", "k"), {"gpu": gpu}, numbers)


ALL: list[Callable[[DataSet], Split]] = [
    lambda data: site_split(data, salt="a"),
    lambda data: site_folds(data, salt="a", folds=2)[1],
    frontier_split,
    lambda data: leave_one_out(data)[0],
    lambda data: leave_one_out(data, ["framework", "framework_version"])[-1],
    lambda data: random_split(data, seed=1),
]


@pytest.mark.parametrize("make", ALL)
def test_every_split_is_a_partition_and_repeatable(
    data: DataSet, make: Callable[[DataSet], Split]
) -> None:
    split = make(data)
    assert len(split.train) and len(split.test)
    both = np.concatenate([split.train, split.test])
    assert np.array_equal(np.sort(both), np.arange(len(data)))
    assert (np.diff(split.train) > 0).all() and (np.diff(split.test) > 0).all()
    again = make(data)
    assert again.name == split.name
    assert np.array_equal(again.test, split.test)
    assert split.name in repr(split)


def test_sites_stay_whole(data: DataSet) -> None:
    split = site_split(data, salt="a")
    assert not sites(data.take(split.train)) & sites(data.take(split.test))


def test_a_site_is_held_out_whatever_else_is_in_the_data() -> None:
    data = many_sites()
    whole = sites(data.take(site_split(data, salt="x").test))
    half = data.take(np.arange(0, len(data), 2))
    part = sites(half.take(site_split(half, salt="x").test))
    assert part == whole & sites(half)


@settings(max_examples=25, deadline=None)
@given(first=st.text(max_size=4), second=st.text(max_size=4), fraction=st.floats(0.1, 0.9))
def test_site_fractions_and_independence_of_salts(first: str, second: str, fraction: float) -> None:
    data = many_sites()
    one = site_split(data, salt=f"a{first}", test_fraction=fraction)
    assert abs(len(one.test) / len(data) - fraction) < 0.05
    two = site_split(data, salt=f"b{second}", test_fraction=fraction)
    both = len(np.intersect1d(one.test, two.test)) / len(data)
    assert abs(both - fraction**2) < 0.05


def test_folds_test_every_row_once(data: DataSet) -> None:
    folds = site_folds(data, salt="a", folds=3)
    tested = np.concatenate([fold.test for fold in folds])
    assert np.array_equal(np.sort(tested), np.arange(len(data)))
    assert len({fold.name for fold in folds}) == 3


def test_frontier(data: DataSet) -> None:
    split = frontier_split(data)
    test, train = data.take(split.test), data.take(split.train)
    assert (np.maximum(test["n"], test["k"]) == 8192).all()
    assert max(train["n"].max(), train["k"].max()) == 4096
    lower = data.take(frontier_split(data, bound=512).test)
    assert (np.maximum(lower["n"], lower["k"]) > 512).all()
    tall = data.take(frontier_split(data, bound=256, columns=["m"]).train)
    assert tall["m"].max() == 256


def test_leave_one_out(data: DataSet) -> None:
    splits = leave_one_out(data)
    assert [split.name for split in splits] == ["leave-out:a100_sxm", "leave-out:h200_sxm"]
    for split, gpu in zip(splits, ("a100_sxm", "h200_sxm"), strict=True):
        assert set(data["gpu"][split.test]) == {gpu}
        assert gpu not in set(data["gpu"][split.train])
    version = leave_one_out(data, ["framework", "framework_version"], values=["vllm/0.9.0"])
    assert set(data["framework_version"][version[0].test]) == {"0.9.0"}
    with pytest.raises(DataError, match="no rows with gpu 'l4'"):
        leave_one_out(data, values=["l4"])


def test_random_split(data: DataSet) -> None:
    split = random_split(data, seed=1, test_fraction=0.25)
    assert len(split.test) == round(0.25 * len(data))
    assert not np.array_equal(split.test, random_split(data, seed=2, test_fraction=0.25).test)


def test_splits_that_cannot_be() -> None:
    data = many_sites(10)
    one = data.take(data["gpu"] == data["gpu"][0])
    with pytest.raises(DataError, match="leaves no rows to train on"):
        leave_one_out(one)
    with pytest.raises(DataError, match="leaves no rows to test on"):
        frontier_split(data, bound=2**20)
    with pytest.raises(InvalidInput, match="test_fraction"):
        site_split(data, salt="a", test_fraction=1.0)
    with pytest.raises(InvalidInput, match="folds"):
        site_folds(data, salt="a", folds=1)
