"""Environments are made once, and made anew when something else is wanted. Without a network."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from perfcast.serving.bench.peers import environments
from perfcast.serving.bench.peers.environments import CannotInstall, Environment, prepare

NEWEST = (3, 99)


def test_versions() -> None:
    found = Environment(Path(sys.executable)).versions(("numpy", "perfcast-nowhere"))
    assert found == {
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "perfcast-nowhere": "not installed",
    }


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands are written down; the first one of each environment makes its folder."""
    said: list[list[str]] = []

    def run(command: list[str]) -> None:
        said.append(command)
        if command[1:3] == ["-m", "venv"]:
            Path(command[3]).mkdir(parents=True)
            (Path(command[3]) / "pyvenv.cfg").touch()

    monkeypatch.setattr(environments, "_run", run)
    return said


def test_an_environment_is_made_once(tmp_path: Path, commands: list[list[str]]) -> None:
    folder = tmp_path / "cache" / "peer"
    made = prepare(folder, ("a<2", "b"), NEWEST)
    assert made == Environment(folder / "bin" / "python")
    assert commands[0] == [sys.executable, "-m", "venv", str(folder)]
    assert commands[1][0] == str(made.python) and commands[1][-2:] == ["a<2", "b"]
    assert prepare(folder, ("a<2", "b"), NEWEST) == made
    assert len(commands) == 2


def test_other_requirements_make_it_anew(tmp_path: Path, commands: list[list[str]]) -> None:
    prepare(tmp_path / "peer", ("a",), NEWEST)
    (tmp_path / "peer" / "old").touch()
    prepare(tmp_path / "peer", ("b",), NEWEST)
    assert len(commands) == 4
    assert not (tmp_path / "peer" / "old").exists()


def test_one_that_failed_is_tried_again(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = environments._run

    def fail(command: list[str]) -> None:
        run(command)
        if "install" in command:
            raise CannotInstall("no network")

    monkeypatch.setattr(environments, "_run", fail)
    with pytest.raises(CannotInstall, match="no network"):
        prepare(tmp_path / "peer", ("a",), NEWEST)
    monkeypatch.setattr(environments, "_run", run)
    prepare(tmp_path / "peer", ("a",), NEWEST)
    assert len(commands) == 4


def test_an_older_python_is_looked_for(
    tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 98, 0))
    program = tmp_path / "python3.11"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    prepare(tmp_path / "peer", ("a",), (3, 12))
    assert commands[0][0] == str(program)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CannotInstall, match=r"needs Python 3\.12 or older"):
        prepare(tmp_path / "other", ("a",), (3, 12))


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(CannotInstall, match="so it goes"):
        environments._run([sys.executable, "-c", "raise SystemExit('so it goes')"])
