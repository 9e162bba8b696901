"""What may stand behind the question mark of an address: the version that shall answer."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request

from perfcast.errors import InvalidInput, Problem, nearest
from perfcast.task import shown

__all__ = ["VERSION_PARAMETER", "asked_version"]

_NAME = "version"

VERSION_PARAMETER: Final[dict[str, Any]] = {
    "name": _NAME,
    "in": "query",
    "required": False,
    "description": "which of the versions in /v1/models answers; default: the newest",
    "schema": {"type": "string"},
}
"""What the OpenAPI document says of it."""


def asked_version(request: Request) -> str | None:
    """The version that `request` asks for, None for the default.

    Raises `InvalidInput` for any other query parameter, and for two versions.
    """
    if not request.scope["query_string"]:
        return None
    parameters = request.query_params
    problems = [
        Problem(shown(key).strip("'"), f"unknown query parameter; {nearest(key, (_NAME,))}")
        for key in parameters
        if key != _NAME
    ]
    found = parameters.getlist(_NAME)
    if len(found) > 1:
        problems.append(Problem(_NAME, "may be given once"))
    if problems:
        raise InvalidInput(problems[:100])
    return found[0] if found else None
