"""The document is true: what it offers is accepted, what it does not is refused as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from perfcast.features.tasks import GEMM
from perfcast.serving.app import create_api
from perfcast.serving.bench.bad_input import TOKENS, attack
from perfcast.serving.document import complete
from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.serving.registry import Registry
from perfcast.settings import Settings
from tests.service import running

TOKEN, MANAGEMENT = TOKENS.values()


def described(**settings: Any) -> dict[str, Any]:
    """The document of a service with `settings`."""
    registry = Registry()
    api = create_api(registry, Settings(**settings), Lifecycle(lambda: registry.ready))
    return api.openapi()


def operations(document: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{method} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_schemathesis_finds_nothing(models_dir: Path) -> None:
    """A few hundred cases; `python -m perfcast.serving.bench.bad_input` does many more."""
    settings = Settings(models_dir=models_dir, token=TOKEN, management_token=MANAGEMENT)
    with running(settings) as address:
        found = attack(address, 100, phases=("examples", "fuzzing"))
    assert found.failures == {}, found.told
    assert found.cases >= 100
    assert found.operations == len(operations(described(management_token=MANAGEMENT)))


def test_schemathesis_finds_what_is_there(models_dir: Path, monkeypatch: Any) -> None:
    """A document that speaks of tokens before a service that asks for none, and of a 200 less."""

    def untrue(made: dict[str, Any], settings: Settings) -> dict[str, Any]:
        claimed = complete(made, Settings(token=TOKEN))
        claimed["paths"] = {path: claimed["paths"][path] for path in ("/v1/tasks", "/v2")}
        claimed["paths"]["/v2"]["get"]["responses"].pop("200")
        return claimed

    monkeypatch.setattr("perfcast.serving.document.complete", untrue)
    with running(Settings(models_dir=models_dir)) as address:
        found = attack(address, 10, phases=("fuzzing",))
    assert set(found.failures) == {
        "Undocumented status code",
        "API accepts requests without authentication",
    }


def test_the_document_says_what_this_service_does() -> None:
    plain = operations(described())
    guarded = operations(described(token=TOKEN, management_token=MANAGEMENT, rate_limit=9))
    assert set(guarded) - set(plain) == {"post /v1/admin/reload", "post /v2/repository/index"}
    assert not any("security" in operation for operation in plain.values())
    for name in ("post /v1/gemm/predict", "post /v2/models/gemm/infer"):
        assert not {"401", "429"} & set(plain[name]["responses"])
        statuses = {"401", "404", "408", "413", "422", "429", "503", "504"}
        assert statuses <= set(guarded[name]["responses"])
        assert guarded[name]["security"] == [{"token": []}]
    assert guarded["post /v1/admin/reload"]["security"] == [{"managementToken": []}]
    for name in ("get /livez", "get /healthz", "get /v2/health/ready", "get /metrics"):
        assert "security" not in guarded[name]
    closed = operations(described(token=TOKEN, metrics_open=False))
    assert closed["get /metrics"]["security"] == [{"token": []}]


def test_one_document_leaves_no_trace_in_the_next() -> None:
    first = json.dumps(described())
    described(token=TOKEN, management_token=MANAGEMENT, rate_limit=9)
    assert json.dumps(described()) == first


def test_every_reference_leads_somewhere() -> None:
    made = described(token=TOKEN, management_token=MANAGEMENT)
    text = json.dumps(made)
    assert "HTTPValidationError" not in text
    for part in text.split('"$ref": "#/components/schemas/')[1:]:
        assert part.partition('"')[0] in made["components"]["schemas"]


@pytest.mark.parametrize("path", ["/v1/gemm/predict", "/v1/gemm/roofline"])
def test_a_bad_row_is_told_which_row_and_field_and_what_would_do(
    client: httpx.Client, path: str
) -> None:
    good = {"gpu": "h200_sxm", "dtype": "fp8", "m": 1, "n": 1, "k": 1}
    rows = [good, {**good, "m": 0}, {**good, "gpu": "h200"}, {**good, "framework_version": "\n"}]
    response = client.post(path, json={"rows": rows})
    assert response.status_code == 422
    problems = response.json()["error"]["problems"]
    told = {(each["row"], each["field"]): each["reason"] for each in problems}
    assert told[1, "m"] == f"must be a whole number from 1 to {GEMM.input('m').maximum}, not 0"
    assert told[2, "gpu"].startswith("unknown value 'h200'; did you mean 'h200_sxm'")
    assert told[3, "framework_version"] == "must be printable text of at most 100 characters"
    assert len(told) == 3


def test_without_schemathesis_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['schemathesis'] = None\n"
        "from perfcast.serving.bench.bad_input import attack\n"
        "attack('http://127.0.0.1:1', 1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert "pip install 'perfcast[dev]'" in done.stderr
