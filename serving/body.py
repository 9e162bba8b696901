"""Request bodies: bounded while they arrive, strict JSON, objects with known keys only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

import orjson
from starlette.requests import Request
from starlette.types import Receive

from perfcast.errors import InvalidInput, Problem, TooLarge, nearest, refusal
from perfcast.task import Task, shown

__all__ = ["parse_json", "read_body", "read_object", "rows_to_columns"]

_MAX_PROBLEMS = 100
_SMALL = 64 * 1024  # JSON of this size cannot hold enough to count
_DRAIN = 4  # a client that still writes cannot read its 413: discard this many times the limit


async def read_object(request: Request, limit: int, keys: Collection[str]) -> dict[str, Any]:
    """The JSON object in the request's body, whose keys must be among `keys`.

    Raises `TooLarge` once more than `limit` bytes have arrived, whatever the headers said, and
    `InvalidInput` for anything but one JSON object (NaN, infinities and lone surrogates included).
    """
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise InvalidInput([Problem("content-encoding", "compressed bodies are not accepted")])
    data = await read_body(request.receive, limit)
    try:
        value = parse_json(data, limit)
    except orjson.JSONDecodeError as error:
        raise InvalidInput([Problem("body", f"not valid JSON: {error}")]) from None
    if not isinstance(value, dict):
        raise InvalidInput([Problem("body", f"must be an object, not {type(value).__name__}")])
    unknown = [key for key in value if key not in keys][:_MAX_PROBLEMS]
    if unknown:
        raise InvalidInput(
            [
                Problem(shown(key).strip("'"), f"unknown key; {nearest(key, keys)}")
                for key in unknown
            ]
        )
    return value


def parse_json(data: bytes, limit: int) -> Any:
    """The value in `data`, of at most `limit` bytes; strict, and at most 1,024 levels deep.

    A list of empty lists takes twenty times the memory of its text. Counting brackets first is
    quick and keeps what comes out below ten times `limit`. Raises `TooLarge` for more, and
    `orjson.JSONDecodeError`.
    """
    if len(data) > _SMALL and data.count(b"[") + 4 * data.count(b"{") > limit // 7:
        raise TooLarge("the JSON holds too many arrays and objects for its size")
    return orjson.loads(data)


async def read_body(receive: Receive, limit: int) -> bytes:
    """A request's body. Raises `TooLarge` once more than `limit` bytes have arrived.

    Raises `InvalidInput` if the client leaves before it has sent everything.
    """
    kept = bytearray()  # one buffer: a list of chunks could be a list of single bytes
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput([Problem("body", "cut short")])
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size <= limit:
            if not kept and not more:
                return chunk
            kept += chunk
        else:
            kept.clear()
        if not more or size > _DRAIN * limit:
            break
    if size > limit:
        raise TooLarge(f"the body is larger than {limit} bytes")
    return bytes(kept)


def rows_to_columns(task: Task, rows: object, max_rows: int) -> dict[str, list[Any]]:
    """The task's columns, each [N], from a list of N objects.

    Raises `TooLarge` beyond `max_rows`; `InvalidInput` for rows that are not objects and for
    unknown keys, together with everything else that is wrong in any row.
    """
    if not isinstance(rows, list):
        raise InvalidInput([Problem("rows", "must be a list of objects, one per question")])
    if not rows:
        raise InvalidInput([Problem("rows", "must hold at least one row")])
    if len(rows) > max_rows:
        raise TooLarge(f"{len(rows)} rows, more than {max_rows} in one request")
    names = task.input_names
    problems: list[Problem] = []
    good: list[Mapping[str, Any]] = []
    absent = {column.name: column.example for column in task.inputs if column.required}
    known = frozenset(names)
    for at, row in enumerate(rows):
        if isinstance(row, dict) and row.keys() <= known:
            good.append(row)
            continue
        if len(problems) < _MAX_PROBLEMS:
            problems += _faults(row, names, at)
        # An example stands in for a row that is none, so that the others keep their numbers.
        good.append({k: row[k] for k in row if k in known} if isinstance(row, dict) else absent)
    columns = {name: [row.get(name) for row in good] for name in names}
    if problems:
        _, found = task.validate(columns)
        raise refusal([*problems[:_MAX_PROBLEMS], *found])
    return columns


def _faults(row: object, names: Collection[str], at: int) -> list[Problem]:
    if not isinstance(row, dict):
        return [Problem("row", f"must be an object, not {type(row).__name__}", at)]
    unknown = islice((key for key in row if key not in names), _MAX_PROBLEMS)
    return [
        Problem(shown(key).strip("'"), f"unknown column; {nearest(key, names)}", at)
        for key in unknown
    ]
