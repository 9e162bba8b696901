"""The web page: `/` and its assets, exactly the files that were built, with strict headers.

What is served is read once, at the start. The files come from `serving/page` (TypeScript) through
`make page`; the service and its tests need no JavaScript tools.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["POLICY", "install_page", "page_files"]

POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
"""Everything from this service alone: no other origin, no inline script, no inline style."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOREVER = "public, max-age=31536000, immutable"  # an asset's name changes with its content
_SMALL = 1024  # compressing less saves nothing


@dataclass(frozen=True, slots=True)
class _File:
    """One file as it goes out, plain and compressed."""

    content: bytes
    media_type: str
    cache: str
    compressed: bytes | None = field(init=False)
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        worth_it = len(self.content) > _SMALL
        small = gzip.compress(self.content, mtime=0) if worth_it else None
        object.__setattr__(self, "compressed", small)
        object.__setattr__(self, "etag", hashlib.sha256(self.content).hexdigest()[:32])


def page_files() -> dict[str, bytes]:
    """What ships: path below the page's address ("" is the page itself) -> content.

    Raises `FileNotFoundError` if the page was never built, which no release leaves out.
    """
    static = files("perfcast.serving").joinpath("static")
    built = {"": static.joinpath("index.html").read_bytes()}
    for asset in _listed(static.joinpath("assets")):
        built[f"assets/{asset.name}"] = asset.read_bytes()
    return built


def install_page(app: FastAPI) -> None:
    """Serve the page at `/` and its assets at `/assets/...`; not in the OpenAPI document."""
    served = {
        path: _File(content, _media_type(path), _FOREVER if path else "no-cache")
        for path, content in page_files().items()
    }

    async def page(request: Request) -> Response:
        return _respond(request, served[""])

    async def asset(request: Request) -> Response:
        found = served.get(f"assets/{request.path_params['name']}")
        if found is None:
            raise HTTPException(404)
        return _respond(request, found)

    for path, endpoint in (("/", page), ("/assets/{name}", asset)):
        app.router.add_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)


def _listed(folder: Traversable) -> list[Traversable]:
    return sorted((item for item in folder.iterdir() if item.is_file()), key=lambda item: item.name)


def _media_type(path: str) -> str:
    return _TYPES[f".{path.rsplit('.', 1)[-1]}" if path else ".html"]


def _respond(request: Request, file: _File) -> Response:
    """`file`, compressed where the client takes that, or 304 where it has it already."""
    squeeze = file.compressed is not None and _takes_gzip(request.headers)
    etag = f'"{file.etag}-gzip"' if squeeze else f'"{file.etag}"'
    headers = {
        "cache-control": file.cache,
        "content-security-policy": POLICY,
        "etag": etag,
        "referrer-policy": "no-referrer",
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    known = [tag.strip().removeprefix("W/") for tag in _tags(request)]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    content = file.content
    if squeeze and file.compressed is not None:
        headers["content-encoding"] = "gzip"
        content = file.compressed
    # for HEAD the server keeps the length and leaves the content out
    return Response(content, media_type=file.media_type, headers=headers)


def _tags(request: Request) -> list[str]:
    return request.headers.get("if-none-match", "").split(",")


def _takes_gzip(headers: Mapping[str, str]) -> bool:
    """Whether gzip is named in accept-encoding, and not with a weight of zero."""
    for item in headers.get("accept-encoding", "").lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() == "gzip":
            return not weight or weight.strip().removeprefix("q=").strip("0.") != ""
    return False
