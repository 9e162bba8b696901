"""The REST door, over a real socket: answers, refusals in one form, and never a 500."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.bundle import Bundle
from perfcast.errors import BundleError
from perfcast.features.tasks import GEMM
from perfcast.serving.app import create_app
from perfcast.serving.predictor import GemmPredictor
from perfcast.settings import Settings
from tests.conftest import MAX_BODY_BYTES, MAX_CANDIDATES, MAX_ROWS
from tests.serving.lifespan import started
from tests.strategies import good_row, json_bad_categories, json_bad_integers

PREDICT, RECOMMEND = "/v1/gemm/predict", "/v1/gemm/recommend"
INFER = "/v2/models/gemm/infer"
ROW = {"gpu": "h200_sxm", "framework": "vllm", "dtype": "fp8", "m": 4096, "n": 4096, "k": 8192}


def refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error document of a response refused with `status`."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"type", "message", "problems"}
    for problem in body["error"]["problems"]:
        assert set(problem) == {"row", "field", "reason"}
    error: dict[str, Any] = body["error"]
    return error


def test_predict(client: httpx.Client, gemm: GemmPredictor) -> None:
    response = client.post(PREDICT, json={"rows": [ROW, {**ROW, "m": 1, "framework": None}]})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    expected = gemm.predict(
        gpu="h200_sxm", framework=["vllm", ""], dtype="fp8", m=[4096, 1], n=4096, k=8192
    )
    assert response.json() == {
        "model": "gemm@standin",
        "coverage": 0.9,
        "rows": expected.records(),
    }


def test_large_batches_keep_their_order(client: httpx.Client) -> None:
    rows = [{**ROW, "m": m} for m in range(1, 1001)]
    answers = client.post(PREDICT, json={"rows": rows}).json()["rows"]
    alone = client.post(PREDICT, json={"rows": [rows[776]]}).json()["rows"]
    assert len(answers) == 1000
    assert answers[776] == alone[0]


def test_withheld_values_are_null(client: httpx.Client) -> None:
    row = {**ROW, "gpu": "a30", "dtype": "nvfp4"}
    (answer,) = client.post(PREDICT, json={"rows": [row]}).json()["rows"]
    assert answer["latency_ms"] is None
    assert answer["status"] == "out_of_domain"
    assert answer["reasons"]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"m": "4096"}, "m", "must be a whole number"),
        ({"m": True}, "m", "must be a whole number"),
        ({"m": 1.5}, "m", "not 1.5"),
        ({"m": None}, "m", "missing"),
        ({"m": 0}, "m", "not 0"),
        ({"m": -1}, "m", "not -1"),
        ({"m": 10**30}, "m", "must be a whole number"),
        ({"gpu": "h200"}, "gpu", "did you mean 'h200_sxm'"),
        ({"gpu": 7}, "gpu", "must be a string, not int"),
        ({"gpu": {}}, "gpu", "must be a string, not dict"),
        ({"framwork": "vllm"}, "framwork", "did you mean 'framework'"),
        ({"framework_version": "\n"}, "framework_version", "printable"),
    ],
)
def test_bad_rows_are_named(
    client: httpx.Client, change: dict[str, Any], field: str, reason: str
) -> None:
    error = refusal(client.post(PREDICT, json={"rows": [ROW, {**ROW, **change}]}), 422)
    (problem,) = error["problems"]
    assert (problem["row"], problem["field"]) == (1, field)
    assert reason in problem["reason"]


def test_every_problem_is_named_at_once(client: httpx.Client) -> None:
    rows = [ROW, {**ROW, "m": 0, "tile": 1}, 7, {**ROW, "gpu": "x", "n": "1"}]
    problems = refusal(client.post(PREDICT, json={"rows": rows}), 422)["problems"]
    assert {(problem["row"], problem["field"]) for problem in problems} == {
        (1, "tile"), (1, "m"), (2, "row"), (3, "gpu"), (3, "n"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b"[" * 100_000, "body"),
        (b'{"rows": [{"gpu": "\\ud800"}]}', "body"),
        (b'{"rows": [{"m": NaN}]}', "body"),
        (b'{"rows": [{"m": Infinity}]}', "body"),
        (b'{"rows": [{"m": 1e999}]}', "body"),
        (b"{}", "rows"),
        (b'{"rows": null}', "rows"),
        (b'{"rows": {}}', "rows"),
        (b'{"rows": "abc"}', "rows"),
        (b'{"rows": []}', "rows"),
        (b'{"row": []}', "row"),
        (b'{"rows": [], "limit": 3}', "limit"),
    ],
)
def test_bad_bodies_are_refused(client: httpx.Client, body: bytes, field: str) -> None:
    error = refusal(client.post(PREDICT, content=body), 422)
    assert error["problems"][0]["field"] == field


def test_too_many_rows_are_refused(client: httpx.Client) -> None:
    rows = [{"gpu": "l4"}] * (MAX_ROWS + 1)
    error = refusal(client.post(PREDICT, json={"rows": rows}), 413)
    assert error["type"] == "TooLarge"
    assert str(MAX_ROWS) in error["message"]


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 3 * MAX_BODY_BYTES, 20 * MAX_BODY_BYTES])
def test_a_large_body_is_refused_by_what_arrives(models_dir: Path, size: int) -> None:
    """Chunked, so that no header tells the size."""
    sent = 0

    async def chunks() -> Any:
        nonlocal sent
        while sent < size:
            sent += 2**16
            yield b" " * 2**16

    response = asyncio.run(ask_in_process(models_dir, content=chunks()))
    assert refusal(response, 413)["type"] == "TooLarge"
    assert sent < 6 * MAX_BODY_BYTES


def test_a_large_body_over_a_socket_gets_its_answer(client: httpx.Client) -> None:
    content = b" " * (MAX_BODY_BYTES + 2**16)
    assert refusal(client.post(PREDICT, content=content), 413)["type"] == "TooLarge"
    assert client.post(PREDICT, json={"rows": [ROW]}).status_code == 200


def test_a_body_of_exactly_the_limit_is_read(client: httpx.Client) -> None:
    body = json.dumps({"rows": [ROW]}).encode()
    content = body + b" " * (MAX_BODY_BYTES - len(body))
    assert client.post(PREDICT, content=content).status_code == 200


def test_compressed_bodies_are_refused(client: httpx.Client) -> None:
    response = client.post(PREDICT, content=b"x", headers={"content-encoding": "gzip"})
    assert refusal(response, 422)["problems"][0]["field"] == "content-encoding"


def test_recommend(client: httpx.Client, gemm: GemmPredictor) -> None:
    shapes = [{"m": 4096, "n": 4096, "k": 8192, "count": 2}, {"m": 1, "n": 64, "k": 64}]
    response = client.post(
        RECOMMEND, json={"shapes": shapes, "max_power_w": 900, "gpus": ["h200_sxm", "b200_sxm"]}
    )
    assert response.status_code == 200, response.text
    expected = gemm.recommend(
        [(4096, 4096, 8192, 2), (1, 64, 64)], max_power_w=900, gpus=["h200_sxm", "b200_sxm"]
    )
    assert response.json() == expected.to_dict()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "shapes"),
        ({"shapes": 5}, "shapes"),
        ({"shapes": [[1, 2]]}, "shape"),
        ({"shapes": [[1, 2, "3"]]}, "k"),
        ({"shapes": [{"m": 1, "n": 1, "k": 1, "cout": 2}]}, "cout"),
        ({"shapes": [[1, 2, 3]], "limt": 3}, "limt"),
        ({"shapes": [[1, 2, 3]], "max_candidates": 3}, "max_candidates"),
        ({"shapes": [[1, 2, 3]], "gpus": ["h200"]}, "gpus"),
        ({"shapes": [[1, 2, 3]], "gpus": {"a": 1}}, "gpus"),
        ({"shapes": [[1, 2, 3]], "max_power_w": -1}, "max_power_w"),
        ({"shapes": [[1, 2, 3]], "objective": ["latency_ms"]}, "objective"),
        ({"shapes": [[1, 2, 3]], "limit": "3"}, "limit"),
    ],
)
def test_bad_recommend_bodies_are_refused(
    client: httpx.Client, body: dict[str, Any], field: str
) -> None:
    error = refusal(client.post(RECOMMEND, json=body), 422)
    assert error["problems"][0]["field"] == field


def test_too_many_candidates_are_refused(client: httpx.Client) -> None:
    shapes = [[1, 2, 3]] * (MAX_CANDIDATES // 200)
    assert "candidates" in refusal(client.post(RECOMMEND, json={"shapes": shapes}), 413)["message"]


def test_models_and_card(client: httpx.Client, models_dir: Path) -> None:
    (info,) = client.get("/v1/models").json()
    assert (info["name"], info["version"]) == ("gemm", "standin")
    assert info["summary"] == {"median_error_percent": 1.0}
    assert [column["name"] for column in info["inputs"]] == list(GEMM.input_names)
    assert client.get("/v1/models/gemm").json() == Bundle.open(models_dir / "gemm").card


def test_health(client: httpx.Client) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ready", "models": ["gemm@standin"]}


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "NotFound"),
        ("GET", PREDICT, 405, "MethodNotAllowed"),
        ("POST", "/v1/gem/predict", 404, "UnknownTask"),
        ("POST", "/v1/gem/recommend", 404, "UnknownTask"),
        ("GET", "/v1/models/gem", 404, "UnknownTask"),
        ("GET", "/v1/models/%2e%2e%2fgemm", 404, "NotFound"),
    ],
)
def test_unknown_paths_are_refused_in_the_same_form(
    client: httpx.Client, method: str, path: str, status: int, kind: str
) -> None:
    assert refusal(client.request(method, path, content=b"{}"), status)["type"] == kind


def test_every_example_in_the_document_works(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    posted = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation and "{" not in path:
                example = operation["requestBody"]["content"]["application/json"]["example"]
                response = client.request(method, path, json=example)
                assert response.status_code == 200, response.text
                posted.append(path)
    assert sorted(posted) == [PREDICT, RECOMMEND, "/v1/gemm/roofline", INFER]


def test_the_document_describes_the_form_of_refusals(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    responses = document["paths"][PREDICT]["post"]["responses"]
    assert {"200", "404", "413", "422", "503"} <= set(responses)
    assert responses["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")


async def ask_in_process(models_dir: Path, **request: Any) -> httpx.Response:
    chosen = Settings(models_dir=models_dir, max_body_bytes=MAX_BODY_BYTES)
    app = create_app(chosen)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        started(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as opened,
    ):
        return await opened.post(PREDICT, **request)


def test_without_models_nothing_is_ready(tmp_path: Path) -> None:
    async def ask() -> Iterator[httpx.Response]:
        app = create_app(Settings(models_dir=tmp_path))
        transport = httpx.ASGITransport(app=app)
        async with (
            started(app),
            httpx.AsyncClient(transport=transport, base_url="http://test") as opened,
        ):
            return iter(
                [
                    await opened.get("/healthz"),
                    await opened.post(PREDICT, json={"rows": [ROW]}),
                    await opened.post("/v1/gem/predict"),
                    await opened.get("/v1/models/gemm"),
                ]
            )

    for response in asyncio.run(ask()):
        assert refusal(response, 503)["type"] == "NotReady"


def test_before_the_models_are_loaded_nothing_is_ready(models_dir: Path) -> None:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=create_app(Settings(models_dir=models_dir)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
            return await opened.get("/healthz")

    assert refusal(asyncio.run(ask()), 503)["type"] == "NotReady"


def test_a_damaged_bundle_stops_the_start(tmp_path: Path, models_dir: Path) -> None:
    shutil.copytree(models_dir / "gemm", tmp_path / "gemm")
    (tmp_path / "gemm" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError):
        asyncio.run(ask_in_process(tmp_path, json={"rows": [ROW]}))


@pytest.mark.parametrize("failure", [BundleError("/secret/path"), RuntimeError("/secret/path")])
def test_nothing_inside_shows_in_a_500(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise failure

    monkeypatch.setattr(GemmPredictor, "answer_columns", fail)
    response = asyncio.run(ask_in_process(models_dir, json={"rows": [ROW]}))
    error = refusal(response, 500)
    assert error["message"] == "internal error"
    assert "secret" not in response.text


@settings(deadline=None)
@given(st.sampled_from(("m", "n", "k")), json_bad_integers)
def test_no_bad_integer_is_answered(client: httpx.Client, name: str, value: Any) -> None:
    error = refusal(client.post(PREDICT, json={"rows": [{**good_row(), name: value}]}), 422)
    assert (error["problems"][0]["row"], error["problems"][0]["field"]) == (0, name)


@settings(deadline=None)
@given(st.sampled_from(("gpu", "dtype")), json_bad_categories)
def test_no_bad_category_is_answered(client: httpx.Client, name: str, value: Any) -> None:
    error = refusal(client.post(PREDICT, json={"rows": [{**good_row(), name: value}]}), 422)
    assert (error["problems"][0]["row"], error["problems"][0]["field"]) == (0, name)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.text(max_size=5),
              st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.text(max_size=5), st.sampled_from(("rows", "shapes", *GEMM.input_names))),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(st.sampled_from((PREDICT, RECOMMEND)), json_values)
def test_any_json_is_answered_or_refused(client: httpx.Client, path: str, value: Any) -> None:
    for body in (value, {"rows": value}, {"shapes": value}):
        response = client.post(path, json=body)
        assert response.status_code in (200, 413, 422), response.text
        json.loads(response.text, parse_constant=pytest.fail)  # no NaN, no Infinity


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_answered_or_refused(client: httpx.Client, content: bytes) -> None:
    refusal(client.post(PREDICT, content=content), 422)
