"""A server whose answers are not the model's is found out, whatever it answers with."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from perfcast.serving.bench.peers.checking import WrongAnswer, check_answers, check_server
from perfcast.serving.bench.peers.long import ask, measure_long
from perfcast.serving.bench.questions import answered_questions
from perfcast.serving.predictor import GemmPredictor

INFER = "/v2/models/gemm/infer"
TYPED = "/v1/gemm/predict"


@pytest.fixture
def port(client: httpx.Client) -> int:
    found = urlsplit(str(client.base_url)).port
    assert found is not None
    return found


@pytest.fixture
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    yield opened
    opened.close()


def test_answers_that_agree() -> None:
    expected = {"power_w": np.array([700.0], dtype=np.float32), "reasons": np.array([3])}
    check_answers("x", {"power_w": np.array([700.00001])}, expected)
    check_answers("x", expected, expected)


@pytest.mark.parametrize(
    ("answered", "told"),
    [({}, "x: no power_w"), ({"power_w": np.array([700.1])}, r"power_w is .*700\.1")],
)
def test_answers_that_do_not(answered: dict[str, np.ndarray], told: str) -> None:
    expected = {"power_w": np.array([700.0], dtype=np.float32)}
    with pytest.raises(WrongAnswer, match=told):
        check_answers("x", answered, expected)


@pytest.mark.parametrize(
    ("form", "path"),
    [("binary", INFER), ("tensors", INFER), ("rows", TYPED), ("columns", TYPED)],
)
def test_the_service_answers_as_the_model_does(
    gemm: GemmPredictor, port: int, form: str, path: str
) -> None:
    rng = np.random.default_rng(0)
    questions = [answered_questions(gemm, rng, rows) for rows in (1, 7)]
    check_server(gemm, "perfcast", port, path, form, questions)


def test_a_refusal_is_no_answer(gemm: GemmPredictor, port: int) -> None:
    questions = [answered_questions(gemm, np.random.default_rng(0), 1)]
    with pytest.raises(WrongAnswer, match=r"perfcast: .*answered 4"):
        check_server(gemm, "perfcast", port, INFER, "rows", questions)


def test_headers_come_in_lower_case(connection: http.client.HTTPConnection) -> None:
    with pytest.raises(ValueError, match="/nowhere answered 404"):
        ask(connection, "/nowhere", b"", {})


def test_long_requests_take_turns_with_the_bare_call(gemm: GemmPredictor, port: int) -> None:
    rng = np.random.default_rng(0)
    questions = [answered_questions(gemm, rng, 20) for _ in range(2)]
    found = measure_long(
        gemm,
        port,
        questions,
        paths={"binary": INFER, "tensors": INFER},
        repeats=4,
        others=lambda run: run(),
    )
    assert list(found) == ["binary", "tensors"]
    for figures in found.values():
        assert (figures.rows, figures.repeats, figures.others) == (20, 4, None)
        assert figures.answer_ms > 0 and figures.bare_ms > 0
        assert figures.ratio == figures.answer_ms / figures.bare_ms
        assert figures.request_bytes > 20 * 3 * 8
    assert found["binary"].response_bytes > 20 * (8 * 4 + 3 * 8)
