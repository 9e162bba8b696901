"""What a path is for: who may ask it, and under what name it is counted."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

from perfcast.features.tasks import TASKS

__all__ = ["OTHER", "Kind", "kind_of", "route_of"]


class Kind(Enum):
    """Who may ask, and when."""

    HEALTH = "answered to everybody, at any time"
    METRICS = "answered at any time; needs a token if the settings say so"
    PUBLIC = "the page and the documentation: the same for everybody"
    INFERENCE = "needs the token, if there is one"
    MANAGEMENT = "needs the management token; does not exist without one"


OTHER: Final = "other"
"""The name of whatever is no route: nobody can make new names by asking for new paths."""

_HEALTH = frozenset({"/healthz", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
_PUBLIC = frozenset({"/", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
_MANAGEMENT = ("/management", "/v1/admin", "/v2/repository")
_V2_MODEL = re.compile(r"/v2/models/(?P<task>[^/]+)(?:/versions/[^/]+)?(?P<verb>/[a-z]+)?")
_V2_VERBS = frozenset({None, "/config", "/infer", "/ready", "/stats"})


def kind_of(path: str) -> Kind:
    """What `path` is for."""
    if path in _HEALTH:
        return Kind.HEALTH
    if path == "/metrics":
        return Kind.METRICS
    if path in _PUBLIC or path.startswith("/assets/"):
        return Kind.PUBLIC
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in _MANAGEMENT):
        return Kind.MANAGEMENT
    return Kind.INFERENCE


def route_of(scope: Any) -> tuple[str, str]:
    """The route's template and its task ("" for none) of a request that was answered.

    FastAPI leaves its route in `scope`; of the other doors the few shapes of paths are known.
    """
    template = getattr(scope.get("route"), "path", None)
    if isinstance(template, str):
        task = template.split("/")[2:3]
        return template, task[0] if task and task[0] in TASKS else ""
    path: str = scope["path"]
    if path in _HEALTH or path in _PUBLIC or path in {"/metrics", "/v2"}:
        return path, ""
    if path.startswith("/assets/"):
        return "/assets", ""
    found = _V2_MODEL.fullmatch(path)
    if found and found["task"] in TASKS and found["verb"] in _V2_VERBS:
        return f"/v2/models/{{model}}{found['verb'] or ''}", found["task"]
    return OTHER, ""
