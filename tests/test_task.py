"""A task checks its questions: what passes comes out typed, what does not is named with its row."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.errors import InvalidInput, UnknownValue
from perfcast.features.tasks import GEMM
from perfcast.task import Coded, Input
from tests.strategies import MAXIMUM, bad_categories, bad_integers, good_row


def refusal_of(**changes: Any) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        GEMM.require_valid({**good_row(), **changes})
    return caught.value


def test_scalars_become_arrays_of_one() -> None:
    checked = GEMM.require_valid(good_row())
    assert tuple(checked) == GEMM.input_names
    assert checked["gpu"].tolist() == ["h200_sxm"]
    assert checked["gpu"].dtype == object
    assert checked["m"].tolist() == [4096]
    assert checked["m"].dtype == np.int64


def test_scalars_broadcast_against_arrays() -> None:
    checked = GEMM.require_valid({**good_row(), "m": [1, 2, 3]})
    assert checked["m"].tolist() == [1, 2, 3]
    assert checked["gpu"].tolist() == ["h200_sxm"] * 3
    assert checked["k"].tolist() == [8192] * 3


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3],
        (1, 2, 3),
        range(1, 4),
        np.array([1, 2, 3], np.int8),
        np.array([1, 2, 3], np.uint64),
        np.array([1.0, 2.0, 3.0]),
        np.array([1, 2, 3], object),
        [np.int32(1), 2.0, 3],
    ],
    ids=lambda values: type(values).__name__,
)
def test_whole_numbers_of_any_kind_are_taken(values: Any) -> None:
    checked = GEMM.require_valid({**good_row(), "m": values})
    assert checked["m"].tolist() == [1, 2, 3]
    assert checked["m"].dtype == np.int64


@pytest.mark.parametrize("scalar", [7, 7.0, np.int16(7), np.float32(7), np.array(7)])
def test_whole_scalars_of_any_kind_are_taken(scalar: Any) -> None:
    assert GEMM.require_valid({**good_row(), "m": scalar})["m"].tolist() == [7]


@pytest.mark.parametrize(
    "names",
    [["l4", "l40s"], ("l4", "l40s"), np.array(["l4", "l40s"]), np.array(["l4", "l40s"], "O")],
)
def test_names_of_any_kind_are_taken(names: Any) -> None:
    checked = GEMM.require_valid({**good_row(), "gpu": names})
    assert checked["gpu"].tolist() == ["l4", "l40s"]
    assert {type(name) for name in checked["gpu"]} == {str}


@pytest.mark.parametrize("absent", [None, "", float("nan"), [None, "", float("nan")]])
def test_optional_columns_may_be_null(absent: Any) -> None:
    checked = GEMM.require_valid({**good_row(), "framework": absent})
    assert set(checked["framework"]) == {""}


def test_an_optional_column_may_be_left_out() -> None:
    row = good_row()
    del row["framework"], row["framework_version"]
    assert GEMM.require_valid(row)["framework"].tolist() == [""]


def test_empty_columns_make_no_rows() -> None:
    checked = GEMM.require_valid({**good_row(), "m": []})
    assert {name: len(values) for name, values in checked.items()} == dict.fromkeys(
        GEMM.input_names, 0
    )


def test_every_problem_is_named_at_once() -> None:
    row = good_row()
    del row["k"]
    row.update(gpu="h200", m=0, tile=1)
    with pytest.raises(InvalidInput) as caught:
        GEMM.require_valid(row)
    assert {problem.field for problem in caught.value.problems} == {"gpu", "m", "k", "tile"}


def test_unknown_values_name_the_nearest() -> None:
    refused = refusal_of(gpu="h200")
    assert isinstance(refused, UnknownValue)
    assert "did you mean 'h200_sxm'" in str(refused)


def test_a_number_out_of_range_is_not_called_unknown() -> None:
    assert type(refusal_of(m="unknown value")) is InvalidInput


def test_misspelt_columns_name_the_nearest() -> None:
    assert "did you mean 'framework'" in str(refusal_of(framwork="vllm"))


def test_problems_carry_their_row() -> None:
    refused = refusal_of(m=[1, -2, 3, True], gpu=["l4", "l4", "x", "l4"])
    assert [(p.field, p.row) for p in refused.problems] == [("gpu", 2), ("m", 1), ("m", 3)]


def test_a_bad_value_given_once_is_named_once() -> None:
    refused = refusal_of(m=[1, 2, 3], gpu="x")
    assert [(p.field, p.row) for p in refused.problems] == [("gpu", None)]


@pytest.mark.parametrize("column", ["gpu", "m"])
def test_problems_are_limited_per_column(column: str) -> None:
    columns = {**good_row(), column: [None] * 500}
    _, some = GEMM.validate(columns)
    _, every = GEMM.validate(columns, limit=None)
    assert (len(some), len(every)) == (100, 500)


def test_rows_beside_a_bad_one_keep_their_values() -> None:
    checked, problems = GEMM.validate({**good_row(), "m": [5, 2**70, 7], "gpu": ["l4", 3, "a30"]})
    assert checked["m"].tolist() == [5, 1, 7]
    assert checked["gpu"].tolist() == ["l4", "", "a30"]
    assert [problem.row for problem in problems] == [1, 1]


def test_unequal_lengths_are_refused() -> None:
    assert "m: 2, n: 3" in str(refusal_of(m=[1, 2], n=[1, 2, 3]))


def test_tables_are_refused() -> None:
    assert "one-dimensional array, not 2x3" in str(refusal_of(m=np.ones((2, 3))))


@given(bad_integers)
def test_no_bad_integer_passes(value: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert refusal_of(m=value).problems[0].field == "m"
        refused = refusal_of(m=[1, value])
    assert [(problem.field, problem.row) for problem in refused.problems] == [("m", 1)]
    assert len(str(refused)) < 300


@given(bad_categories)
def test_no_bad_category_passes(value: Any) -> None:
    assert refusal_of(gpu=value).problems[0].field == "gpu"
    refused = refusal_of(gpu=["l4", value])
    assert [(problem.field, problem.row) for problem in refused.problems] == [("gpu", 1)]


@given(st.lists(st.integers(1, MAXIMUM), min_size=1))
def test_every_good_integer_passes(values: list[int]) -> None:
    for given_as in (values, np.array(values), np.array(values, dtype=np.float64)):
        assert GEMM.require_valid({**good_row(), "n": given_as})["n"].tolist() == values


@given(st.text(max_size=120))
def test_versions_are_printable_text(version: str) -> None:
    columns = {**good_row(), "framework_version": version}
    if version.isprintable() and len(version) <= 100:
        assert GEMM.require_valid(columns)["framework_version"].tolist() == [version]
    else:
        assert refusal_of(framework_version=version).problems[0].field == "framework_version"


def test_an_unknown_column_cannot_be_looked_up() -> None:
    assert GEMM.input("gpu").kind == "category"
    with pytest.raises(InvalidInput, match="did you mean 'dtype'"):
        GEMM.input("dtypes")


@settings(deadline=None)
@given(
    st.sampled_from(GEMM.inputs),
    st.lists(
        st.sampled_from(("", "vllm", "h200_sxm", "fp8", "0.24.0", "x" * 101, "\n", "h200")),
        min_size=1,
        max_size=6,
    ),
    st.data(),
)
def test_coded_columns_say_what_lists_say(
    column: Input, words: list[str], data: st.DataObject
) -> None:
    at = data.draw(st.lists(st.integers(0, len(words) - 1), min_size=1, max_size=12))
    others = {other.name: other.example for other in GEMM.inputs if other is not column}
    coded = Coded(words, np.array(at, dtype=np.intp))
    found = GEMM.validate({**others, column.name: coded})
    expected = GEMM.validate({**others, column.name: [words[i] for i in at]})
    assert found[1] == expected[1]
    for name, array in expected[0].items():
        assert found[0][name].dtype == array.dtype
        assert found[0][name].tolist() == array.tolist()


def test_bad_words_without_end_cost_one_sentence_each_of_the_first() -> None:
    words = [f"h200{i}" for i in range(50_000)]
    _, problems = GEMM.validate({**good_row(), "gpu": words})
    _, coded = GEMM.validate({**good_row(), "gpu": Coded(words, np.arange(len(words)))})
    assert len(problems) == 100
    assert coded == problems
