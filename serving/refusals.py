"""Every refusal in one form: `{"error": {"type", "message", "problems": [...]}}`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from perfcast.errors import PerfcastError, document

__all__ = ["install_handlers"]

_log = logging.getLogger("perfcast")


def install_handlers(app: FastAPI) -> None:
    """Answer every exception in the one form; what is inside the service stays inside."""
    app.add_exception_handler(PerfcastError, _on_perfcast)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_anything)


async def _on_perfcast(request: Request, error: Exception) -> Response:
    assert isinstance(error, PerfcastError)
    if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", request.method, request.url.path, error)
        return _response(500, _bare(type(error).__name__, "internal error"))
    return _response(error.http_status, document(error))


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    body = _bare(phrase.title().replace(" ", ""), str(error.detail))
    return _response(error.status_code, body, error.headers)


async def _on_anything(request: Request, error: Exception) -> Response:
    _log.error("%s %s", request.method, request.url.path, exc_info=error)
    return _response(500, _bare("InternalServerError", "internal error"))


def _bare(kind: str, message: str) -> dict[str, object]:
    return {"error": {"type": kind, "message": message, "problems": []}}


def _response(
    status: int, body: dict[str, object], headers: Mapping[str, str] | None = None
) -> Response:
    # json, not orjson: a message may quote text that only escapes can carry
    return Response(
        json.dumps(body),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )
