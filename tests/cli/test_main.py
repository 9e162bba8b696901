"""The command as a whole: quick help, one line per error, the right exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import perfcast as package
from tests.cli.helpers import perfcast

ROOT = Path(__file__).parent.parent.parent


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from perfcast.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        "assert run(['predict', 'gemm', '--help']) == 0\n"
        "heavy = {'onnxruntime', 'fastapi', 'starlette', 'uvicorn', 'arro3.core', 'orjson'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    assert "Run time and power of one dense matrix multiplication C[m,n]" in done.stdout


def test_version() -> None:
    assert perfcast("--version").out == f"perfcast {package.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonsense",),
        ("nonsense",),
        ("predict", "gem"),
        ("models", "gemm"),
        ("predict", "gemm", "--gp", "l4"),
        ("serve", "--port", "http"),
        ("serve", "--port", "70000"),
        ("recommend", "gemm", "--limit", "many"),
    ],
)
def test_nonsense_is_one_line_and_status_two(arguments: tuple[str, ...]) -> None:
    done = perfcast(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("perfcast: ")
    assert done.err.count("\n") == 1
    told = perfcast(*arguments, "--json")
    assert told.status == 2
    assert told.json["error"]["type"] == "UsageError"


def test_a_bad_setting_is_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_PROT", "1")
    done = perfcast("models")
    assert done.status == 2
    assert "did you mean 'PERFCAST_PORT'" in done.err


def test_a_damaged_bundle_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gemm").mkdir()
    (tmp_path / "gemm" / "card.json").write_text("{}")
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(tmp_path))
    done = perfcast(
        "predict", "gemm", "--gpu", "l4", "--dtype", "fp8", "-m", "1", "-n", "1", "-k", "1"
    )
    assert done.status == 1
    assert done.err.startswith("perfcast: gemm: card.json lacks schema, task, version")


def test_a_reader_that_goes_away_is_no_error(models_dir: Path) -> None:
    code = "from perfcast.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, "models", "show", "gemm", "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PERFCAST_MODELS_DIR": str(models_dir), "PATH": ""},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        complaint = process.stderr.read()
        status = process.wait(timeout=60)
    assert (status, complaint) == (0, b"")
