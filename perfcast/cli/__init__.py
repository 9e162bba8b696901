"""The `perfcast` command: a module for each subcommand; heavy imports wait until one runs."""

from __future__ import annotations

from perfcast.cli.main import main

__all__ = ["main"]
