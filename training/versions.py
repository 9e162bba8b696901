"""The order of versions, which the campaign's deployments follow too: see `features.versions`."""

from __future__ import annotations

from perfcast.features.versions import version_key

__all__ = ["version_key"]
