"""Runs the command line in this process and catches what it prints."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from perfcast.cli.main import run

__all__ = ["Outcome", "perfcast"]


@dataclass(frozen=True)
class Outcome:
    """One run: exit status, standard output and standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=_refuse)


def perfcast(*arguments: str) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(arguments)
    return Outcome(status, out.getvalue(), err.getvalue())


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} in JSON")
