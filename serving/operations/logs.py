"""The log: one JSON object a line on stderr, with the id of the request it is about.

A line holds no body, no token and no path of the machine: an error is told with the functions it
went through, by module and line, and what its message says of files is cut to their names.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

__all__ = ["REQUEST_ID", "JsonLines", "log_config", "log_request"]

REQUEST_ID: ContextVar[str] = ContextVar("perfcast_request_id", default="")
"""Of the request that is being answered."""

_ACCESS = logging.getLogger("perfcast.access")
_FILE = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\s\\/'\":,;]+){2,}")
_MOST: Final = 2_000  # characters of one message
_FRAMES: Final = 30


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()[:_MOST],
        }
        request_id = REQUEST_ID.get()
        if request_id:
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _told(record.exc_info[1])
            line["at"] = _frames(record.exc_info[2])
        return json.dumps(line)  # not orjson: a message may hold lone surrogates


def log_config(level: str, *, access: bool) -> dict[str, Any]:
    """For `logging.config.dictConfig`, which uvicorn calls in every worker."""
    # uvicorn warns of every malformed request: anybody could fill the log with that
    servers = "ERROR" if level == "warning" else level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.JsonLines"}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "perfcast": {"level": level.upper()},
            "perfcast.access": {"level": "INFO" if access else "CRITICAL"},
            "uvicorn": {"level": servers},
        },
    }


def log_request(
    *, method: str, path: str, status: int, milliseconds: float, received: int, client: str
) -> None:
    """One answered request; `path` comes without its query."""
    fields = {
        "method": method,
        "path": path[:200],
        "status": status,
        "ms": round(milliseconds, 3),
        "bytes": received,
        "client": client,
    }
    _ACCESS.info("request", extra={"fields": fields})


def _told(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = _FILE.sub(lambda found: re.split(r"[\\/]", found[0])[-1], text)
    return f"{type(error).__name__}: {text}"[:_MOST]


def _frames(trace: TracebackType | None) -> list[str]:
    frames = [
        f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(trace)
    ]
    return frames[-_FRAMES:]
