"""pyproject.toml names every package and every file that must be installed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import perfcast

ROOT = Path(__file__).parent.parent
FOLDERS = ("features", "graphs", "models", "predictors", "serving", "training")
SOURCE_ONLY = (
    ROOT / "serving" / "deploy",
    ROOT / "serving" / "page",  # what `make page` builds from it ships, not itself
)


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def package_folders() -> dict[str, Path]:
    """Every package in the tree: dotted name -> folder."""
    roots = {"perfcast": ROOT / "perfcast", "perfcast.cli": ROOT / "perfcast" / "cli"}
    roots |= {f"perfcast.{name}": ROOT / name for name in FOLDERS}
    found = dict(roots)
    for name, root in roots.items():
        if name != "perfcast":  # whose folder shows the others again, as links
            for init in root.rglob("*/__init__.py"):
                found[".".join((name, *init.parent.relative_to(root).parts))] = init.parent
    return found


def test_every_package_is_installed(pyproject: dict[str, Any]) -> None:
    table = pyproject["tool"]["setuptools"]
    folders = package_folders()
    assert sorted(table["packages"]) == sorted(folders)
    mapped = {name: ROOT / path for name, path in table["package-dir"].items()}
    assert mapped == {name: path for name, path in folders.items() if name in mapped}
    assert {name for name in folders if name.count(".") == 1} <= set(mapped)


def test_every_data_file_is_installed(pyproject: dict[str, Any]) -> None:
    data = pyproject["tool"]["setuptools"]["package-data"]
    folders = package_folders()
    for name, folder in folders.items():
        nested = [
            other for other in folders.values() if other != folder and folder in other.parents
        ]
        apart = (*nested, *SOURCE_ONLY)
        patterns = data.get(name, [])
        installed = {path for pattern in patterns for path in folder.glob(pattern)}
        walk = folder.glob("*") if name == "perfcast" else folder.rglob("*")
        for path in walk:
            skip = path.suffix in {".py", ".pyc", ".md"} or path.name.startswith(".")
            if path.is_file() and not skip and not any(other in path.parents for other in apart):
                assert path in installed, f"{path.relative_to(ROOT)} is in no wheel"
        for pattern in patterns:
            assert any(folder.glob(pattern)), f"{name}: {pattern!r} matches nothing"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_checkout_shows_one_tree(name: str) -> None:
    link = ROOT / "perfcast" / name
    assert link.is_symlink() and link.resolve() == ROOT / name


def test_versions_agree(pyproject: dict[str, Any]) -> None:
    assert pyproject["project"]["version"] == perfcast.__version__


def test_dependencies_are_bounded(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in (item for items in lists for item in items):
        assert "==" in requirement or (">=" in requirement and ",<" in requirement), requirement


def test_the_base_install_can_only_serve(pyproject: dict[str, Any]) -> None:
    text = " ".join(pyproject["project"]["dependencies"])
    for heavy in ("torch", "xgboost", "scikit", "mlflow", "pandas", "pyarrow", "scipy"):
        assert heavy not in text
