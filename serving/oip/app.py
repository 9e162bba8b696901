"""The protocol's routes, as a plain ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from perfcast.errors import MalformedRequest, NotReady, PerfcastError
from perfcast.serving.body import read_body
from perfcast.serving.oip.about import model_config, model_metadata, server_metadata
from perfcast.serving.oip.body import deflated, inflated
from perfcast.serving.oip.model import Model
from perfcast.serving.predictor import Predictor
from perfcast.serving.registry import Registry
from perfcast.settings import Settings

__all__ = ["OpenInference"]

_log = logging.getLogger("perfcast")

_INLINE_BYTES: Final = 2**20
"""Larger requests are understood in a thread, so that others get their turns meanwhile."""
_WORTH_PACKING: Final = 1024
_GET, _POST = ("GET", "HEAD"), ("POST",)

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class _Reply:
    body: bytes
    status: int = 200
    headers: Headers = field(default_factory=lambda: [(b"content-type", b"application/json")])


class OpenInference:
    """Answers everything below `/v2` from what `registry` holds at the time.

    Refusals have the protocol's form, `{"error": "..."}`, with the statuses of `perfcast.errors`.
    """

    def __init__(
        self, registry: Registry, settings: Settings, ready: Callable[[], bool] | None = None
    ) -> None:
        """`ready` tells whether new questions are welcome (default: while a model is loaded)."""
        self._registry = registry
        self._settings = settings
        self._ready: Callable[[], bool] = ready or (lambda: registry.ready)
        self._models: weakref.WeakKeyDictionary[Predictor, Model] = weakref.WeakKeyDictionary()
        self._server = orjson.dumps(server_metadata())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = await self._reply(scope, receive)
        except PerfcastError as error:
            reply = _refusal(scope, error)
        except Exception as error:
            _log.error("%s %s", scope["method"], scope["path"], exc_info=error)
            reply = _error(500, "internal error")
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, receive: Receive) -> _Reply:
        place = _place(scope["path"])
        if place is None:
            return _error(404, f"nothing at {scope['path'][:200]}")
        allowed = _POST if place.what in ("infer", "index") else _GET
        if scope["method"] not in allowed:
            refused = _error(405, f"{scope['method']} is not allowed here, {allowed[0]} is")
            refused.headers.append((b"allow", ", ".join(allowed).encode()))
            return refused
        if place.what == "infer":
            predictor = self._registry.get(place.name, place.version)
            return await self._infer(predictor, scope, receive)
        return self._tell(place)

    async def _infer(self, predictor: Predictor, scope: Scope, receive: Receive) -> _Reply:
        packed, json_header, wanted = _headers(scope)
        limit = self._settings.max_body_bytes
        body = await read_body(receive, limit)
        if packed is not None:
            body = inflated(body, packed, limit)
        json_bytes = _json_bytes(json_header, len(body))
        model = self._model(predictor)
        if len(body) > _INLINE_BYTES:
            feeds, write = await asyncio.to_thread(model.understand, body, json_bytes)
        else:
            feeds, write = model.understand(body, json_bytes)
        answer = write(await predictor.engine.run(feeds))
        if wanted is None or len(answer.body) < _WORTH_PACKING:
            return _Reply(answer.body, 200, answer.headers)
        content = await asyncio.to_thread(deflated, answer.body, wanted)
        headers = [*answer.headers, (b"content-encoding", wanted.encode())]
        return _Reply(content, 200, [*headers, (b"vary", b"accept-encoding")])

    def _model(self, predictor: Predictor) -> Model:
        model = self._models.get(predictor)
        if model is None:
            model = self._models[predictor] = Model(predictor, self._settings)
        return model

    def _tell(self, place: _Place) -> _Reply:
        """What is asked for by looking, not by running a model."""
        match place.what:
            case "server":
                return _Reply(self._server)
            case "live":
                return _json({"live": True})
            case "health":
                ready = self._ready()
                return _json({"ready": ready}, 200 if ready else NotReady.http_status)
            case "index":
                held = [(each.task.name, each.bundle.version) for each in self._registry]
                return _json([{"name": n, "version": v, "state": "READY"} for n, v in held])
        return self._tell_of_model(place)

    def _tell_of_model(self, place: _Place) -> _Reply:
        model = self._model(self._registry.get(place.name, place.version))
        if place.what == "ready":
            ready = self._ready()
            told = {"name": place.name, "version": model.version, "ready": ready}
            return _json(told, 200 if ready else NotReady.http_status)
        if place.what == "config":
            return _json(model_config(model.task, model.outputs))
        versions = self._registry.versions(place.name)
        return _json(model_metadata(model.task, model.card, model.outputs, versions))


@dataclass(frozen=True, slots=True)
class _Place:
    """What a path stands for; `name` and `version` of the model where it speaks of one."""

    what: str
    name: str = ""
    version: str | None = None


_FIXED: Final = {
    (): _Place("server"),
    ("health", "live"): _Place("live"),
    ("health", "ready"): _Place("health"),
    ("repository", "index"): _Place("index"),
}
_OF_A_MODEL: Final = {
    (): "metadata",
    ("ready",): "ready",
    ("config",): "config",
    ("infer",): "infer",
}


def _place(path: str) -> _Place | None:
    """The place at `path`, which begins with "/v2"; None if there is nothing."""
    segments = tuple(path.rstrip("/").split("/")[2:])
    if len(segments) < 2 or segments[0] != "models":
        return _FIXED.get(segments)
    name, rest, version = segments[1], segments[2:], None
    if len(rest) > 1 and rest[0] == "versions":
        version, rest = rest[1], rest[2:]
    what = _OF_A_MODEL.get(rest)
    return None if what is None else _Place(what, name, version)


def _headers(scope: Scope) -> tuple[str | None, bytes | None, str | None]:
    """The body's encoding, the length of its JSON, and how the answer should be packed.

    Browsers and most clients always offer gzip. To pack costs more than to send within a data
    centre, so only those get it who accept one thing: that is how this protocol's clients ask.
    """
    packed: str | None = None
    json_header: bytes | None = None
    wanted: str | None = None
    for name, value in scope["headers"]:
        if name == b"inference-header-content-length":
            json_header = value
        elif name == b"content-encoding":
            packed = value.decode("latin-1").lower()
        elif name == b"accept-encoding" and value in (b"gzip", b"deflate"):
            wanted = value.decode()
    return packed, json_header, wanted


def _json_bytes(header: bytes | None, length: int) -> int:
    """How much of a body of `length` bytes is JSON. Raises `MalformedRequest`."""
    if header is None:
        return length
    if not header.isdigit() or len(header) > 12 or int(header) > length:
        shown = header[:20].decode("latin-1")
        raise MalformedRequest(
            f"inference-header-content-length is {shown!r}, the body has {length} bytes"
        )
    return int(header)


def _refusal(scope: Scope, error: PerfcastError) -> _Reply:
    if error.http_status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", scope["method"], scope["path"], error)
        return _error(500, "internal error")
    return _error(error.http_status, str(error))


def _error(status: int, message: str) -> _Reply:
    # json, not orjson: a message may quote text that only escapes can carry
    return _Reply(json.dumps({"error": message}).encode(), status)


def _json(value: Any, status: int = 200) -> _Reply:
    return _Reply(orjson.dumps(value), status)
