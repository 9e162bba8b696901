"""Predictions flatten to columns and to JSON-ready records, with null where nothing is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcast.prediction import Estimate, Prediction, Reasons, significant

NAN = np.nan


def example() -> Prediction:
    return Prediction(
        task="gemm",
        model="gemm@1",
        coverage=0.9,
        estimates={
            "latency_ms": Estimate(
                "ms",
                np.array([0.1, NAN]),
                np.array([0.05, NAN]),
                np.array([0.2, NAN]),
                np.array([0, 2]),
            ),
            "tflops": Estimate("TFLOP/s", np.array([3.0, np.inf]), None, None, np.array([0, 2])),
        },
        status=np.array([0, 2]),
        reasons=Reasons(np.array([0, 5]), ("first", "second", "third")),
    )


def test_columns() -> None:
    columns = example().columns()
    assert list(columns) == [
        "latency_ms", "latency_ms_low", "latency_ms_high", "tflops", "status", "reasons",
        "latency_ms_status", "model",
    ]  # fmt: skip
    assert columns["status"].tolist() == ["in_domain", "out_of_domain"]
    assert columns["reasons"].tolist() == ["", "first; third"]
    assert columns["model"].tolist() == ["gemm@1"] * 2


def test_records_hold_null_and_never_nan() -> None:
    first, second = example().records()
    assert first["latency_ms"] == 0.1
    assert first["reasons"] == []
    assert second["latency_ms"] is None
    assert second["latency_ms_low"] is None
    assert second["tflops"] is None
    assert second["reasons"] == ["first", "third"]
    json.dumps([first, second], allow_nan=False)


def test_answered_rows_have_every_value() -> None:
    assert example().answered.tolist() == [True, False]


def test_quantities_by_name() -> None:
    prediction = example()
    assert len(prediction) == 2
    assert prediction["latency_ms"].unit == "ms"
    with pytest.raises(KeyError):
        prediction["energy"]


def test_reasons_are_a_mapping_of_the_rows_that_have_any() -> None:
    reasons = Reasons(np.array([0, 2, 3, 0]), ("a", "b"), {3: ("m: bad",)})
    assert dict(reasons) == {1: ("b",), 2: ("a", "b"), 3: ("m: bad",)}
    assert len(reasons) == 3
    assert repr(reasons) == repr(dict(reasons))
    assert 0 not in reasons
    for absent in (0, -1, 4):
        with pytest.raises(KeyError):
            reasons[absent]
    assert reasons.joined().tolist() == ["", "b", "a; b", "m: bad"]
    assert Reasons(np.array([], np.int64), ("a",)).joined().tolist() == []


@given(st.floats(min_value=1e-37, max_value=3e38))
def test_seven_digits_are_kept_and_the_tail_dropped(value: float) -> None:
    rounded = significant(np.array([value, -value]))
    assert rounded[0] == pytest.approx(value, rel=6e-7)
    assert rounded[1] == -rounded[0]


def test_float32_prints_without_its_tail() -> None:
    values = np.array([0.1, 0.1502817, 690.6841, 1829.085, 12345678.0], np.float32)
    shown = significant(values.astype(np.float64)).tolist()
    assert shown == [0.1, 0.1502817, 690.6841, 1829.085, 12345680.0]


def test_rounding_leaves_zero_nan_and_infinity_alone() -> None:
    np.testing.assert_array_equal(
        significant(np.array([0.0, NAN, np.inf, -np.inf])), [0.0, NAN, np.inf, -np.inf]
    )
