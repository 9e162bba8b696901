"""Every route of the service has a name in the metrics, and every path a guard."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import pytest

from perfcast.serving.operations.places import OTHER, Kind, kind_of, route_of


@pytest.mark.parametrize(
    ("path", "route", "task"),
    [
        ("/", "/", ""),
        ("/assets/index-1.js", "/assets", ""),
        ("/livez", "/livez", ""),
        ("/metrics", "/metrics", ""),
        ("/v2", "/v2", ""),
        ("/v2/health/ready", "/v2/health/ready", ""),
        ("/v2/models/gemm", "/v2/models/{model}", "gemm"),
        ("/v2/models/gemm/infer", "/v2/models/{model}/infer", "gemm"),
        ("/v2/models/gemm/versions/7/infer", "/v2/models/{model}/infer", "gemm"),
        ("/v2/models/gemm/versions/7", "/v2/models/{model}", "gemm"),
        ("/v2/models/nobody/infer", OTHER, ""),
        ("/v2/models/gemm/dance", OTHER, ""),
        ("/v2/models/gemm/infer/more", OTHER, ""),
        ("/v1/anything", OTHER, ""),
        ("", OTHER, ""),
    ],
)
def test_routes_of_the_plain_doors(path: str, route: str, task: str) -> None:
    assert route_of({"path": path}) == (route, task)


@pytest.mark.parametrize(
    ("template", "task"),
    [("/v1/gemm/predict", "gemm"), ("/v1/models/{task}", ""), ("/v1/{task}/predict", "")],
)
def test_routes_of_fastapi(template: str, task: str) -> None:
    scope = {"path": "/v1/whatever/it/was", "route": SimpleNamespace(path=template)}
    assert route_of(scope) == (template, task)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/healthz", Kind.HEALTH),
        ("/v2/health/live", Kind.HEALTH),
        ("/v2/health/liveness", Kind.INFERENCE),
        ("/metrics", Kind.METRICS),
        ("/metrics/", Kind.INFERENCE),
        ("/", Kind.PUBLIC),
        ("/assets/x.css", Kind.PUBLIC),
        ("/assets", Kind.INFERENCE),
        ("/docs", Kind.PUBLIC),
        ("/v1/models", Kind.INFERENCE),
        ("/v2/models/gemm/infer", Kind.INFERENCE),
        ("/v2/repository/models/gemm/load", Kind.MANAGEMENT),
        ("/management", Kind.MANAGEMENT),
        ("//metrics", Kind.INFERENCE),
        ("", Kind.INFERENCE),
    ],
)
def test_whatever_is_not_known_to_be_open_is_guarded(path: str, kind: Kind) -> None:
    assert kind_of(path) is kind


def test_real_routes_are_counted_by_name(client: httpx.Client) -> None:
    question = {"gpu": "h200_sxm", "dtype": "fp8", "m": 1, "n": 2, "k": 3}
    assert client.post("/v1/gemm/predict", json={"rows": [question] * 2}).status_code == 200
    assert client.get("/v1/models/gemm").status_code == 200
    assert client.get("/nowhere").status_code == 404
    text = client.get("/metrics").text
    assert 'perfcast_request_seconds_count{route="/v1/gemm/predict",task="gemm"}' in text
    assert 'perfcast_requests_total{route="/v1/models/{task}",status="200"}' in text
    assert 'perfcast_requests_total{route="other",status="404"}' in text
    assert 'perfcast_rows_total{model="gemm@standin",status="in_domain",task="gemm"}' in text
