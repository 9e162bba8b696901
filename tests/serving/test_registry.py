"""The registry holds whole sets of verified models, and changes from one set to the next."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from perfcast.bundle import Bundle, sha256_of
from perfcast.errors import BundleError, NotReady, UnknownTask, UnknownVersion
from perfcast.serving.registry import Changes, Registry
from tests.standin import latency_ms, write_standin

QUESTION: dict[str, Any] = {"gpu": "h200_sxm", "dtype": "fp8", "m": 64, "n": 64, "k": 64}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def registry(folder: Path) -> Registry:
    """Holds version 1, of January."""
    put(folder, "1", month=1)
    registry = Registry()
    registry.load_all(folder)
    return registry


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What was logged since the last call."""
    with caplog.at_level(logging.INFO, "perfcast"):

        def lines() -> list[str]:
            found = [record.getMessage() for record in caplog.records]
            caplog.clear()
            return found

        yield lines


def put(folder: Path, version: str, *, month: int, place: str | None = None) -> Bundle:
    """A version whose latencies are `month` times the stand-in's."""
    return write_standin(
        folder,
        version=version,
        place=place or f"gemm/{version}",
        slower=float(month),
        created=f"2026-{month:02}-01T00:00:00Z",
    )


def slowness(registry: Registry, version: str | None = None) -> float:
    """How much slower than the stand-in's formula the model is that answers: its month."""
    answer = registry.get("gemm", version).predict_columns(QUESTION)
    return float(answer["latency_ms"].value[0] / latency_ms(**QUESTION))


def test_it_answers_once_loaded(models_dir: Path) -> None:
    registry = Registry()
    with pytest.raises(NotReady):
        registry.get("gemm")
    assert registry.refresh() == Changes()
    registry.load_all(models_dir)
    assert registry.get("gemm").bundle.name == "gemm@standin"
    assert [held.task.name for held in registry] == ["gemm"]
    with pytest.raises(UnknownTask, match="did you mean 'gemm'"):
        registry.get("gem")


def test_a_failed_load_keeps_what_was_there(models_dir: Path, tmp_path: Path) -> None:
    registry = Registry()
    registry.load_all(models_dir)
    held = registry.get("gemm")
    shutil.copytree(models_dir / "gemm", tmp_path / "gemm")
    (tmp_path / "gemm" / "card.json").write_text("{}")
    with pytest.raises(BundleError):
        registry.load_all(tmp_path)
    assert registry.get("gemm") is held


def test_readiness(models_dir: Path, tmp_path: Path) -> None:
    registry = Registry()
    found = [registry.ready]
    for folder in (tmp_path, models_dir):
        registry.load_all(folder)
        found.append(registry.ready)
    assert found == [False, False, True]


def test_versions_side_by_side(folder: Path) -> None:
    put(folder, "1", month=2, place="gemm")
    put(folder, "2", month=1)
    put(folder, "3", month=3)
    registry = Registry()
    registry.load_all(folder)
    assert registry.versions("gemm") == ("3", "1", "2")
    assert [held.bundle.version for held in registry] == ["3", "1", "2"]
    assert registry.get("gemm") is registry.get("gemm", "3")
    assert slowness(registry, "1") == pytest.approx(2, rel=1e-5)
    with pytest.raises(UnknownVersion, match="no version '4' of gemm; known: '1', '2', '3'"):
        registry.get("gemm", "4")
    with pytest.raises(UnknownTask):
        registry.versions("gem")


def test_one_damaged_version_does_not_stop_the_start(
    folder: Path, log: Callable[[], list[str]]
) -> None:
    put(folder, "1", month=1)
    put(folder, "2", month=2).model_path.write_bytes(b"damaged")
    registry = Registry()
    registry.load_all(folder)
    assert registry.versions("gemm") == ("1",)
    assert log() == [
        "loaded gemm@1",
        "refused 2: model.onnx does not match the hash in its card",
    ]


def test_of_two_folders_with_one_version_the_tasks_own_answers(folder: Path) -> None:
    put(folder, "1", month=1, place="gemm")
    put(folder, "1", month=2, place="gemm/copy")
    registry = Registry()
    registry.load_all(folder)
    assert registry.versions("gemm") == ("1",)
    assert slowness(registry) == pytest.approx(1, rel=1e-5)


