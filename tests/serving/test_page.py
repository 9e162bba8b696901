"""The page's files over HTTP: exact paths, headers, and the build that belongs to the source."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import httpx
import pytest

from perfcast.serving.page import POLICY, page_files

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "serving" / "page"
ASSETS = sorted(path for path in page_files() if path)
BUDGET = 100_000  # bytes of everything the page loads, compressed


def test_the_page(client: httpx.Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.text.startswith("<!doctype html>")


def test_the_page_loads_just_what_is_served(client: httpx.Client) -> None:
    named = re.findall(r'(?:src|href)="\./(assets/[^"]+)"', client.get("/").text)
    assert sorted(named) == ASSETS
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    assert {path.rsplit(".", 1)[-1] for path in ASSETS} == set(kinds)
    for path in ASSETS:
        response = client.get(f"/{path}")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith(kinds[path.rsplit(".", 1)[-1]])
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.content == page_files()[path]


def test_assets_carry_their_hash_in_their_name() -> None:
    for path in ASSETS:
        assert re.fullmatch(r"assets/[a-z]+-[\w-]{8}\.[a-z]+", path)


@pytest.mark.parametrize("path", ["", *ASSETS])
def test_every_file_is_guarded(client: httpx.Client, path: str) -> None:
    headers = client.get(f"/{path}").headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "unsafe" not in POLICY and POLICY.startswith("default-src 'self';")


@pytest.mark.parametrize("path", ["", *ASSETS])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_head_says_what_get_would(client: httpx.Client, path: str, encoding: str) -> None:
    accepted = {"accept-encoding": encoding}
    head, get = client.head(f"/{path}", headers=accepted), client.get(f"/{path}", headers=accepted)
    assert (head.status_code, head.content) == (200, b"")
    same = ("content-type", "content-length", "etag", "cache-control", "content-encoding")
    assert [head.headers.get(name) for name in same] == [get.headers.get(name) for name in same]


@pytest.mark.parametrize("path", ["", *ASSETS])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_what_the_client_has_is_not_sent_again(
    client: httpx.Client, path: str, encoding: str
) -> None:
    accepted = {"accept-encoding": encoding}
    etag = client.get(f"/{path}", headers=accepted).headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}(-gzip)?"', etag)
    for tags in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(f"/{path}", headers={**accepted, "if-none-match": tags})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    changed = client.get(f"/{path}", headers={**accepted, "if-none-match": '"other"'})
    assert changed.status_code == 200


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=1.0, *", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
        ("", False),
    ],
)
def test_compression_is_negotiated(client: httpx.Client, accepted: str, compressed: bool) -> None:
    (script,) = (path for path in ASSETS if path.endswith(".js"))
    with client.stream("GET", f"/{script}", headers={"accept-encoding": accepted}) as response:
        raw = b"".join(response.iter_raw())
        assert response.headers["vary"] == "accept-encoding"
        assert response.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(raw) if compressed else raw) == page_files()[script]


@pytest.mark.parametrize(
    "path",
    [
        "/assets",
        "/assets/",
        "/assets/none.js",
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "/assets/..%2findex.html",
        "/assets/..%5cindex.html",
        "/assets//etc/passwd",
        "/assets/%00",
        "/index.html",
        "/static/index.html",
        "/page/package.json",
    ],
)
def test_nothing_else_is_served(client: httpx.Client, path: str) -> None:
    target = client.base_url.copy_with(raw_path=path.encode())
    response = client.get(target)
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "NotFound"


def test_the_page_is_only_read(client: httpx.Client) -> None:
    assert client.post("/").status_code == 405
    assert client.put(f"/{ASSETS[0]}").status_code == 405


def test_the_page_is_not_in_the_document(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert "/" not in paths and not any("assets" in path for path in paths)


def test_nothing_points_elsewhere() -> None:
    """The page works where there is no other network: no address of another origin in it."""
    allowed = {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}
    for path, content in page_files().items():
        found = set(re.findall(r"https?://[\w./-]+", content.decode("utf-8")))
        assert found <= allowed, path


def test_the_page_is_small() -> None:
    assert sum(len(gzip.compress(content)) for content in page_files().values()) < BUDGET


def test_the_built_page_comes_from_this_source() -> None:
    """`make page` notes what it read; a source changed without a new build is found here."""
    top = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"]
    files = (path for path in (SOURCE / "src").rglob("*") if path.is_file())
    inside = [path.relative_to(SOURCE).as_posix() for path in files]
    names = [*top, *(name for name in inside if not name.endswith(".test.ts"))]
    digest = hashlib.sha256()
    for name in sorted(names):
        content = (SOURCE / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    noted = (SOURCE / "built-from.sha256").read_text(encoding="ascii").strip()
    assert digest.hexdigest() == noted, "run `make page` and commit what it builds"
