"""Every refusal in one form: `{"error": {"type", "message", "problems": [...]}}`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from perfcast.errors import InvalidInput, PerfcastError, Problem

__all__ = ["error_document", "install_handlers"]

_log = logging.getLogger("perfcast")


def error_document(error: PerfcastError) -> dict[str, object]:
    """The error as every door writes it in JSON."""
    problems = error.problems if isinstance(error, InvalidInput) else ()
    return _document(type(error).__name__, str(error), problems)


def install_handlers(app: FastAPI) -> None:
    """Answer every exception in the one form; what is inside the service stays inside."""
    app.add_exception_handler(PerfcastError, _on_perfcast)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_anything)


async def _on_perfcast(request: Request, error: Exception) -> Response:
    assert isinstance(error, PerfcastError)
    if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error)
        return _response(500, _document(type(error).__name__, "internal error", ()))
    return _response(error.http_status, error_document(error))


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    document = _document(phrase.title().replace(" ", ""), str(error.detail), ())
    return _response(error.status_code, document, error.headers)


async def _on_anything(request: Request, error: Exception) -> Response:
    _log.error("%s %s", request.method, request.url.path, exc_info=error)
    return _response(500, _document("InternalServerError", "internal error", ()))


def _document(kind: str, message: str, problems: Sequence[Problem]) -> dict[str, object]:
    listed = [
        {"row": problem.row, "field": problem.field, "reason": problem.reason}
        for problem in problems
    ]
    return {"error": {"type": kind, "message": message, "problems": listed}}


def _response(status: int, document: dict[str, object], headers: object | None = None) -> Response:
    # json, not orjson: a message may quote text that only escapes can carry
    return Response(
        json.dumps(document),
        status_code=status,
        headers=dict(headers) if isinstance(headers, dict) else None,
        media_type="application/json",
    )
