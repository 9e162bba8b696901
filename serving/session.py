"""A Session runs one bundle's model in onnxruntime, after checking that it is what it claims."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from perfcast.bundle import Bundle
from perfcast.errors import BundleError
from perfcast.serving.guard import check_model
from perfcast.task import Task

__all__ = ["Session"]

_STRING, _INT64, _FLOAT = "tensor(string)", "tensor(int64)", "tensor(float)"


class Session:
    """One model, ready to run. Thread-safe; each run uses one thread.

    One thread is a rule, not a default: onnxruntime's ScatterND(add) silently loses updates to
    duplicate indices when a session has more. Parallelism comes from processes or callers.
    """

    def __init__(self, bundle: Bundle, task: Task) -> None:
        """Open `bundle`'s model. Raises `BundleError` if it cannot serve `task`."""
        self.name = bundle.name
        try:
            data = bundle.model_path.read_bytes()
        except OSError as error:
            raise BundleError(f"{bundle.name}: the model cannot be read") from error
        if hashlib.sha256(data).hexdigest() != bundle.card["model_sha256"]:
            raise BundleError(f"{bundle.name}: the model does not match the hash in its card")
        check_model(data, bundle.name)
        try:
            self.runtime = onnxruntime.InferenceSession(
                data, sess_options=_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no common base for what it raises
            raise BundleError(f"{bundle.name}: onnxruntime cannot open the model") from error
        self.output_names = _check_signature(self.runtime, bundle.name, task)

    def run(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs by name, each [N], for checked input `columns`, each [N] with N >= 1."""
        try:
            values = self.runtime.run(self.output_names, columns)
        except Exception as error:
            raise BundleError(f"{self.name}: the model failed on these inputs") from error
        return dict(zip(self.output_names, values, strict=True))


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is raised; the log would only repeat it
    return options


def _check_signature(
    session: onnxruntime.InferenceSession, name: str, task: Task
) -> tuple[str, ...]:
    """Compare the graph with `task`; return the outputs to ask for. Raises `BundleError`."""
    inputs = {
        column.name: _INT64 if column.kind == "integer" else _STRING for column in task.inputs
    }
    outputs = {"reasons": _INT64}
    for output in task.outputs:
        outputs[output.name] = _FLOAT
        if output.interval:
            outputs[f"{output.name}_low"] = outputs[f"{output.name}_high"] = _FLOAT
            outputs[f"{output.name}_status"] = _INT64
    found_inputs = {node.name: node for node in session.get_inputs()}
    found_outputs = {node.name: node for node in session.get_outputs()}
    surplus = sorted(found_inputs.keys() - inputs.keys())
    if surplus:
        raise BundleError(f"{name}: the model asks for {', '.join(surplus)}")
    for wanted, found, kind in (
        (inputs, found_inputs, "input"),
        (outputs, found_outputs, "output"),
    ):
        for column, type_ in wanted.items():
            if column not in found:
                raise BundleError(f"{name}: the model has no {kind} {column}")
            node = found[column]
            if node.type != type_ or len(node.shape) != 1 or isinstance(node.shape[0], int):
                raise BundleError(
                    f"{name}: {kind} {column} is {node.type} {node.shape}, expected {type_} [N]"
                )
    return tuple(outputs)
