"""What an ONNX file would have a runtime do, read from its bytes without running anything.

onnxruntime opens operators beyond the standard (its own, and any library's that was registered)
and follows references to files beside the model. A bundle may use neither. The base install has
no `onnx` package, so the few message fields that matter are walked here, in protobuf's wire form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perfcast.errors import BundleError

__all__ = ["ALLOWED_DOMAINS", "check_model"]

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_MAX_DEPTH = 40

# Field numbers of onnx.proto that hold nested messages: message -> field -> message.
NESTED = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
NODE_DOMAIN, TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 7, 13, 14

# A tree ensemble's attributes are runs of millions of tiny fields (floats 7, ints 8, strings 9):
# one regular expression steps over a whole run where a loop would take seconds.
_SHORT_STRINGS = b"|".join(b"\\x%02x[\\x00-\\xff]{%d}" % (size, size) for size in range(33))
_RUN = re.compile(
    b"(?:\\x3d[\\x00-\\xff]{4}|\\x40[\\x80-\\xff]{0,9}[\\x00-\\x7f]|\\x4a(?:"
    + _SHORT_STRINGS
    + b"))*+"
)


def check_model(data: bytes, name: str) -> None:
    """Raise `BundleError` unless model `data` is whole, self-contained and of standard operators.

    `name` names the bundle in the message.
    """
    try:
        _walk(data, "ModelProto", 0, len(data), 0)
    except _RefusedError as refusal:
        raise BundleError(f"{name}: the model {refusal}") from None


class _RefusedError(Exception):
    """Why the model is refused, to follow the words "the model"."""


def _walk(data: bytes, message: str, start: int, end: int, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _RefusedError("is nested too deeply")
    nested = NESTED[message]
    for field, begin, stop in _fields(data, start, end, message == "AttributeProto"):
        if field in nested:
            _walk(data, nested[field], begin, stop, depth + 1)
        elif message == "NodeProto" and field == NODE_DOMAIN:
            domain = data[begin:stop].decode("utf-8", "replace")
            if domain not in ALLOWED_DOMAINS:
                raise _RefusedError(f"uses operators of the domain {domain[:60]!r}")
        elif message == "TensorProto" and (
            field == TENSOR_EXTERNAL_DATA
            or (field == TENSOR_DATA_LOCATION and data[begin:stop] != b"\x00")
        ):
            raise _RefusedError("keeps data outside its file")


def _fields(data: bytes, at: int, end: int, runs: bool) -> Iterator[tuple[int, int, int]]:
    """Each field of the message in `data[at:end]` as (number, start, end of its value)."""
    while at < end:
        if runs:
            match = _RUN.match(data, at, end)
            at = match.end() if match else at
            if at >= end:
                return
        key, begin = _varint(data, at, end)
        kind = key & 7
        if kind == 0:
            _, stop = _varint(data, begin, end)
        elif kind == 1:
            stop = begin + 8
        elif kind == 2:
            size, begin = _varint(data, begin, end)
            stop = begin + size
        elif kind == 5:
            stop = begin + 4
        else:
            raise _RefusedError("is not an ONNX file")
        if stop > end:
            raise _RefusedError("is cut short")
        yield key >> 3, begin, stop
        at = stop


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _RefusedError("is cut short")
