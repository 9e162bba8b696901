from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.errors import DataError
from perfcast.training.dataset import Category, DataSet, canonical_order


@settings(deadline=None)
@given(st.lists(st.text(max_size=5).filter(lambda s: "\x00" not in s), min_size=1))
def test_category_round_trip(values: list[str]) -> None:
    column = Category.of(values)
    assert column.values().tolist() == values
    assert list(column.levels) == sorted(set(values))
    assert column.is_in(values[:1]).tolist() == [value == values[0] for value in values]


def test_category_take_forgets_unused_levels() -> None:
    column = Category.of(["b", "a", "c", "b"]).take(np.array([3, 2]))
    assert column.levels == ("b", "c")
    assert column.values().tolist() == ["b", "c"]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.integers(1, 2**62), st.integers(1, 3)), min_size=1
    )
)
def test_canonical_order_sorts_by_keys_first_key_first(keys: list[tuple[str, int, int]]) -> None:
    letter, big, small = zip(*keys, strict=True)
    order = canonical_order(
        ("letter", "big", "small"),
        {"letter": Category.of(letter)},
        {"big": np.array(big), "small": np.array(small)},
    )
    assert [keys[row] for row in order] == sorted(keys)


def test_canonical_order_is_exact_beyond_64_bits() -> None:
    rng = np.random.default_rng(0)
    numbers = {name: rng.integers(0, 2**40, 3000) for name in "abcdefgh"}
    numbers["a"] = rng.integers(0, 2, 3000)
    order = canonical_order(tuple(numbers), {}, numbers)
    table = list(zip(*(column.tolist() for column in numbers.values()), strict=True))
    assert [table[row] for row in order] == sorted(table)


def test_groups(data: DataSet) -> None:
    group = data.groups(["gpu", "framework"])
    assert group.levels == ("a100_sxm/vllm", "h200_sxm/trtllm", "h200_sxm/vllm")
    pairs = zip(data["gpu"], data["framework"], strict=True)
    assert group.values().tolist() == [f"{gpu}/{framework}" for gpu, framework in pairs]


def test_take_and_matching(data: DataSet) -> None:
    part = data.matching({"gpu": ["h200_sxm"], "dtype": ["fp8", "bfloat16"], "framework": ["vllm"]})
    assert set(part["framework"]) == {"vllm"} and set(part["gpu"]) == {"h200_sxm"}
    assert len(part) == int(((data["gpu"] == "h200_sxm") & (data["framework"] == "vllm")).sum())
    assert part.category("gpu").levels == ("h200_sxm",)
    assert len(data.take(np.arange(3))) == 3
    with pytest.raises(DataError, match="no rows with gpu 'h200'; did you mean 'h200_sxm'"):
        data.matching({"gpu": ["h200"]})
    with pytest.raises(DataError, match="'gpus'; did you mean 'gpu'"):
        data.matching({"gpus": ["h200_sxm"]})


def test_measured(data: DataSet) -> None:
    part = data.measured("power_w")
    assert set(part["framework_version"]) == {"0.22.0"}
    assert np.isfinite(part["power_w"]).all()
    with pytest.raises(DataError, match="'power'; did you mean 'power_w'"):
        data.measured("power")


def test_newest_versions(data: DataSet) -> None:
    """0.22.0 supersedes 0.9.0 on H200, though "0.9.0" is the larger string."""
    newest = data.newest_versions()
    groups = newest.groups(["gpu", "framework", "framework_version"]).levels
    assert groups == ("a100_sxm/vllm/0.14.0", "h200_sxm/trtllm/1.3.0rc20", "h200_sxm/vllm/0.22.0")
    assert data.newest_versions(within=["framework"]).category("gpu").levels == ("h200_sxm",)


def test_fingerprint_is_of_the_contents(data: DataSet) -> None:
    print_ = data.fingerprint()
    assert len(print_) == 64
    shuffled = np.random.default_rng(0).permutation(len(data))
    assert data.take(shuffled).fingerprint() == print_
    assert data.take(np.arange(len(data) - 1)).fingerprint() != print_
    latency = data.numbers["latency_ms"].copy()
    latency[17] = np.nextafter(latency[17], 1)
    changed = DataSet(
        data.task, data.keys, data.categories, {**data.numbers, "latency_ms": latency}
    )
    assert changed.fingerprint() != print_
    renamed = {**data.categories, "gpu": Category.of(["b60"] * len(data))}
    assert DataSet(data.task, data.keys, renamed, data.numbers).fingerprint() != print_
