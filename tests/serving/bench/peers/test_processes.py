"""Servers are waited for, and nothing of them stays behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from perfcast.serving.bench.peers.processes import CannotStart, free_port, running
from perfcast.serving.bench.peers.usage import family, processes

# A server whose child leaves its session and does not end when it does.
SERVER = """
import http.server, os, subprocess, sys
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
print("serving", os.environ["GREETING"], os.getcwd(), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/ready" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not tell")
def test_a_server_and_its_children_are_gone_afterwards(tmp_path: Path) -> None:
    port = free_port()
    with running(
        [sys.executable, "-c", SERVER, str(port)],
        port=port,
        ready="/ready",
        environment={"GREETING": "hello"},
        folder=tmp_path,
    ) as pid:
        members = family(pid, processes())
        assert pid in members and len(members) == 2
    assert [pid for pid, each in processes().items() if pid in members and not each.ended] == []


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        pytest.raises(CannotStart, match="no such model"),
        running(command, port=free_port(), ready="/", environment={}, folder=tmp_path),
    ):
        raise AssertionError("it does not answer")
