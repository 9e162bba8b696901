"""What the service tells the server's connections: how much they may send, and when it is over."""

from __future__ import annotations

from typing import Final, NamedTuple

from perfcast.serving.operations.lifecycle import Lifecycle
from perfcast.serving.operations.metrics import Metrics
from perfcast.settings import Settings

__all__ = ["SHARED_STATE", "Limits"]

SHARED_STATE: Final = "perfcast"
"""The key of the server's state, as ASGI's lifespan fills it, under which `Limits` are found."""


class Limits(NamedTuple):
    """What a connection may do before, between and after its requests."""

    lifecycle: Lifecycle
    settings: Settings
    metrics: Metrics
