from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import onnx
import pytest

from perfcast.errors import ExportMismatch, MissingExtra
from perfcast.features.tasks import GEMM
from perfcast.predictors.export import TOLERANCE, names_to_codes, run_onnx, to_onnx, verify
from tests.predictors.tables import AXES, questions, random_questions, tables

TABLES = tables()
LATTICES = ("log_ratio", "log_power", *(f"offsets {q} {end}" for q in "01" for end in "01"))
MAXIMUM = 2**24


@pytest.fixture(scope="module")
def model() -> bytes:
    return to_onnx(TABLES)


def grid(*sizes: Any, **names: Any) -> dict[str, Any]:
    m, n, k = (part.ravel() for part in np.meshgrid(*sizes))
    return questions(m, n, k, **names)


def test_standard_operators_in_one_file(model: bytes) -> None:
    proto = onnx.load_from_string(model)
    onnx.checker.check_model(proto, full_check=True)
    assert {node.domain for node in _nodes(proto)} <= {"", "ai.onnx.ml"}
    assert {opset.domain for opset in proto.opset_import} <= {"", "ai.onnx.ml"}
    assert proto.producer_name == "perfcast"
    tensors = list(proto.graph.initializer)
    tensors += [a.t for node in _nodes(proto) for a in node.attribute if a.HasField("t")]
    assert tensors and not any(tensor.external_data for tensor in tensors)
    assert len(model) < 200_000


def _nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [*proto.graph.node, *(node for f in proto.functions for node in f.node)]


def test_inputs_and_outputs_are_the_tasks(model: bytes) -> None:
    graph = onnx.load_from_string(model).graph
    types = {value.name: value.type.tensor_type for value in graph.input}
    strings, whole = onnx.TensorProto.STRING, onnx.TensorProto.INT64
    assert {name: kind.elem_type for name, kind in types.items()} == {
        column.name: whole if column.kind == "integer" else strings for column in GEMM.inputs
    }
    assert all(len(kind.shape.dim) == 1 for kind in types.values())
    outputs = {value.name: value.type.tensor_type.elem_type for value in graph.output}
    assert {output.name for output in GEMM.outputs} < set(outputs)
    for name, kind in outputs.items():
        coded = name == "reasons" or name.endswith("_status")
        assert kind == (whole if coded else onnx.TensorProto.FLOAT)


@pytest.mark.parametrize(
    "columns",
    [
        random_questions(5_000),
        random_questions(5_000, seed=1, top=20_000),
        grid(AXES.m, AXES.n, AXES.k),
        grid(AXES.m + 1, AXES.n + 1, AXES.k + 1),
        grid(AXES.m, AXES.n - 1, AXES.k - 1, gpu="h100_sxm"),
        grid([1, MAXIMUM], [1, MAXIMUM], [1, MAXIMUM]),
        questions(gpu="nonsense", framework="?", framework_version="\u00e9", dtype=""),
        questions(gpu=["", "h200_sxm", "H200_SXM"]),
        questions(),
    ],
    ids=["random", "plausible", "nodes", "above", "below", "extremes", "unknown", "names", "one"],
)
def test_onnxruntime_agrees(model: bytes, columns: dict[str, Any]) -> None:
    assert verify(TABLES, model, columns) <= TOLERANCE / 10


def test_rows_alone_and_together(model: bytes) -> None:
    columns = random_questions(5, seed=2, top=20_000)
    whole = run_onnx(model, columns)
    for row in range(5):
        alone = run_onnx(model, {name: values[row : row + 1] for name, values in columns.items()})
        for name, values in alone.items():
            assert values.shape == (1,)
            assert values[0] == pytest.approx(whole[name][row], rel=1e-6, nan_ok=True), name


def test_no_rows(model: bytes) -> None:
    none = {name: values[:0] for name, values in questions().items()}
    assert all(values.shape == (0,) for values in run_onnx(model, none).values())
    assert verify(TABLES, model, none) == 0.0


def test_the_same_tables_make_the_same_model(model: bytes) -> None:
    assert to_onnx(TABLES) == model


@pytest.mark.parametrize("part", ["directory", "facts", *LATTICES])
def test_a_model_of_other_tables_is_caught(model: bytes, part: str) -> None:
    """A single entry of each table, off by little."""
    part, *entry = part.split()
    value = getattr(TABLES, part)
    if part == "directory":
        bits = value.bits.copy()
        bits[bits == 0] |= 1 << 2
        other: Any = dataclasses.replace(value, bits=bits)
    elif part == "facts":
        other = value.copy()
        other[3, 0] *= 1.1
    else:
        table = value.table.astype(np.float64)
        table[(3, 2, 2, slice(None), *map(int, entry))] += 0.02 if part.startswith("log") else 3
        other = dataclasses.replace(value, table=table.astype(value.table.dtype))
    changed = dataclasses.replace(TABLES, **{part: other})
    with pytest.raises(ExportMismatch):
        verify(changed, model, grid(AXES.m, AXES.n, AXES.k))


def test_a_model_that_withholds_other_rows_is_caught(model: bytes) -> None:
    facts = TABLES.facts.copy()
    facts[:, 6] = 1e5  # bytes of memory
    small = dataclasses.replace(TABLES, facts=facts)
    with pytest.raises(ExportMismatch, match=r"withholds|status"):
        verify(small, model, questions())


def test_infinite_answers_are_caught() -> None:
    table = np.full_like(TABLES.log_ratio.table, 1e4)
    wild = dataclasses.replace(TABLES, log_ratio=dataclasses.replace(TABLES.log_ratio, table=table))
    with pytest.raises(ExportMismatch, match=r"latency_ms.*infinite"):
        verify(wild, to_onnx(wild), questions())


def test_names_to_codes() -> None:
    columns = questions(gpu=["h200_sxm", "?"], framework="", framework_version="0.9.0")
    codes = names_to_codes(TABLES, columns)
    assert all(code.dtype == np.int64 for code in codes)
    names, row = TABLES.directory.names, TABLES.directory.row
    gpu, framework, version, dtype = np.unravel_index(sum(codes), row.shape)
    assert gpu.tolist() == [names["gpu"].index("h200_sxm"), len(names["gpu"])]
    assert framework.tolist() == [names["framework"].index("")] * 2
    assert version.tolist() == [names["framework_version"].index("0.9.0")] * 2
    assert dtype.tolist() == [0, 0]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ndonnx", None)
    with pytest.raises(MissingExtra, match=r"perfcast\[train\]"):
        to_onnx(TABLES)
