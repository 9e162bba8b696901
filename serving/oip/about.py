"""What the protocol tells about the server and a model, made once for each version.

The protocol's parameters are strings, numbers and booleans, so the names of statuses and the
sentences behind reasons stand there one by one: `status_0`, `reason_0` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import perfcast
from perfcast.prediction import STATUSES
from perfcast.serving.oip.answer import datatype_of
from perfcast.task import Input, Task

__all__ = ["model_config", "model_metadata", "server_metadata"]

PLATFORM = "onnxruntime_onnx"
_TYPES = {"BYTES": "TYPE_STRING", "INT64": "TYPE_INT64", "FP32": "TYPE_FP32"}


def server_metadata() -> dict[str, Any]:
    """The answer to `/v2`."""
    return {
        "name": "perfcast",
        "version": perfcast.__version__,
        "extensions": ["binary_tensor_data", "model_configuration", "model_repository(index)"],
    }


def model_metadata(
    task: Task, card: Mapping[str, Any], outputs: Sequence[str], versions: Sequence[str]
) -> dict[str, Any]:
    """The answer to `/v2/models/{name}`: tensors, and what their codes and units mean."""
    parameters: dict[str, Any] = {
        "title": task.title,
        "answered_by": f"{task.name}@{card['version']}",
        "coverage": card["coverage"],
        "withheld": "rows with a withheld answer are refused (422) with their reasons; with the "
        "request parameter withheld=nan they are answered with NaN, in JSON with null",
    }
    parameters |= {f"status_{code}": status for code, status in enumerate(STATUSES[:3])}
    parameters |= {f"reason_{bit}": text for bit, text in enumerate(card["reasons"])}
    return {
        "name": task.name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [
            {**_tensor(column.name, _input_type(column)), "parameters": _about_input(column)}
            for column in task.inputs
        ],
        "outputs": [
            {**_tensor(name, datatype_of(name)), "parameters": _about_output(task, name)}
            for name in outputs
        ],
        "parameters": parameters,
    }


def model_config(task: Task, outputs: Sequence[str]) -> dict[str, Any]:
    """The answer to `/v2/models/{name}/config`, which some clients read before they ask."""
    return {
        "name": task.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": 0,  # the batch is the tensors' one dimension
        "input": [
            {
                "name": column.name,
                "data_type": _TYPES[_input_type(column)],
                "dims": [-1],
                "optional": not column.required,
            }
            for column in task.inputs
        ],
        "output": [
            {"name": name, "data_type": _TYPES[datatype_of(name)], "dims": [-1]} for name in outputs
        ],
    }


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def _input_type(column: Input) -> str:
    return "INT64" if column.kind == "integer" else "BYTES"


def _about_input(column: Input) -> dict[str, Any]:
    about: dict[str, Any] = {"description": column.description, "optional": not column.required}
    if column.unit is not None:
        about["unit"] = column.unit
    if column.allowed:
        about["allowed"] = ", ".join(column.allowed)
    if column.kind == "integer":
        about |= {"minimum": column.minimum, "maximum": column.maximum}
    if column.default_note is not None:
        about["default"] = column.default_note
    return about


def _about_output(task: Task, name: str) -> dict[str, Any]:
    if name == "reasons":
        return {"description": "bit set: bit i stands for the model's parameter reason_i"}
    for output in task.outputs:
        if name == output.name:
            return {"description": output.description, "unit": output.unit}
        if name == f"{output.name}_status":
            return {"description": f"status of {output.name}: i is the model's parameter status_i"}
        for end in ("low", "high"):
            if name == f"{output.name}_{end}":
                about = f"{end} end of the interval of {output.name}"
                return {"description": about, "unit": output.unit}
    raise ValueError(name)
