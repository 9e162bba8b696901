"""A request's body: compressed or not, never more than the limit once it is unpacked."""

from __future__ import annotations

import zlib
from typing import Any, Final

import orjson

from perfcast.errors import MalformedRequest, TooLarge
from perfcast.serving.body import parse_json

__all__ = ["deflated", "inflated", "parsed"]

_ANY_WINDOW: Final = 32 + zlib.MAX_WBITS
"""Tells zlib to expect its own header or gzip's."""


def inflated(data: bytes, encoding: str, limit: int) -> bytes:
    """`data` unpacked from `encoding`, the value of a Content-Encoding header.

    Unpacking stops at `limit` bytes, so that what a bomb costs is bounded. Raises `TooLarge`, and
    `MalformedRequest` for an encoding other than gzip and deflate or data that is not in it.
    """
    if encoding == "identity":
        return data
    if encoding not in ("gzip", "deflate"):
        raise MalformedRequest(
            f"content-encoding {encoding[:40]!r}: only gzip, deflate and identity are accepted"
        )
    unpacker = zlib.decompressobj(_ANY_WINDOW)
    try:
        found = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise MalformedRequest(f"the body is not {encoding} data: {error}") from None
    if len(found) > limit:
        raise TooLarge(f"the body is larger than {limit} bytes once it is unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedRequest(f"the body is not one whole stream of {encoding} data")
    return found


def deflated(data: bytes, encoding: str) -> bytes:
    """`data` packed as `encoding`, "gzip" or "deflate"; quick rather than small."""
    window = zlib.MAX_WBITS + (16 if encoding == "gzip" else 0)
    packer = zlib.compressobj(1, zlib.DEFLATED, window)
    return packer.compress(data) + packer.flush()


def parsed(data: bytes, limit: int) -> dict[str, Any]:
    """The JSON object in `data`. Raises `TooLarge` as `parse_json` does, and `MalformedRequest`."""
    try:
        value = parse_json(data, limit)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedRequest(f"the request must be a JSON object, not {type(value).__name__}")
    return value
