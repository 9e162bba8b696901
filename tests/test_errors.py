"""The tree of errors: one base, one HTTP status each, and messages that name what to do."""

from __future__ import annotations

import json

import pytest

from perfcast import errors
from perfcast.errors import (
    InvalidInput,
    MissingExtra,
    PerfcastError,
    Problem,
    UnknownTask,
    UnknownValue,
    UnknownVersion,
    document,
    nearest,
    refusal,
)

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, PerfcastError)
]


def test_the_docstring_draws_the_whole_tree_with_its_statuses() -> None:
    assert errors.__doc__ is not None
    drawn = {}
    for line in errors.__doc__.splitlines():
        words = line.replace("├──", "").replace("└──", "").replace("│", "").split()
        if len(words) >= 2 and words[1].isdigit():
            drawn[words[0]] = int(words[1])
    assert drawn == {each.__name__: each.http_status for each in CLASSES}


def test_the_message_shows_five_problems_and_counts_the_rest() -> None:
    error = InvalidInput([Problem("m", f"bad {row}", row) for row in range(8)])
    assert str(error).endswith("row 4, m: bad 4; and 3 more")
    assert len(error.problems) == 8


def test_refusals_are_unknown_values_only_if_nothing_else_is_wrong() -> None:
    unknown, other = Problem("gpu", "unknown value 'x'"), Problem("m", "must be whole")
    assert type(refusal([unknown])) is UnknownValue
    assert type(refusal([unknown, other])) is InvalidInput


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        ("h200", "did you mean 'h200_sxm'?"),
        ("H200_SXM", "did you mean 'h200_sxm'?"),
        ("zzz", "known: 'a30', 'h200_sxm'"),
    ],
)
def test_nearest(value: str, phrase: str) -> None:
    assert nearest(value, ["h200_sxm", "a30"]) == phrase


def test_nearest_of_many_and_of_none() -> None:
    assert nearest("zzz", [f"n{i:02}" for i in range(30)]).endswith("'n19', ...")
    assert nearest("zzz", []) == "none is known"


def test_messages_of_the_ones_that_build_their_own() -> None:
    assert str(UnknownTask("gem", ["gemm"])) == "no model for task 'gem'; did you mean 'gemm'?"
    assert str(UnknownVersion("gemm", "2025.1", ["2024.1"])) == (
        "no version '2025.1' of gemm; did you mean '2024.1'?"
    )
    assert "pip install 'perfcast[train]'" in str(MissingExtra("xgboost", "train"))


def test_documents_are_json_whatever_the_text() -> None:
    error = InvalidInput([Problem("\ud800", "unknown", 3), Problem("m", "bad")])
    read = json.loads(json.dumps(document(error)))["error"]
    assert read["type"] == "InvalidInput"
    assert read["problems"][0] == {"row": 3, "field": "\ud800", "reason": "unknown"}
    assert read["problems"][1]["row"] is None
    assert document(PerfcastError("x")) == {
        "error": {"type": "PerfcastError", "message": "x", "problems": []}
    }
