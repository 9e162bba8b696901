"""An error as an answer, in the form of the door that was asked."""

from __future__ import annotations

import json
import re

from starlette.types import Message, Send

from perfcast.errors import PerfcastError, document

__all__ = ["RETRY_AFTER", "SANE_ID", "refusal_body", "refuse"]

SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""Request ids that may go into an answer and a log as they came."""

RETRY_AFTER = (b"retry-after", b"1")
Headers = list[tuple[bytes, bytes]]


def refusal_body(error: PerfcastError, path: str) -> bytes:
    """The document of `error`: below /v2 the protocol's, elsewhere the service's own."""
    if error.http_status == 500:  # what is inside the service stays inside
        error = PerfcastError("internal error")
    v2 = path == "/v2" or path.startswith("/v2/")
    return json.dumps({"error": str(error)} if v2 else document(error)).encode()


async def refuse(send: Send, path: str, error: PerfcastError, headers: Headers) -> None:
    """Answer a request for `path` with `error`; `headers` go with it."""
    body = refusal_body(error, path)
    start: Message = {
        "type": "http.response.start",
        "status": error.http_status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *headers,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
