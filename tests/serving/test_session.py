"""A session opens what is whole and answers the task, and refuses everything else by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from perfcast.bundle import Bundle, write_bundle
from perfcast.errors import BundleError
from perfcast.features.tasks import GEMM
from perfcast.serving.session import Session
from tests.standin import questions, standin_card, standin_model

Edit = Callable[[onnx.ModelProto], object]


def rename(collection: str, old: str, new: str) -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        for info in getattr(model.graph, collection):
            if info.name == old:
                info.name = new
        for node in model.graph.node:
            for names in (node.input, node.output):
                for at, name in enumerate(names):
                    if name == old:
                        names[at] = new

    return edit


def drop_output(model: onnx.ModelProto) -> None:
    kept = [info for info in model.graph.output if info.name != "reasons"]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def fix_length(model: onnx.ModelProto) -> None:
    for info in model.graph.input:
        info.type.tensor_type.shape.dim[0].dim_value = 8
    for info in model.graph.output:
        info.type.tensor_type.shape.dim[0].dim_value = 8


def widen(model: onnx.ModelProto) -> None:
    """Let latency_ms come out as double."""
    rename("output", "latency_ms", "single")(model)
    to = onnx.TensorProto.DOUBLE
    model.graph.node.append(onnx.helper.make_node("Cast", ["single"], ["latency_ms"], to=to))
    for info in model.graph.output:
        if info.name == "single":
            info.name, info.type.tensor_type.elem_type = "latency_ms", to


def opened(folder: Path, edit: Edit) -> Session:
    model = onnx.load_from_string(standin_model())
    edit(model)
    bundle = write_bundle(folder / "gemm", model.SerializeToString(), standin_card())
    return Session(bundle, GEMM)


def test_it_runs_on_one_thread(models_dir: Path) -> None:
    session = Session(Bundle.open(models_dir / "gemm"), GEMM)
    options = session.runtime.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert session.runtime.get_providers() == ["CPUExecutionProvider"]


def test_it_returns_every_output_by_name(models_dir: Path) -> None:
    session = Session(Bundle.open(models_dir / "gemm"), GEMM)
    outputs = session.run(GEMM.require_valid(questions(5)))
    assert set(outputs) == set(session.output_names)
    assert {values.shape for values in outputs.values()} == {(5,)}
    assert outputs["latency_ms"].dtype == np.float32
    assert outputs["reasons"].dtype == np.int64


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (rename("input", "m", "rows"), "asks for rows"),
        (rename("output", "power_w", "watts"), "no output power_w"),
        (drop_output, "no output reasons"),
        (fix_length, r"tensor\(string\) \[8\], expected tensor\(string\) \[N\]"),
        (widen, r"latency_ms is tensor\(double\)"),
        (lambda model: model.graph.node.add(op_type="X", domain="com.evil"), "com.evil"),
        (lambda model: setattr(model.graph.node[0], "op_type", "NoSuchOperator"), "cannot open"),
    ],
)
def test_what_does_not_answer_the_task_is_refused(tmp_path: Path, edit: Edit, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        opened(tmp_path, edit)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "gemm", b"", standin_card())
    with pytest.raises(BundleError, match="cannot open the model"):
        Session(bundle, GEMM)


def test_a_model_swapped_after_the_check_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "gemm", standin_model(), standin_card())
    bundle.model_path.write_bytes(b"other")
    with pytest.raises(BundleError, match="does not match the hash"):
        Session(bundle, GEMM)
    bundle.model_path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        Session(bundle, GEMM)


def test_a_run_that_fails_names_the_bundle_alone(models_dir: Path) -> None:
    session = Session(Bundle.open(models_dir / "gemm"), GEMM)
    feeds = GEMM.require_valid(questions(2))
    del feeds["m"]
    with pytest.raises(BundleError, match=r"^gemm@standin: the model failed on these inputs$"):
        session.run(feeds)
