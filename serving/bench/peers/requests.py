"""The same questions as each server wants them, and its answers as numbers again.

Written from the protocols, not with perfcast's own codec, which is among what is measured.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

__all__ = ["FORMS", "Columns", "Form", "Sent", "http_bytes"]

Columns = Mapping[str, NDArray[Any]]
"""Model inputs or outputs by name, each [N]; text as object arrays."""

_JSON: Final = {"content-type": "application/json"}
_LENGTH: Final = "inference-header-content-length"
_DATATYPES: Final = {"FP32": "<f4", "INT64": "<i8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request's body and the headers that describe it."""

    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One way to write a question, and to read its answer.

    `read` takes a response's headers (names in lower case) and body, and gives the outputs that it
    holds, each [N].
    """

    write: Callable[[Columns], Sent]
    read: Callable[[Mapping[str, str], bytes], dict[str, NDArray[Any]]]


def http_bytes(method: str, path: str, port: int, sent: Sent | None) -> bytes:
    """A whole HTTP/1.1 request to a server on this machine that keeps its connection."""
    lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{port}"]
    if sent is not None:
        lines += [f"{name}: {value}" for name, value in sent.headers.items()]
        lines.append(f"content-length: {len(sent.body)}")
    head = "\r\n".join([*lines, "", ""]).encode()
    return head if sent is None else head + sent.body


def _write_binary(columns: Columns) -> Sent:
    """Open Inference Protocol with binary tensors, answers wanted in the same form."""
    described, data = [], []
    for name, values in columns.items():
        packed = _packed(values)
        described.append(
            {
                "name": name,
                "shape": [len(values)],
                "datatype": _datatype(values),
                "parameters": {"binary_data_size": len(packed)},
            }
        )
        data.append(packed)
    head = orjson.dumps({"inputs": described, "parameters": {"binary_data_output": True}})
    headers = {"content-type": "application/octet-stream", _LENGTH: str(len(head))}
    return Sent(body=b"".join((head, *data)), headers=headers)


def _packed(values: NDArray[Any]) -> bytes:
    if values.dtype != object:
        return values.astype("<i8").tobytes()
    encoded = [text.encode() for text in values.tolist()]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)


def _datatype(values: NDArray[Any]) -> str:
    return "BYTES" if values.dtype == object else "INT64"


def _read_binary(headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
    at = int(headers[_LENGTH])
    found: dict[str, NDArray[Any]] = {}
    for tensor in orjson.loads(body[:at])["outputs"]:
        size = tensor["parameters"]["binary_data_size"]
        part = body[at : at + size]
        found[tensor["name"]] = np.frombuffer(part, dtype=_DATATYPES[tensor["datatype"]])
        at += size
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes follow the last output")
    return found


def _write_tensors(columns: Columns) -> Sent:
    """Open Inference Protocol in JSON."""
    described = [
        {
            "name": name,
            "shape": [len(values)],
            "datatype": _datatype(values),
            "data": values.tolist(),
        }
        for name, values in columns.items()
    ]
    return Sent(body=orjson.dumps({"inputs": described}), headers=_JSON)


def _read_tensors(_headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
    return {
        tensor["name"]: np.array(tensor["data"], dtype=_DATATYPES[tensor["datatype"]])
        for tensor in orjson.loads(body)["outputs"]
    }


def _write_row(columns: Columns) -> Sent:
    """One question as a JSON object."""
    return Sent(body=orjson.dumps(_rows(columns)[0]), headers=_JSON)


def _read_row(_headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
    return {name: np.array([value]) for name, value in orjson.loads(body).items()}


def _write_rows(columns: Columns) -> Sent:
    """perfcast's typed route: a list of objects."""
    return Sent(body=orjson.dumps({"rows": _rows(columns)}), headers=_JSON)


def _read_rows(_headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
    rows = orjson.loads(body)["rows"]
    return {
        name: np.array([row[name] for row in rows])
        for name, value in rows[0].items()
        if isinstance(value, float)
    }


def _write_columns(columns: Columns) -> Sent:
    """perfcast's typed route: an object of lists."""
    lists = {name: values.tolist() for name, values in columns.items()}
    return Sent(body=orjson.dumps(lists), headers=_JSON)


def _read_columns(_headers: Mapping[str, str], body: bytes) -> dict[str, NDArray[Any]]:
    return {
        name: np.array(values)
        for name, values in orjson.loads(body)["columns"].items()
        if isinstance(values[0], float)
    }


def _rows(columns: Columns) -> list[dict[str, Any]]:
    lists = (values.tolist() for values in columns.values())
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


FORMS: Final[Mapping[str, Form]] = {
    "binary": Form(write=_write_binary, read=_read_binary),
    "tensors": Form(write=_write_tensors, read=_read_tensors),
    "row": Form(write=_write_row, read=_read_row),
    "rows": Form(write=_write_rows, read=_read_rows),
    "columns": Form(write=_write_columns, read=_read_columns),
}
"""Every way that a server here is asked."""
