"""Models are read, not trusted: foreign operators and outside data are found wherever they hide."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from perfcast.errors import BundleError
from perfcast.serving import guard
from perfcast.serving.guard import check_model
from tests.standin import standin_model


def model_of(
    nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto] | None = None
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    graph = helper.make_graph(nodes, "g", [value], [result], initializers or [])
    return helper.make_model(graph)


def node(domain: str = "", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Identity", ["x"], ["y"], domain=domain, **attributes)


def outside_tensor() -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def check(model: onnx.ModelProto) -> None:
    check_model(model.SerializeToString(), "m@1")


def test_the_field_numbers_are_those_of_onnx() -> None:
    for message, fields in guard.NESTED.items():
        known = {
            field.number: field.message_type.name
            for field in getattr(onnx, message).DESCRIPTOR.fields
            if field.message_type is not None
        }
        harmless = {
            "OperatorSetIdProto", "StringStringEntryProto", "ValueInfoProto", "TypeProto",
            "TensorAnnotation", "Segment", "DeviceConfigurationProto",
            "NodeDeviceConfigurationProto",
        }  # fmt: skip
        assert fields == {n: name for n, name in known.items() if name not in harmless}, message
    assert onnx.NodeProto.DOMAIN_FIELD_NUMBER == guard.NODE_DOMAIN
    assert onnx.TensorProto.EXTERNAL_DATA_FIELD_NUMBER == guard.TENSOR_EXTERNAL_DATA
    assert onnx.TensorProto.DATA_LOCATION_FIELD_NUMBER == guard.TENSOR_DATA_LOCATION


def test_plain_models_pass() -> None:
    check_model(standin_model(), "m@1")
    check(model_of([node(), node("ai.onnx"), node("ai.onnx.ml")]))


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.preview", "AI.ONNX", "x" * 300])
def test_foreign_operators_are_refused(domain: str) -> None:
    with pytest.raises(BundleError, match="m@1: the model uses operators of the domain") as caught:
        check(model_of([node(), node(domain)]))
    assert len(str(caught.value)) < 150


def test_foreign_operators_inside_a_branch_are_refused() -> None:
    inner = model_of([node("com.microsoft")]).graph
    outer = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=model_of([]).graph)
    with pytest.raises(BundleError, match=r"com\.microsoft"):
        check(model_of([outer]))


def test_foreign_operators_inside_a_function_are_refused() -> None:
    model = model_of([node()])
    model.functions.append(
        helper.make_function("", "f", ["x"], ["y"], [node("evil")], [helper.make_opsetid("", 21)])
    )
    with pytest.raises(BundleError, match="evil"):
        check(model)


@pytest.mark.parametrize("place", ["initializer", "attribute", "sparse"])
def test_outside_data_is_refused(place: str) -> None:
    if place == "initializer":
        model = model_of([node()], [outside_tensor()])
    elif place == "attribute":
        model = model_of([helper.make_node("Constant", [], ["y"], value=outside_tensor())])
    else:
        model = model_of([node()])
        sparse = model.graph.sparse_initializer.add()
        sparse.values.CopyFrom(outside_tensor())
    with pytest.raises(BundleError, match="keeps data outside its file"):
        check(model)


def test_what_hides_behind_long_attributes_is_found() -> None:
    hidden = node(floats=[0.5] * 3000, ints=[-1, 300, 5] * 999, strings=["LEAF"] * 99 + ["s" * 90])
    hidden.attribute.add(name="g", type=onnx.AttributeProto.GRAPH).g.CopyFrom(
        model_of([node("evil")]).graph
    )
    with pytest.raises(BundleError, match="evil"):
        check(model_of([hidden]))


def test_deep_nesting_is_refused() -> None:
    graph = model_of([node()]).graph
    for _ in range(20):
        graph = model_of([node(body=graph)]).graph
    with pytest.raises(BundleError, match="nested too deeply"):
        check(model_of([node(body=graph)]))


def refused(data: bytes) -> str | None:
    """Why `data` is refused; None if it is not. Anything but a BundleError comes through."""
    try:
        check_model(data, "m@1")
    except BundleError as error:
        return str(error)
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words_or_empty_of_danger(data: bytes) -> None:
    assert (refused(data) or "m@1: the model ").startswith("m@1: the model ")


@given(st.integers(1, 400))
def test_a_cut_model_is_refused_or_empty_of_danger(cut: int) -> None:
    data = model_of([node("com.microsoft")], [outside_tensor()]).SerializeToString()
    assert refused(data) is not None
    assert (refused(data[:-cut]) or "m@1: the model ").startswith("m@1: the model ")


def test_a_large_tree_ensemble_is_stepped_over_in_bulk() -> None:
    count = 200_000
    tree = node(
        "ai.onnx.ml",
        nodes_values=np.linspace(0, 1, count).tolist(),
        nodes_treeids=list(range(count)),
        nodes_modes=["BRANCH_LEQ"] * count,
    )
    model = model_of([tree])
    fields = 0
    original = guard._fields  # count what is looked at one by one

    def counted(*args: Any) -> Any:
        nonlocal fields
        for field in original(*args):
            fields += 1
            yield field

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "_fields", counted)
        check(model)
    assert fields < 100
