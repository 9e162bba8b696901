"""The order of version strings: 0.9.0 < 0.14.0, 1.3.0rc15 < 1.3.0rc20 < 1.3.0 < 1.3.0.post2."""

from __future__ import annotations

import re

__all__ = ["version_key"]

_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)?(.*)", re.DOTALL)
_FIELD = re.compile(r"\d+|[a-z]+")
_RANK = {"dev": -4, "a": -3, "alpha": -3, "b": -2, "beta": -2, "rc": -1, "post": 1}

VersionKey = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


def version_key(version: str) -> VersionKey:
    """A key that sorts versions from oldest to newest, any string accepted.

    1.3 and 1.3.0 are equal. A pre-release sorts before its release, a post-release after it; an
    unknown word counts as a pre-release, and what follows "+" (a local build) does not count.
    """
    match = _RELEASE.match(version.strip().lower().split("+")[0])
    numbers, suffix = match.groups() if match else (None, "")
    release = [int(field) for field in (numbers or "").split(".") if field]
    while release and release[-1] == 0:
        release.pop()
    fields = tuple(
        (2, int(field)) if field.isdecimal() else (_RANK.get(field, -1), 0)
        for field in _FIELD.findall(suffix)
    )
    return tuple(release), (*fields, (0, 0))