def test_a_new_version_takes_over_and_an_old_one_does_not(
    registry: Registry, folder: Path, log: Callable[[], list[str]]
) -> None:
    assert registry.refresh() == Changes()
    put(folder, "0", month=1)
    put(folder, "2", month=2)
    assert set(registry.refresh().loaded) == {"gemm@0", "gemm@2"}
    assert registry.versions("gemm") == ("2", "1", "0")
    assert slowness(registry) == pytest.approx(2, rel=1e-5)
    assert slowness(registry, "1") == pytest.approx(1, rel=1e-5)
    assert set(log()) == {"loaded gemm@0", "loaded gemm@2"}
    assert (registry.refresh(), log()) == (Changes(), [])


def test_a_changed_bundle_replaces_what_its_folder_held(registry: Registry, folder: Path) -> None:
    before = registry.get("gemm")
    put(folder, "1b", month=2, place="gemm/1")
    changes = registry.refresh()
    assert (changes.loaded, changes.removed) == (("gemm@1b",), ("gemm@1",))
    assert registry.versions("gemm") == ("1b",)
    # whoever holds the old one can still use it
    assert before.predict_columns(QUESTION).model == "gemm@1"


def test_the_same_version_with_other_content_is_taken_up(registry: Registry, folder: Path) -> None:
    put(folder, "1", month=4)
    assert registry.refresh().loaded == ("gemm@1",)
    assert slowness(registry) == pytest.approx(4, rel=1e-5)


