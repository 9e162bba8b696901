"""Questions to measure with are distinct, and each has a whole answer."""

from __future__ import annotations

import numpy as np
import pytest

from perfcast.serving.bench.questions import answered_questions, draw_questions
from perfcast.serving.predictor import GemmPredictor


def test_every_question_is_another_and_is_answered(gemm: GemmPredictor) -> None:
    columns = answered_questions(gemm, np.random.default_rng(0), 300)
    assert list(columns) == list(gemm.task.input_names)
    rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
    assert len(rows) == len(set(rows)) == 300
    for name, values in gemm.session.run(columns).items():
        assert np.isfinite(values).all(), name


def test_the_draw_is_of_measured_deployments(gemm: GemmPredictor) -> None:
    columns = draw_questions(gemm, np.random.default_rng(0), 50)
    known = {tuple(each.values()) for each in gemm.bundle.card["deployments"]}
    names = tuple(gemm.bundle.card["deployments"][0])
    assert set(zip(*(columns[name] for name in names), strict=True)) <= known
    assert gemm.task.require_valid(columns)


def test_the_same_seed_gives_the_same_questions(gemm: GemmPredictor) -> None:
    one, other, third = (
        answered_questions(gemm, np.random.default_rng(seed), 5) for seed in (1, 1, 2)
    )
    assert all(one[name].tolist() == other[name].tolist() for name in one)
    assert any(one[name].tolist() != third[name].tolist() for name in one)


def test_a_model_that_answers_nothing_is_an_error(
    gemm: GemmPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = {"latency_ms": np.full(20, np.nan, dtype=np.float32)}
    monkeypatch.setattr(gemm.session, "run", lambda _columns: silent)
    with pytest.raises(ValueError, match="answers only 0"):
        answered_questions(gemm, np.random.default_rng(0), 10)
