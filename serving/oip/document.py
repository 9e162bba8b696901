"""The protocol's routes as the OpenAPI document shows them, one set for every task."""

from __future__ import annotations

from typing import Any, Final

from perfcast.serving import schemas
from perfcast.serving.oip.plan import INTEGERS
from perfcast.task import Input, Task

__all__ = ["protocol_paths", "protocol_schemas"]

Json = dict[str, Any]

_TAG: Final = "open inference protocol"
_HEADER: Final = "Inference-Header-Content-Length"
_REFUSALS: Final = {
    "400": "the body breaks the protocol's form",
    "404": "no model answers this name or version",
    "413": "too many rows or bytes",
    "422": "something in the request cannot be used, or a wanted answer is withheld",
}


def protocol_paths(task: Task) -> Json:
    """The routes of the protocol, those that speak of a model written out for `task`."""
    model = f"/v2/models/{task.name}"
    return {
        "/v2": {"get": _told("v2", "The server and its extensions", "ServerMetadata")},
        "/v2/health/live": {"get": _told("v2_live", "Whether the process lives", "ServerLive")},
        "/v2/health/ready": {"get": _ready("v2_ready", "Whether it is ready", "ServerReady")},
        "/v2/repository/index": {
            "post": _told("v2_index", "Every loaded version of every model", "RepositoryIndex")
        },
        **_of_a_model(task, model, "", []),
        **_of_a_model(task, f"{model}/versions/{{version}}", "_version", [_version()]),
    }


def protocol_schemas(task: Task) -> dict[str, Json]:
    """The schemas that `protocol_paths` refers to, by name."""
    text: Json = {"type": "string"}
    truth: Json = {"type": "boolean"}
    names: Json = {"type": "array", "items": text}
    return {
        "InferenceError": _object({"error": text}),
        "ServerMetadata": _object({"name": text, "version": text, "extensions": names}),
        "ServerLive": _object({"live": truth}),
        "ServerReady": _object({"ready": truth}),
        "ModelReady": _object({"name": text, "version": text, "ready": truth}),
        "RepositoryIndex": {
            "type": "array",
            "items": _object({"name": text, "version": text, "state": {"const": "READY"}}),
        },
        "ModelMetadata": _object(
            {
                "name": text,
                "versions": names,
                "platform": text,
                "inputs": _tensors({"parameters": {"type": "object"}}),
                "outputs": _tensors({"parameters": {"type": "object"}}),
                "parameters": {"type": "object"},
            }
        ),
        "ModelConfig": _object(
            {
                "name": text,
                "platform": text,
                "backend": text,
                "max_batch_size": {"type": "integer"},
                "input": {"type": "array", "items": {"type": "object"}},
                "output": {"type": "array", "items": {"type": "object"}},
            }
        ),
        "InferenceResponse": {
            "type": "object",
            "required": ["model_name", "model_version", "outputs"],
            "properties": {
                "id": text,
                "model_name": text,
                "model_version": text,
                "outputs": _tensors({}),
            },
        },
        f"{task.name.title()}Inference": _request(task),
    }


def _of_a_model(task: Task, path: str, suffix: str, parameters: list[Json]) -> Json:
    name = f"v2_{task.name}{suffix}"
    answers = {
        path: {"get": _told(name, "The model's tensors, units and codes", "ModelMetadata")},
        f"{path}/config": {"get": _told(f"{name}_config", "Its configuration", "ModelConfig")},
        f"{path}/ready": {"get": _ready(f"{name}_ready", "Whether it is ready", "ModelReady")},
        f"{path}/infer": {"post": _infer(task, f"{name}_infer")},
    }
    for operations in answers.values():
        for operation in operations.values():
            operation["parameters"] = [*operation.get("parameters", ()), *parameters]
            operation["responses"].setdefault("404", _refusal("404"))
            operation["responses"].setdefault("503", _error("no model is loaded"))
    return answers


