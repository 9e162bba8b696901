from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.errors import InvalidInput
from perfcast.training.stages import Arrays, Stages


class Told(list[str]):
    """What a stage reported."""

    def __call__(self, line: str) -> None:
        self.append(line)


def made(value: float, calls: list[float]) -> Callable[[], dict[str, NDArray[Any]]]:
    """A stage that notes that it was computed."""

    def compute() -> dict[str, NDArray[Any]]:
        calls.append(value)
        return {"a": np.array([value, np.nan]), "b": np.arange(3)}

    return compute


def unwanted() -> Arrays:
    raise AssertionError("computed again")


def test_a_finished_stage_is_read_back_by_the_next_run(tmp_path: Path) -> None:
    calls: list[float] = []
    first = Stages(tmp_path / "work", key="k")
    computed = first.run("fit", made(0.1, calls))
    told = Told()
    second = Stages(tmp_path / "work", key="k", report=told)
    read = second.run("fit", unwanted)
    assert calls == [0.1]
    assert told == ["fit: resumed"]
    assert first.seconds.keys() == {"fit"} and second.seconds == {}
    assert read.keys() == computed.keys()
    for name, values in computed.items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name], values)


def test_stages_of_another_key_are_removed(tmp_path: Path) -> None:
    calls: list[float] = []
    Stages(tmp_path, key="old").run("fit", made(1.0, calls))
    changed = Stages(tmp_path, key="new")
    assert changed.run("fit", made(2.0, calls))["a"][0] == 2.0
    assert calls == [1.0, 2.0]
    back = Stages(tmp_path, key="old")
    assert back.run("fit", made(3.0, calls))["a"][0] == 3.0, "nor does the first key find its own"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_stage_cut_short_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    calls: list[float] = []

    def fail() -> Arrays:
        raise error

    stages = Stages(tmp_path, key="k")
    stages.run("one", made(1.0, calls))
    with pytest.raises(error):
        stages.run("two", fail)
    again = Stages(tmp_path, key="k")
    again.run("one", unwanted)
    assert again.run("two", made(2.0, calls))["a"][0] == 2.0


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"neither"])
def test_a_damaged_stage_is_computed_again(tmp_path: Path, content: bytes) -> None:
    calls: list[float] = []
    Stages(tmp_path, key="k").run("fit", made(1.0, calls))
    (tmp_path / "fit.npz").write_bytes(content)
    told = Told()
    assert Stages(tmp_path, key="k", report=told).run("fit", made(2.0, calls))["a"][0] == 2.0
    assert told[0] == "fit: what was kept is damaged"
    Stages(tmp_path, key="k").run("fit", unwanted)


def test_a_truncated_stage_is_computed_again(tmp_path: Path) -> None:
    calls: list[float] = []
    Stages(tmp_path, key="k").run("fit", made(1.0, calls))
    whole = (tmp_path / "fit.npz").read_bytes()
    (tmp_path / "fit.npz").write_bytes(whole[: len(whole) // 2])
    assert Stages(tmp_path, key="k").run("fit", made(2.0, calls))["a"][0] == 2.0


def test_objects_are_refused_not_pickled(tmp_path: Path) -> None:
    stages = Stages(tmp_path, key="k")
    with pytest.raises(TypeError, match="fit: names holds objects"):
        stages.run("fit", lambda: {"names": np.array(["a"], dtype=object)})
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_discard_removes_the_folder(tmp_path: Path) -> None:
    stages = Stages(tmp_path / "a" / "work", key="k")
    stages.run("fit", made(1.0, []))
    stages.discard()
    assert list((tmp_path / "a").iterdir()) == []
    stages.discard()


@pytest.mark.parametrize("key", ["k", "another"])
def test_what_others_put_beside_the_stages_stays(tmp_path: Path, key: str) -> None:
    Stages(tmp_path, key="k").run("fit", made(1.0, []))
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    Stages(tmp_path, key=key).discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "notes.txt"]


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.npz").write_text("years of work")
    with pytest.raises(InvalidInput, match=r"work: .* holds files that are not a training's"):
        Stages(tmp_path, key="k")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.npz"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("")
    with pytest.raises(InvalidInput, match=r"work: .* is not a folder"):
        Stages(tmp_path / "work", key="k")


def test_progress_counts_stages(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    for _ in range(2):  # the second time both are read back
        stages = Stages(tmp_path / "work", key="a", progress=lambda *done: heard.append(done))
        stages.expected = 3
        for name in ("fit", "power"):
            stages.run(name, lambda: {"x": np.zeros(1)})
    assert heard == [(1, 3), (2, 3)] * 2