def corrupt(bundle: Bundle) -> None:
    data = bytearray(bundle.model_path.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.model_path.write_bytes(data)


def truncate(bundle: Bundle) -> None:
    os.truncate(bundle.model_path, bundle.model_path.stat().st_size // 2)


def truncate_the_card(bundle: Bundle) -> None:
    path = bundle.path / "card.json"
    os.truncate(path, path.stat().st_size // 2)


def without_a_model(bundle: Bundle) -> None:
    bundle.model_path.unlink()


def wrong_hash(bundle: Bundle) -> None:
    rewrite(bundle, model_sha256="0" * 64)


def of_another_task(bundle: Bundle) -> None:
    rewrite(bundle, task="towers")


def failing_self_test(bundle: Bundle) -> None:
    inputs = {name: [value] for name, value in QUESTION.items()}
    rewrite(bundle, self_test={"inputs": inputs, "outputs": {"latency_ms": [1.0]}})


def foreign_operator(bundle: Bundle) -> None:
    edit(bundle, lambda model: model.graph.node.add(op_type="Gelu", domain="com.microsoft"))


def outside_data(bundle: Bundle) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    (bundle.path / "weights.bin").write_bytes(b"\0" * 16)
    edit(bundle, lambda model: model.graph.initializer.append(tensor))


def wrong_signature(bundle: Bundle) -> None:
    info = helper.make_tensor_value_info("surplus", TensorProto.FLOAT, ["N"])
    edit(bundle, lambda model: model.graph.input.append(info))


def not_a_model(bundle: Bundle) -> None:
    bundle.model_path.write_bytes(b"")
    rewrite(bundle, model_sha256=sha256_of(bundle.model_path))


def edit(bundle: Bundle, change: Callable[[onnx.ModelProto], object]) -> None:
    """Change the model, with a card that has its hash: somebody meant it."""
    model = onnx.load_from_string(bundle.model_path.read_bytes())
    change(model)
    bundle.model_path.write_bytes(model.SerializeToString())
    rewrite(bundle, model_sha256=sha256_of(bundle.model_path))


def rewrite(bundle: Bundle, **fields: Any) -> None:
    (bundle.path / "card.json").write_text(json.dumps({**bundle.card, **fields}))


BAD: dict[Callable[[Bundle], None], str] = {
    corrupt: "{folder}: model.onnx does not match the hash in its card",
    truncate: "{folder}: model.onnx does not match the hash in its card",
    wrong_hash: "{folder}: model.onnx does not match the hash in its card",
    truncate_the_card: "{folder}: no readable card.json",
    without_a_model: "{folder}: no readable model.onnx",
    of_another_task: "towers@2: a model of towers, not of gemm",
    foreign_operator: "gemm@2: the model uses operators of the domain 'com.microsoft'",
    outside_data: "gemm@2: the model keeps data outside its file",
    wrong_signature: "gemm@2: the model asks for surplus",
    failing_self_test: "gemm@2: the model's latency_ms differs from its self-test",
    not_a_model: "gemm@2: onnxruntime cannot open the model",
}


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("place", ["gemm/2", "gemm/1"], ids=["beside", "in_place"])
def test_a_bad_bundle_is_refused_and_the_old_one_keeps_answering(
    registry: Registry,
    folder: Path,
    log: Callable[[], list[str]],
    spoil: Callable[[Bundle], None],
    place: str,
) -> None:
    held = registry.get("gemm")
    bundle = put(folder, "2", month=2, place=place)
    spoil(bundle)
    expected = BAD[spoil].format(folder=bundle.path.name)
    assert registry.refresh() == Changes(refused={place: expected})
    for _ in range(3):
        assert registry.refresh() == Changes(refused={place: expected})
    assert registry.get("gemm") is held and registry.versions("gemm") == ("1",)
    assert log() == [f"refused {expected}"]
    put(folder, "2", month=2, place=place)  # mended
    assert registry.refresh().loaded == ("gemm@2",)
    assert slowness(registry) == pytest.approx(2, rel=1e-5)


def test_nothing_is_said_about_a_bundle_that_is_still_being_written(
    registry: Registry, folder: Path, tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    bundle = put(tmp_path, "2", month=2)
    target = folder / "gemm" / "2"
    target.mkdir()
    assert registry.refresh() == Changes()
    shutil.copy(bundle.path / "card.json", target)
    assert list(registry.refresh().refused) == ["gemm/2"]
    data = bundle.model_path.read_bytes()
    with (target / "model.onnx").open("wb", buffering=0) as file:
        for start in range(0, len(data), len(data) // 7):
            assert registry.refresh().loaded == ()
            assert registry.versions("gemm") == ("1",)
            file.write(data[start : start + len(data) // 7])
    assert registry.refresh() == Changes(loaded=("gemm@2",))
    assert log() == ["loaded gemm@2"]


def test_a_bundle_that_could_not_be_imagined_does_not_stop_the_others(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError

    put(folder, "2", month=2)
    with monkeypatch.context() as patched:
        patched.setattr("perfcast.serving.registry.open_predictor", fail)
        assert registry.refresh().refused == {"gemm/2": "2: ZeroDivisionError"}
    assert registry.versions("gemm") == ("1",)


def test_a_removed_version_leaves(
    registry: Registry, folder: Path, log: Callable[[], list[str]]
) -> None:
    bundle = put(folder, "2", month=2)
    registry.refresh()
    log()
    shutil.rmtree(bundle.path)
    assert registry.refresh() == Changes(removed=("gemm@2",))
    assert (registry.versions("gemm"), log()) == (("1",), ["removed gemm@2"])


@pytest.mark.parametrize("gone", [".", "gemm"])
def test_the_last_versions_stay_when_everything_is_gone(
    registry: Registry, folder: Path, gone: str
) -> None:
    put(folder, "2", month=2)
    registry.refresh()
    (folder / gone).rename(folder.parent / "elsewhere")
    for _ in range(3):
        assert registry.refresh() == Changes()
    assert registry.versions("gemm") == ("2", "1")
    put(folder, "3", month=3)
    assert registry.refresh() == Changes(loaded=("gemm@3",), removed=("gemm@1", "gemm@2"))


def test_the_last_version_stays_beside_one_that_cannot_replace_it(
    registry: Registry, folder: Path
) -> None:
    corrupt(put(folder, "2", month=2))
    shutil.rmtree(folder / "gemm" / "1")
    for _ in range(3):
        assert registry.refresh().removed == ()
    assert registry.versions("gemm") == ("1",)


def test_a_folder_that_stands_empty_ends_its_task(registry: Registry, folder: Path) -> None:
    shutil.rmtree(folder / "gemm" / "1")
    assert registry.refresh() == Changes()  # somebody may be about to put another one there
    assert registry.refresh() == Changes(removed=("gemm@1",))
    assert not registry.ready
    with pytest.raises(NotReady):
        registry.get("gemm")
    put(folder, "2", month=2)
    registry.refresh()
    assert registry.versions("gemm") == ("2",)


def test_a_folder_that_is_empty_for_a_moment_does_not(registry: Registry, folder: Path) -> None:
    for version in ("2", "3"):
        shutil.rmtree(folder / "gemm")
        (folder / "gemm").mkdir()
        assert registry.refresh() == Changes()
        put(folder, version, month=int(version))
        assert registry.refresh().loaded == (f"gemm@{version}",)


def test_a_bundle_that_is_touched_is_checked_again(registry: Registry, folder: Path) -> None:
    (folder / "gemm" / "1" / "card.json").touch()
    assert registry.refresh() == Changes(loaded=("gemm@1",))


def test_looking_at_what_has_not_changed_opens_nothing(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrupt(put(folder, "2", month=2))
    registry.refresh()
    monkeypatch.setattr("perfcast.serving.registry.open_predictor", pytest.fail)
    monkeypatch.setattr(Path, "open", pytest.fail)
    registry.refresh()
