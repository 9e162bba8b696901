"""The OpenAPI document, completed: what the routes themselves do not know of.

FastAPI describes its routes. In front of them stands the gate, which asks for tokens, limits rates
and time and adds headers, and beside them are doors that are none of FastAPI's. The document of a
running service says what is true of that service: tokens stand in it if the settings have some.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

from perfcast.features.tasks import TASKS
from perfcast.serving.oip.document import protocol_paths, protocol_schemas
from perfcast.serving.operations.places import Kind, kind_of
from perfcast.serving.schemas import ErrorBody
from perfcast.settings import Settings

__all__ = ["DESCRIPTION", "complete", "install_document"]

DESCRIPTION: Final = """What a piece of machine-learning work will cost before it runs.

What is no HTTP is answered with 400, a head of more than 64 KiB or 128 lines with 431, and the
connection is closed; a method that a path does not have with 405 and `Allow`.
"""

Json = dict[str, Any]

_ERROR: Final = ErrorBody.__name__
_V2_ERROR: Final = "InferenceError"
_TOKENS: Final = {Kind.INFERENCE: "token", Kind.MANAGEMENT: "managementToken"}
_REQUEST_ID: Final[Json] = {
    "description": "the request's own X-Request-Id, or one made for it",
    "schema": {"type": "string"},
}
_RETRY_AFTER: Final[Json] = {
    "description": "seconds after which to ask again",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
_DEADLINE: Final[Json] = {
    "name": "X-Request-Deadline-Ms",
    "in": "header",
    "required": False,
    "description": "the longest that the answer may take; then 504",
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
}


def install_document(app: FastAPI, settings: Settings) -> None:
    """Let `app` complete its document when it is first asked for."""
    described = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = complete(described(), settings)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to do this


def complete(document: Json, settings: Settings) -> Json:
    """`document` with the doors beside FastAPI and what the gate does to every request."""
    paths: Json = document["paths"]
    known: Json = document.setdefault("components", {}).setdefault("schemas", {})
    for task in TASKS.values():
        paths |= protocol_paths(task)
        known |= protocol_schemas(task)
    paths["/metrics"] = {"get": _metrics()}
    if not settings.management_token:  # without one these do not exist
        for path in [path for path in paths if kind_of(path) is Kind.MANAGEMENT]:
            del paths[path]
    for path, operations in paths.items():
        for operation in operations.values():
            _complete(operation, path, settings)
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's: nothing answers in it
        known.pop(name, None)
    schemes = _schemes(settings)
    if schemes:
        document["components"]["securitySchemes"] = schemes
    return document


def _complete(operation: Json, path: str, settings: Settings) -> None:
    kind = kind_of(path)
    responses: Json = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    error = _V2_ERROR if path.split("/")[1] == "v2" else _ERROR
    for status, about in _gates_refusals(kind, "requestBody" in operation, settings).items():
        responses.setdefault(status, {"description": about, **_content(error)})
    for status, response in responses.items():
        headers = response.setdefault("headers", {})
        # the one refusal that is made before there is a request: under overload, without an id
        headers["X-Request-Id"] = {**_REQUEST_ID, "required": status != "503"}
        if status in ("429", "503"):
            headers["Retry-After"] = _RETRY_AFTER
        if status == "401":
            headers["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
    if kind in _TOKENS:
        operation.setdefault("parameters", []).append(_DEADLINE)
    token = _token(kind, settings)
    if token:
        operation["security"] = [{token: []}]
    operation["responses"] = dict(sorted(responses.items()))


def _gates_refusals(kind: Kind, body: bool, settings: Settings) -> dict[str, str]:
    """What may be refused before a request of this kind meets its route, by status."""
    found: dict[str, str] = {}
    if _token(kind, settings):
        found["401"] = "no token, or not the right one"
    if kind not in _TOKENS:
        return found
    if body:
        found["408"] = "the body took too long to arrive"
        found["413"] = "too many rows or bytes"
    found["422"] = "something in the request cannot be used"
    if settings.rate_limit:
        found["429"] = f"more than {settings.rate_limit} requests a second"
    found["503"] = "as many requests wait as may, or the service is shutting down"
    found["504"] = "no answer within the time allowed"
    return found


def _token(kind: Kind, settings: Settings) -> str | None:
    """The name of the token that a request of this kind needs, None for none."""
    if kind is Kind.METRICS:
        return None if settings.metrics_open or not settings.token else _TOKENS[Kind.INFERENCE]
    needed = settings.management_token if kind is Kind.MANAGEMENT else settings.token
    return _TOKENS.get(kind) if needed else None


def _schemes(settings: Settings) -> Json:
    tokens = {Kind.INFERENCE: settings.token, Kind.MANAGEMENT: settings.management_token}
    return {
        name: {"type": "http", "scheme": "bearer"} for kind, name in _TOKENS.items() if tokens[kind]
    }


def _content(schema: str) -> Json:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"content": {"application/json": {"schema": reference}}}


def _metrics() -> Json:
    text: Json = {"schema": {"type": "string"}}
    return {
        "operationId": "metrics",
        "summary": "Metrics for Prometheus",
        "description": "Of all worker processes together, in Prometheus' format or OpenMetrics.",
        "tags": ["health"],
        "responses": {
            "200": {
                "description": "one sample a line",
                "content": {"text/plain": text, "application/openmetrics-text": text},
            }
        },
    }
