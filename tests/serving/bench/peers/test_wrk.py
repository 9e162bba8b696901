"""What wrk is given and what it prints."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from perfcast.serving.bench.peers import wrk

PRINTED = """\
Running 2s test @ http://127.0.0.1:8000/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.62ms  310.11us   9.11ms   88.10%
  20001 requests in 2.00s, 9.50MB read
Requests/sec:  10000.50
perfcast-load {"requests": 20001, "seconds": 2.000000, "p50_us": 1555, "p90_us": 1800, \
"p99_us": 2900, "connect": 0, "read": 1, "write": 0, "status": 2, "timeout": 4}
"""


def test_the_report_of_a_run() -> None:
    load = wrk.parse_load(PRINTED)
    assert (load.requests, load.p50_us, load.p90_us, load.p99_us) == (20_001, 1555, 1800, 2900)
    assert load.per_second == 10_000.5
    assert load.errors == 7


def test_a_run_without_a_report() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        wrk.parse_load("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_requests_are_written_with_their_lengths(tmp_path: Path) -> None:
    path = wrk.write_requests(tmp_path, "x", [b"GET / \x00", b"", b"ab"])
    assert path.read_bytes() == b"".join(
        struct.pack("<I", size) + text for size, text in ((7, b"GET / \x00"), (0, b""), (2, b"ab"))
    )


def test_without_wrk_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(wrk.WrkMissing, match="apt-get install wrk"):
        wrk.find_wrk()


def test_a_wrk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "wrk"
    program.write_text("#!/bin/sh\necho no such host >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    requests = wrk.write_requests(tmp_path, "x", [b""])
    with pytest.raises(ValueError, match="no such host"):
        wrk.run_wrk(requests, 1, connections=1, seconds=1)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that reports and writes its arguments down."""
    said = tmp_path / "arguments"
    line = PRINTED.splitlines()[-1]
    program = tmp_path / "wrk"
    program.write_text(f"#!/bin/sh\nfor each; do echo \"$each\"; done > {said}\necho '{line}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    requests = wrk.write_requests(tmp_path, "x", [b"GET"])
    assert wrk.run_wrk(requests, 4711, connections=16, seconds=2.4).requests == 20_001
    arguments = said.read_text().splitlines()
    script = arguments[arguments.index("--script") + 1]
    assert Path(script).read_text().count("function request()") == 1
    assert arguments == [
        "--threads", "1", "--connections", "16", "--duration", "2s", "--timeout", "30s",
        "--script", script, "http://127.0.0.1:4711/", "--", str(requests),
    ]  # fmt: skip
