"""The base install is enough to answer: with everything else blocked, all doors open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

BLOCKED = (
    "mlflow", "ndonnx", "onnx", "pandas", "perfcast.predictors", "perfcast.training", "pyarrow",
    "scipy", "sklearn", "spox", "torch", "torch_geometric", "xgboost",
)  # fmt: skip

SCRIPT = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if any(name == blocked or name.startswith(blocked + ".") for blocked in {BLOCKED!r}):
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
        return None

sys.meta_path.insert(0, Blocker())
for name in {BLOCKED!r}:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{{name}} was not blocked")

import math
import perfcast
import perfcast.cli
import perfcast.serving.app

answer = perfcast.load("gemm").predict(gpu="h200_sxm", dtype="fp8", m=4096, n=4096, k=8192)
latency_ms = float(answer["latency_ms"].value[0])
assert math.isfinite(latency_ms) and latency_ms > 0, latency_ms
print("answered")
"""


def test_the_base_install_is_enough() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout == "answered\n"
    assert run.returncode == 0
