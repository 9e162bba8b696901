"""The direction of imports and what may be imported where, read from the source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("graphs", "features", "predictors", "training", "serving", "models")

# layer -> the layers it may import; "nouns" are perfcast/*.py
MAY_IMPORT = {
    "nouns": {"nouns"},
    "models": set(),
    "graphs": {"nouns", "graphs"},
    "features": {"nouns", "graphs", "features"},
    "predictors": {"nouns", "graphs", "features", "predictors"},
    "training": {"nouns", "graphs", "features", "predictors", "training"},
    "serving": {"nouns", "graphs", "features", "serving"},
    "cli": {"nouns", "graphs", "features", "serving", "cli"},
}
# The command line may start a training, and `perfcast.load` a prediction, but only when called:
# importing them must not import what they need.
MAY_IMPORT_LATER = {"cli": {"training"}, "nouns": {"serving"}}

BASE = {
    "anyio", "arro3", "click", "fastapi", "httptools", "numpy", "onnxruntime", "orjson",
    "prometheus_client", "pydantic", "rich", "starlette", "typer", "uvicorn",
}  # fmt: skip
# What may be imported at the top of a layer's modules, beyond the standard library. A layer that
# is not named here needs an extra, and may import what it likes.
EXTERNAL = {"nouns": {"numpy"}, "models": set(), "graphs": BASE, "features": BASE, "serving": BASE}
EXTERNAL["cli"] = BASE
NEVER_IN_SERVING = {
    "mlflow", "ndonnx", "onnx", "pandas", "pyarrow", "scipy", "sklearn", "spox", "torch",
    "torch_geometric", "xgboost",
}  # fmt: skip
# The one module of serving that may import something of these, when called.
WITH_AN_EXTRA = {ROOT / "serving" / "row_groups.py": {"pyarrow"}}
# Modules that nothing here imports: each is loaded by the program it is an extension of.
LOADED_BY = {ROOT / "serving" / "bench" / "bad_input_hooks.py": "schemathesis"}
# Started by file in environments of other projects' servers, where perfcast is not installed.
FOREIGN = ROOT / "serving" / "bench" / "peers" / "programs"
NEVER = {"pickle", "cPickle", "_pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    later: bool
    """Inside a function or for type checkers only: not run by importing the module."""


def imports(source: str) -> list[Import]:
    return list(_walk(ast.parse(source), later=False))


def _walk(node: ast.AST, *, later: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                for name in child.names:
                    yield Import(name.name, child.lineno, later)
            case ast.ImportFrom():
                prefix = "." * child.level + (child.module or "")
                for name in child.names:
                    yield Import(f"{prefix}.{name.name}", child.lineno, later)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _walk(child, later=True)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for part in child.body:
                    yield from _walk(ast.Module([part], []), later=True)
                for part in child.orelse:
                    yield from _walk(ast.Module([part], []), later=later)
            case _:
                yield from _walk(child, later=later)


def layer_of(module: str) -> str:
    """The layer of a dotted name below `perfcast`."""
    parts = module.split(".")
    if len(parts) > 1 and parts[1] in MAY_IMPORT:
        return parts[1]
    return "nouns"


def problems(layer: str, source: str, path: Path | None = None) -> list[str]:
    found = []
    extra = WITH_AN_EXTRA.get(path, set()) if path else set()
    loader = LOADED_BY.get(path, "") if path else ""
    for item in imports(source):
        top = item.module.split(".")[0]
        where = f"line {item.line}: {layer} imports {item.module}"
        if top in NEVER:
            found.append(f"{where}: can run code from a file")
        elif top == "":
            found.append(f"{where}: relative import")
        elif top == "perfcast":
            target = layer_of(item.module)
            allowed = MAY_IMPORT[layer] | (
                MAY_IMPORT_LATER.get(layer, set()) if item.later else set()
            )
            if target not in allowed:
                found.append(f"{where}: {target} is not below it")
        elif top not in sys.stdlib_module_names:
            never = layer == "serving" and top in NEVER_IN_SERVING - extra
            absent = not item.later and top not in EXTERNAL.get(layer, {top}) | {loader}
            if never or absent:
                found.append(f"{where}: the base install lacks it")
    return found


def sources() -> list[tuple[str, Path]]:
    files = [("nouns", path) for path in sorted((ROOT / "perfcast").glob("*.py"))]
    files += [("cli", path) for path in sorted((ROOT / "perfcast" / "cli").rglob("*.py"))]
    for folder in FOLDERS:
        files += [(folder, path) for path in sorted((ROOT / folder).rglob("*.py"))]
    return [(layer, path) for layer, path in files if path.parent != FOREIGN]


@pytest.mark.parametrize(
    ("layer", "path"), sources(), ids=lambda value: str(value).removeprefix(f"{ROOT}/")
)
def test_direction_of_imports(layer: str, path: Path) -> None:
    assert problems(layer, path.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize("path", sorted(FOREIGN.glob("*.py")), ids=lambda path: str(path.name))
def test_foreign_programs_stand_alone(path: Path) -> None:
    names = {item.module.split(".")[0] for item in imports(path.read_text(encoding="utf-8"))}
    assert not names & (NEVER | {"perfcast"})


def test_every_layer_has_modules() -> None:
    assert {layer for layer, _ in sources()} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("layer", "source", "problem"),
    [
        ("features", "from perfcast.predictors import trees", "predictors is not below it"),
        ("features", "from perfcast import training", "training is not below it"),
        ("predictors", "import perfcast.training.splits", "training is not below it"),
        ("serving", "def f():\n    import perfcast.training", "training is not below it"),
        ("serving", "def f():\n    import torch", "the base install lacks it"),
        ("serving", "try:\n    import pandas as pd\nexcept ImportError: ...", "the base install"),
        ("features", "import pyarrow", "the base install lacks it"),
        ("nouns", "from rich import print", "the base install lacks it"),
        ("nouns", "from perfcast.serving import app", "serving is not below it"),
        ("cli", "from perfcast.training import pipeline", "training is not below it"),
        ("training", "import pickle", "can run code from a file"),
        ("training", "def f():\n    from joblib import load", "can run code from a file"),
        ("training", "from . import splits", "relative import"),
        (
            "serving",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch",
            "lacks",
        ),
    ],
)
def test_a_breach_is_found(layer: str, source: str, problem: str) -> None:
    (found,) = problems(layer, source)
    assert problem in found


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("nouns", "def load():\n    from perfcast.serving.predictor import load"),
        ("nouns", "import numpy as np\nfrom importlib.resources import files"),
        ("cli", "def train():\n    from perfcast.training import pipeline"),
        ("features", "def trace():\n    import ndonnx"),
        ("training", "import pyarrow\nfrom perfcast.features.tasks import GEMM"),
        ("serving", "from perfcast.features.tasks import GEMM\nimport onnxruntime"),
    ],
)
def test_what_is_allowed(layer: str, source: str) -> None:
    assert problems(layer, source) == []


def test_only_one_module_may_take_from_an_extra() -> None:
    later, at_once = "def f():\n    import pyarrow", "import pyarrow"
    (path,) = WITH_AN_EXTRA
    assert problems("serving", later, path) == []
    assert problems("serving", at_once, path) != []
    assert problems("serving", later, path.with_name("files.py")) != []
