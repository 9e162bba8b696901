"""Writing the GEMM model as ONNX, and the gate that no export passes unless it agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.errors import ExportMismatch, MissingExtra
from perfcast.predictors.gemm import GemmTables, answer

__all__ = ["TOLERANCE", "names_to_codes", "run_onnx", "to_onnx", "verify"]

TOLERANCE = 1e-4
"""Largest relative difference allowed between numpy and onnxruntime."""

_SIZES = ("m", "n", "k")


def to_onnx(tables: GemmTables) -> bytes:
    """Trace `gemm.answer` into a model with the raw inputs of the GEMM task, shape [N].

    Uses standard operators only (domains "" and "ai.onnx.ml"). Raises `MissingExtra`.
    """
    try:
        import ndonnx as ndx
        from ndonnx.extensions import static_map
    except ImportError as error:
        raise MissingExtra("ndonnx", "train") from error
    names = tables.directory.names
    arguments = {name: ndx.argument(shape=("N",), dtype=ndx.utf8) for name in names}
    arguments |= {name: ndx.argument(shape=("N",), dtype=ndx.int64) for name in _SIZES}
    codes = []
    for name in names:
        known, other = tables.directory.codes(name)
        codes.append(static_map(arguments[name], known, default=other))
    outputs = answer(ndx, tables, codes, *(arguments[name] for name in _SIZES))
    model = ndx.build(arguments, outputs)
    model.producer_name = "perfcast"
    return bytes(model.SerializeToString())


def names_to_codes(
    tables: GemmTables, columns: Mapping[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The four name columns as `Directory.codes`, as the exported model maps them."""
    coded = []
    for name in tables.directory.names:
        known, other = tables.directory.codes(name)
        coded.append(np.array([known.get(word, other) for word in columns[name]], np.int64))
    return coded[0], coded[1], coded[2], coded[3]


def run_onnx(model: bytes, columns: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Answer `columns` with onnxruntime, one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(columns)), strict=True))


def verify(tables: GemmTables, model: bytes, columns: Mapping[str, Any]) -> float:
    """The largest relative difference between numpy and onnxruntime on `columns` [N].

    Raises `ExportMismatch` if it exceeds `TOLERANCE`, if a status or a withheld answer differs,
    or if an answer is infinite.
    """
    sizes = (np.asarray(columns[name]) for name in _SIZES)
    with np.errstate(all="ignore"):
        expected = answer(np, tables, names_to_codes(tables, columns), *sizes)
    got = run_onnx(model, columns)
    largest = 0.0
    for name, wanted in expected.items():
        if wanted.dtype.kind == "i":
            if not np.array_equal(wanted, got[name]):
                raise ExportMismatch(f"{name}: onnxruntime disagrees on a status")
            continue
        if not np.array_equal(np.isnan(wanted), np.isnan(got[name])):
            raise ExportMismatch(f"{name}: onnxruntime withholds other rows")
        if np.isinf(wanted).any() or np.isinf(got[name]).any():
            raise ExportMismatch(f"{name}: an answer is infinite")
        seen = ~np.isnan(wanted)
        if seen.any():
            difference = np.abs(got[name][seen] / wanted[seen].astype(np.float64) - 1.0)
            largest = max(largest, float(difference.max()))
    if largest > TOLERANCE:
        raise ExportMismatch(f"onnxruntime differs by {largest:.2e}, allowed {TOLERANCE:.0e}")
    return largest
