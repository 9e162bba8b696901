"""Builds requests in the Open Inference Protocol and asks the application, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features.tasks import GEMM
from perfcast.serving.oip.app import OpenInference
from perfcast.serving.oip.strings import write_strings

INFER = "/v2/models/gemm/infer"
Question = Mapping[str, Sequence[Any] | NDArray[Any]]

QUESTION: dict[str, list[Any]] = {
    "gpu": ["h200_sxm", "b200_sxm", "h200_sxm"],
    "framework": ["vllm", "trtllm", ""],
    "dtype": ["fp8", "nvfp4", "bfloat16"],
    "m": [1, 64, 4096],
    "n": [4096, 2048, 8192],
    "k": [4096, 7168, 1024],
}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The JSON, without what follows it. Refuses NaN, which JSON does not have."""
        size = self.headers.get("inference-header-content-length")

        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        text = self.body if size is None else self.body[: int(size)]
        return json.loads(text, parse_constant=refuse)

    @property
    def error(self) -> str:
        assert set(self.json) == {"error"}
        message: str = self.json["error"]
        return message

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every output, NaN where JSON says null."""
        at = int(self.headers.get("inference-header-content-length", len(self.body)))
        found = {}
        for output in self.json["outputs"]:
            dtype = {"FP32": np.float32, "INT64": np.int64}[output["datatype"]]
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                values = np.array(output["data"], dtype=dtype)
            else:
                values = np.frombuffer(self.body[at : at + size], dtype=dtype)
                at += size
            found[output["name"]] = values.reshape(output["shape"])
        assert at == len(self.body)
        return found


def tensor(name: str, values: Sequence[Any] | NDArray[Any], *, binary: bool) -> tuple[Any, bytes]:
    """One input's JSON and its bytes."""
    whole = GEMM.input(name).kind == "integer"
    described: dict[str, Any] = {
        "name": name,
        "shape": [len(values)],
        "datatype": "INT64" if whole else "BYTES",
    }
    if not binary:
        return {
            **described,
            "data": [*values] if isinstance(values, Sequence) else values.tolist(),
        }, b""
    data = np.asarray(values, "<i8").tobytes() if whole else write_strings(list(values))
    return {**described, "parameters": {"binary_data_size": len(data)}}, data


def request(
    question: Question = QUESTION, *, binary: bool | Sequence[str] = False, **more: Any
) -> tuple[bytes, int | None]:
    """A request's body and its JSON's length; `binary`: all inputs as bytes, or those named."""
    chosen = question if binary is True else binary or ()
    tensors = [tensor(name, v, binary=name in chosen) for name, v in question.items()]
    head = json.dumps({"inputs": [each[0] for each in tensors], **more}).encode()
    data = b"".join(each[1] for each in tensors)
    return head + data, len(head) if chosen else None


def ask(
    app: OpenInference,
    body: bytes = b"",
    json_bytes: int | None = None,
    *,
    path: str = INFER,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    chunk: int | None = None,
) -> Reply:
    """The application's reply; `chunk` is how many bytes of the body arrive at a time."""
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    if json_bytes is not None:
        sent.setdefault("inference-header-content-length", str(json_bytes))
    size = chunk or max(len(body), 1)
    parts = [body[at : at + size] for at in range(0, max(len(body), 1), size)]
    messages: list[Any] = []

    async def receive() -> Any:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    asyncio.run(app(scope, receive, send))
    start, content = messages
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    assert int(found["content-length"]) == len(content["body"])
    return Reply(start["status"], found, content["body"])