def _infer(task: Task, name: str) -> Json:
    request = {"$ref": f"#/components/schemas/{task.name.title()}Inference"}
    binary: Json = {"schema": {"type": "string", "format": "binary"}}
    operation = _told(name, f"{task.title}, as tensors", "InferenceResponse")
    operation["description"] = (
        "Tensors of shape [N] or [N, 1], each either as `data` within the JSON or as bytes that "
        f"follow it, in the order of the inputs; then the header {_HEADER} says how long the JSON "
        "is. The body may be packed with gzip or deflate. Rows whose answer is withheld are "
        "refused unless the parameter `withheld` is `nan`."
    )
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": request, "example": _example(task)},
            "application/octet-stream": binary,
        },
    }
    operation["parameters"] = [
        {
            "name": _HEADER,
            "in": "header",
            "required": False,
            "description": "bytes of the body that are JSON; default: all",
            "schema": {"type": "integer", "minimum": 0},
        }
    ]
    operation["responses"]["200"]["content"]["application/octet-stream"] = binary
    operation["responses"] |= {status: _refusal(status) for status in _REFUSALS}
    return operation


def _request(task: Task) -> Json:
    integers: Json = {"type": "integer", "minimum": 0}
    foreign: Json = {"shared_memory_region": False, "classification": False}
    output = {
        "name": {"type": "string", "maxLength": 100},
        "parameters": _parameters({"binary_data": {"type": "boolean"}, **foreign}),
    }
    inputs: list[Json] = []
    for column in task.inputs:
        value = schemas.value_schema(column)
        tensor = {
            "name": {"const": column.name},
            "shape": {"type": "array", "items": integers, "minItems": 1, "maxItems": 2},
            "datatype": {"enum": _datatypes(column)},
            "parameters": _parameters({"binary_data_size": integers, **foreign}),
            "data": {
                "type": ["array", "null"],
                "items": {"anyOf": [value, {"type": "array", "items": value}]},
            },
        }
        inputs.append(_strict(tensor, ["name", "shape", "datatype"]))
    body = {
        "id": {"type": ["string", "null"]},
        "parameters": _parameters(
            {
                "binary_data_output": {"type": "boolean"},
                "withheld": {"enum": ["refuse", "nan"]},
                **foreign,
            }
        ),
        "inputs": {"type": "array", "items": {"anyOf": inputs}, "minItems": 1, "maxItems": 100},
        "outputs": {
            "type": ["array", "null"],
            "items": _strict(output, ["name"]),
            "maxItems": 100,
        },
    }
    return _strict(body, ["inputs"])


def _example(task: Task) -> Json:
    """A request that works."""
    return {
        "inputs": [
            {
                "name": column.name,
                "shape": [1],
                "datatype": _datatypes(column)[0],
                "data": [column.example],
            }
            for column in task.inputs
            if column.kind != "text"
        ]
    }


def _datatypes(column: Input) -> list[str]:
    return list(INTEGERS) if column.kind == "integer" else ["BYTES"]


def _tensors(more: Json) -> Json:
    shape: Json = {"type": "array", "items": {"type": "integer"}}
    tensor = _object({"name": {"type": "string"}, "datatype": {"type": "string"}, "shape": shape})
    tensor["properties"] |= more
    return {"type": "array", "items": tensor}


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _strict(properties: Json, required: list[str]) -> Json:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def _parameters(known: Json) -> Json:
    """Parameters, of which those that nobody here knows are left alone."""
    return {"type": ["object", "null"], "properties": known}


def _version() -> Json:
    return {
        "name": "version",
        "in": "path",
        "required": True,
        "description": "one of the model's versions",
        "schema": {"type": "string"},
    }


def _told(name: str, summary: str, schema: str) -> Json:
    return {
        "operationId": name,
        "summary": summary,
        "tags": [_TAG],
        "responses": {"200": {"description": "answered", **_content(schema)}},
    }


def _ready(name: str, summary: str, schema: str) -> Json:
    operation = _told(name, summary, schema)
    operation["responses"]["503"] = {
        "description": "not ready: no model is loaded, or shutting down",
        "content": {
            "application/json": {
                "schema": {
                    "anyOf": [
                        {"$ref": f"#/components/schemas/{schema}"},
                        {"$ref": "#/components/schemas/InferenceError"},
                    ]
                }
            }
        },
    }
    return operation


def _refusal(status: str) -> Json:
    return _error(_REFUSALS[status])


def _error(about: str) -> Json:
    return {"description": about, **_content("InferenceError")}


def _content(schema: str) -> Json:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"content": {"application/json": {"schema": reference}}}
