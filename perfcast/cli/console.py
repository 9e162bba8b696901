"""What commands print: results to stdout (JSON with --json), everything else to stderr."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import TYPE_CHECKING

from perfcast.errors import PerfcastError, document

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Console"]


class Console:
    """Where one command writes."""

    def __init__(self, *, json: bool) -> None:
        self._json = json

    def result(self, value: object) -> None:
        """JSON to stdout; a value that JSON cannot hold is a programming error."""
        print(jsonlib.dumps(value, indent=2, allow_nan=False))  # noqa: T201

    def show(self, *parts: str | Table) -> None:
        """Lines and tables for people, to stdout."""
        from rich.console import Console as RichConsole

        rich = RichConsole(highlight=False)
        for part in parts:
            rich.print(part, markup=False) if isinstance(part, str) else rich.print(part)

    def warn(self, message: str) -> None:
        """One line to stderr."""
        print(f"perfcast: {_one_line(message)}", file=sys.stderr)  # noqa: T201

    def error(self, error: PerfcastError) -> None:
        """One line to stderr, and with --json the error as a document to stdout."""
        self.warn(str(error))
        if self._json:
            self.result(document(error))

    def usage_error(self, message: str) -> None:
        """The same for a command line that makes no sense."""
        self.warn(f"{message} (see: perfcast --help)")
        if self._json:
            body = {"type": "UsageError", "message": _one_line(message), "problems": []}
            self.result({"error": body})


def _one_line(message: str) -> str:
    line = " ".join(message.split())
    return line.encode(sys.stderr.encoding or "utf-8", "backslashreplace").decode(
        sys.stderr.encoding or "utf-8"
    )
