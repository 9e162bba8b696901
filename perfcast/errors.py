"""Everything perfcast raises on purpose, each class with the HTTP status it maps to.

PerfcastError                 500
├── InvalidInput              422   a field of a question is missing, mistyped or out of bounds
│   ├── UnknownValue          422   a category nobody knows; names the nearest known ones
│   └── AnswerWithheld        422   part of the answer is withheld and the door cannot mark it
├── MalformedRequest          400   a body that breaks its protocol's form
├── UnknownTask               404   no bundle answers this kind of question
├── UnknownVersion            404   a task's bundles are of other versions
├── TooLarge                  413   more rows, bytes or candidates than the stated limit
│   └── HeadTooLarge          431   more bytes or lines of headers than a request may have
├── NotFound                  404   no such route
├── MethodNotAllowed          405   a route that has other methods
├── Unauthorized              401   no token, or not the right one
├── RateLimited               429   more requests than one client may send
├── NotReady                  503   no model loaded yet, or shutting down
│   └── Overloaded            503   as much waits as may; try again a little later
├── DeadlineExceeded          504   no answer within the time that was given
├── SlowRequest               408   the body took too long to arrive
├── BundleError               500   a bundle is damaged, foreign or incomplete
├── DataError                 422   a data set cannot be used; names the file, column and row
├── ExportMismatch            500   the exported model disagrees with the trained one
└── MissingExtra              501   an optional dependency is absent; names the extra to install
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AnswerWithheld",
    "BundleError",
    "DataError",
    "DeadlineExceeded",
    "ExportMismatch",
    "HeadTooLarge",
    "InvalidInput",
    "MalformedRequest",
    "MethodNotAllowed",
    "MissingExtra",
    "NotFound",
    "NotReady",
    "Overloaded",
    "PerfcastError",
    "Problem",
    "RateLimited",
    "SlowRequest",
    "TooLarge",
    "Unauthorized",
    "UnknownTask",
    "UnknownValue",
    "UnknownVersion",
    "document",
    "nearest",
    "refusal",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one field of one row; `row` is None for a question asked alone."""

    field: str
    reason: str
    row: int | None = None

    def __str__(self) -> str:
        where = self.field if self.row is None else f"row {self.row}, {self.field}"
        return f"{where}: {self.reason}"


class PerfcastError(Exception):
    """Base of every error perfcast raises on purpose."""

    http_status: ClassVar[int] = 500


class InvalidInput(PerfcastError, ValueError):
    """One or more fields of a question cannot be used; `problems` lists them all."""

    http_status = 422

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        shown = "; ".join(str(problem) for problem in self.problems[:5])
        more = len(self.problems) - 5
        super().__init__(shown + (f"; and {more} more" if more > 0 else ""))


class UnknownValue(InvalidInput):
    """A category nobody knows, with the nearest known names in the message."""


class AnswerWithheld(InvalidInput):
    """Rows whose answer is withheld, met by a protocol in which a number cannot be missing."""


class MalformedRequest(PerfcastError, ValueError):
    """A body that breaks the form of its protocol, so that nothing in it can be trusted."""

    http_status = 400


class UnknownTask(PerfcastError, KeyError):
    """No bundle answers this kind of question."""

    http_status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no model for task {name!r}; {nearest(name, known)}")

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class UnknownVersion(PerfcastError, KeyError):
    """The task is answered, but not by a bundle of this version."""

    http_status = 404

    def __init__(self, task: str, version: str, known: Iterable[str]) -> None:
        super().__init__(f"no version {version!r} of {task}; {nearest(version, known)}")

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class TooLarge(PerfcastError):
    """More rows, bytes or candidates than the stated limit."""

    http_status = 413


class HeadTooLarge(TooLarge):
    """More bytes or lines of headers than a request may have."""

    http_status = 431


class NotReady(PerfcastError):
    """No model is loaded yet, or the service is shutting down."""

    http_status = 503


class Overloaded(NotReady):
    """As many requests, or bytes of them, wait as may; what waits is answered first."""


class Unauthorized(PerfcastError):
    """The route asks for a token, and the request has none or another."""

    http_status = 401


class NotFound(PerfcastError):
    """There is no such route, or none that is open to anybody."""

    http_status = 404


class MethodNotAllowed(PerfcastError):
    """The route is asked by other methods."""

    http_status = 405

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not allowed here, {allowed[0]} is")
        self.allowed = tuple(allowed)


class RateLimited(PerfcastError):
    """A client sends more requests a second than one client may; after `wait_s` it may again."""

    http_status = 429

    def __init__(self, message: str, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class DeadlineExceeded(PerfcastError):
    """There was no answer within the time that the service or the request allows."""

    http_status = 504


class SlowRequest(PerfcastError):
    """The body of a request took too long to arrive."""

    http_status = 408


class BundleError(PerfcastError):
    """A bundle is damaged, foreign or incomplete."""


class DataError(PerfcastError, ValueError):
    """A data set cannot be used; the message names the file, the column and the row."""

    http_status = 422


class ExportMismatch(PerfcastError):
    """The exported model disagrees with the trained one beyond tolerance."""


class MissingExtra(PerfcastError, ImportError):
    """An optional dependency is absent."""

    http_status = 501

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'perfcast[{extra}]'")


def document(error: PerfcastError) -> dict[str, object]:
    """`error` as every door writes it in JSON."""
    problems = error.problems if isinstance(error, InvalidInput) else ()
    listed = [
        {"row": problem.row, "field": problem.field, "reason": problem.reason}
        for problem in problems
    ]
    name = type(error).__name__
    return {"error": {"type": name, "message": str(error), "problems": listed}}


def refusal(problems: Sequence[Problem]) -> InvalidInput:
    """The error to raise for `problems`: `UnknownValue` if that is all that is wrong."""
    unknown = all(problem.reason.startswith("unknown value") for problem in problems)
    return (UnknownValue if unknown else InvalidInput)(problems)


def nearest(value: object, known: Iterable[str], limit: int = 3) -> str:
    """A phrase naming the known values closest to `value`, for error messages."""
    names = sorted(known)
    if not names:
        return "none is known"
    folded = {name.lower(): name for name in names}
    # No name is as long as a hundred characters, and the search takes as long as its text.
    matches = difflib.get_close_matches(str(value)[:100].lower(), folded, n=limit, cutoff=0.5)
    close = [folded[match] for match in matches]
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}?"
    shown = ", ".join(repr(name) for name in names[:20])
    return f"known: {shown}" + (", ..." if len(names) > 20 else "")
