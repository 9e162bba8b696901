"""One JSON object a line, and nothing in it that is nobody's business."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest

from perfcast.serving.operations.logs import REQUEST_ID, JsonLines, log_config, log_request

LOG = logging.getLogger("perfcast.test_logs")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    LOG.addHandler(handler)
    LOG.setLevel("DEBUG")
    LOG.propagate = False
    yield written
    LOG.removeHandler(handler)


def only(written: io.StringIO) -> Any:
    (line,) = written.getvalue().splitlines()
    return json.loads(line)


def test_a_line(lines: io.StringIO) -> None:
    LOG.warning("half of %s is %d", "four", 2)
    line = only(lines)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": LOG.name, "event": "half of four is 2"}


@pytest.mark.parametrize("text", ["a\nb", '"}\n{"level": "error"}', "\ud800", "\x00\x1b[2J"])
def test_nothing_breaks_out_of_its_line(lines: io.StringIO, text: str) -> None:
    LOG.info("%s", text)
    assert only(lines)["event"] == text


def test_the_request_that_it_is_about(lines: io.StringIO) -> None:
    token = REQUEST_ID.set("abc-1")
    try:
        LOG.info("x")
    finally:
        REQUEST_ID.reset(token)
    assert only(lines)["request_id"] == "abc-1"


def test_an_error_shows_where_without_paths_of_the_machine(lines: io.StringIO) -> None:
    try:
        try:
            open("/very/secret/folder/file.txt")  # noqa: PTH123, SIM115
        except OSError as error:
            raise RuntimeError(f"no model: {error} and C:\\secret\\disk") from error
    except RuntimeError:
        LOG.exception("failed")
    line = only(lines)
    assert "secret" not in json.dumps(line)
    assert line["error"].startswith("RuntimeError: no model: ")
    assert "file.txt" in line["error"]
    assert line["at"][-1].startswith(f"{__name__}:")
    assert line["at"][-1].endswith("without_paths_of_the_machine")


def test_an_access_line_has_no_query_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    access = logging.getLogger("perfcast.access")
    monkeypatch.setattr(access, "handlers", [handler])
    monkeypatch.setattr(access, "level", logging.INFO)
    monkeypatch.setattr(access, "propagate", False)
    access.manager._clear_cache()  # type: ignore[attr-defined]  # of isEnabledFor
    log_request(
        method="GET", path="/" + "x" * 999, status=200, milliseconds=1.23456, received=7, client="c"
    )
    line = only(written)
    assert (line["ms"], line["status"], line["bytes"]) == (1.235, 200, 7)
    assert len(line["path"]) == 200


@pytest.mark.parametrize(
    ("level", "access", "uvicorn"),
    [("warning", False, "ERROR"), ("info", True, "INFO"), ("debug", True, "DEBUG")],
)
def test_levels(level: str, access: bool, uvicorn: str) -> None:
    config = log_config(level, access=access)
    logging.config.DictConfigurator(config)  # what it names exists
    assert config["loggers"]["uvicorn"]["level"] == uvicorn
    assert config["loggers"]["perfcast.access"]["level"] == ("INFO" if access else "CRITICAL")
