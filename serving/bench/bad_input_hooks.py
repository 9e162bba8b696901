"""What schemathesis cannot know of the service; it loads this module, nothing else does."""

from __future__ import annotations

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData

__all__ = ["filter_failure"]

_HASTY_MS = 1_000
_BEYOND_SCHEMAS = (
    # columns must be equally long, which JSON Schema has no way to say
    b"lengths differ (",
    # which characters exist, and so can be printed, depends on the version of Unicode
    b"must be printable text of at most 100 characters",
)


@schemathesis.hook
def filter_failure(context: object, failure: Failure, case: object, response: Response) -> bool:
    """Whether `failure` is one: not if it is about what no schema says.

    Nor if the request wanted its answer within a few milliseconds and was told 504.
    """
    _ = context, case
    if response.status_code == 504:
        wanted = response.request.headers.get("X-Request-Deadline-Ms", "")
        return not (wanted.isdigit() and int(wanted) < _HASTY_MS)
    if isinstance(failure, RejectedPositiveData):
        return not any(reason in response.content for reason in _BEYOND_SCHEMAS)
    return True
