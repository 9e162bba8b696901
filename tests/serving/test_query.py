"""A request may ask for a version, and for nothing else, behind the question mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from perfcast.bundle import Bundle
from perfcast.errors import InvalidInput
from perfcast.serving.query import asked_version
from perfcast.settings import Settings
from tests.service import running
from tests.standin import latency_ms, write_standin

ROW: dict[str, Any] = {"gpu": "h200_sxm", "dtype": "fp8", "m": 64, "n": 64, "k": 64}
PREDICT, RECOMMEND = "/v1/gemm/predict", "/v1/gemm/recommend"


def asked(query: str) -> str | None:
    return asked_version(Request({"type": "http", "query_string": query.encode()}))


def test_what_is_asked() -> None:
    assert [asked(query) for query in ("", "version=2", "version=1%2B2", "version=")] == [
        None, "2", "1+2", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("versoin=2", "versoin: unknown query parameter; did you mean 'version'?"),
        ("version=1&gpu=l4", "gpu: unknown query parameter; known: 'version'"),
        ("version=1&version=2", "version: may be given once"),
        ("?", "?: unknown query parameter; known: 'version'"),
        ("%ff=%00", "unknown query parameter"),
    ],
)
def test_what_makes_no_sense(query: str, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        asked(query)
    assert problem in str(caught.value)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf")
    for number in (2, 1):
        place = "gemm" if number == 2 else "gemm/old"
        created = f"2026-0{number}-01T00:00:00Z"
        version = f"v{number}+x"
        write_standin(folder, version=version, place=place, slower=number, created=created)
    return folder


@pytest.fixture(scope="module")
def service(shelf: Path) -> Iterator[httpx.Client]:
    with (
        running(Settings(models_dir=shelf)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield client


def test_versions_are_listed_the_default_first(service: httpx.Client) -> None:
    listed = service.get("/v1/models").json()
    assert [(each["model"], each["default"], each["created"]) for each in listed] == [
        ("gemm@v2+x", True, "2026-02-01T00:00:00Z"),
        ("gemm@v1+x", False, "2026-01-01T00:00:00Z"),
    ]


def test_each_version_has_its_card(service: httpx.Client, shelf: Path) -> None:
    new, old = Bundle.open(shelf / "gemm"), Bundle.open(shelf / "gemm" / "old")
    assert service.get("/v1/models/gemm").json() == new.card
    for bundle in (new, old):
        card = service.get("/v1/models/gemm", params={"version": bundle.version}).json()
        assert card == bundle.card


@pytest.mark.parametrize(("version", "number"), [(None, 2), ("v2+x", 2), ("v1+x", 1)])
def test_the_version_asked_for_answers(
    service: httpx.Client, version: str | None, number: int
) -> None:
    parameters = {} if version is None else {"version": version}
    answer = service.post(PREDICT, json={"rows": [ROW]}, params=parameters).json()
    assert answer["model"] == answer["rows"][0]["model"] == f"gemm@v{number}+x"
    expected = number * latency_ms(**ROW)
    assert answer["rows"][0]["latency_ms"] == pytest.approx(expected, rel=1e-5)
    ranked = service.post(RECOMMEND, json={"shapes": [[8, 8, 8]]}, params=parameters).json()
    assert ranked["model"] == f"gemm@v{number}+x"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", PREDICT), ("POST", RECOMMEND), ("GET", "/v1/models/gemm")]
)
def test_refusals(service: httpx.Client, method: str, path: str) -> None:
    unknown = service.request(method, path, params={"version": "v3+x"}, json={"rows": [ROW]})
    assert unknown.status_code == 404
    error = unknown.json()["error"]
    assert error["type"] == "UnknownVersion"
    assert "no version 'v3+x' of gemm; did you mean 'v" in error["message"]
    wrong = service.request(method, path, params={"versions": "v1+x"}, json={"rows": [ROW]})
    assert wrong.status_code == 422
    assert wrong.json()["error"]["problems"][0]["field"] == "versions"


@pytest.mark.parametrize(
    ("method", "path"), [("post", PREDICT), ("post", RECOMMEND), ("get", "/v1/models/{task}")]
)
def test_the_document_knows_the_parameter(service: httpx.Client, method: str, path: str) -> None:
    operation = service.get("/openapi.json").json()["paths"][path][method]
    found = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert found["version"]["in"] == "query" and not found["version"]["required"]
    assert {"404", "422", "503"} <= set(operation["responses"])
