"""`perfcast serve` says where it listens, answers there, and stops when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from perfcast.serving.listening import listen
from tests.cli.helpers import perfcast

ROOT = Path(__file__).parent.parent.parent
CODE = "from perfcast.cli import main; main()"


def started(models_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CODE, "serve", "--port", "0", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PERFCAST_MODELS_DIR": str(models_dir), "PYTHONUNBUFFERED": "1"},
    )


def test_it_answers_where_it_says_and_stops_when_told(models_dir: Path) -> None:
    with started(models_dir) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("perfcast is listening on http://127.0.0.1:")
            address = line.split()[4]
            assert httpx.get(f"{address}/healthz", timeout=30).status_code == 200
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert process.stderr.read() == ""


def test_json_and_interrupt(models_dir: Path) -> None:
    with started(models_dir, "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = "".join(process.stdout.readline() for _ in range(3))
            address = json.loads(line)["listening"]
            assert httpx.get(f"{address}/v1/models", timeout=30).status_code == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) in (0, 130)
        assert "Traceback" not in process.stderr.read()


@pytest.mark.usefixtures("use_standin")
def test_a_port_in_use_is_an_error_of_the_user() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        done = perfcast("serve", "--port", port)
    assert done.status == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.err


def test_without_models_it_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(tmp_path))
    done = perfcast("serve", "--port", "0")
    assert done.status == 1
    assert f"no models in {tmp_path}" in done.err
