"""Whole files of questions answered, a chunk at a time: same rows, same order, answers beside.

Everything passes through Arrow record batches, so Parquet columns keep their types. CSV cells stay
the text they were.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from arro3.core import Array, DataType, Field, RecordBatch, Schema
from numpy.typing import NDArray

from perfcast.errors import DataError, nearest
from perfcast.prediction import STATUSES, Prediction, significant
from perfcast.serving.predictor import Predictor
from perfcast.serving.row_groups import RowGroups
from perfcast.serving.sinks import check_suffix, write_batches
from perfcast.serving.sources import Source, open_source
from perfcast.task import Task

__all__ = ["FileReport", "predict_file"]

CHUNK_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """What became of a file. `withheld` rows lack at least one value; `invalid` ones lack all.

    `renamed` maps input columns that bear an output's name to what they are called in the output.
    `ignored` holds columns that look like a misspelt optional input, and what they look like.
    """

    rows: int
    withheld: int
    invalid: int
    model: str
    renamed: dict[str, str]
    ignored: dict[str, str]

    @property
    def answered(self) -> bool:
        """Whether every row got every value."""
        return self.withheld == 0 and self.invalid == 0


def predict_file(
    predictor: Predictor,
    source: Path,
    target: Path,
    *,
    row_groups: RowGroups | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> FileReport:
    """Answer the questions in `source` into `target`, each Parquet or CSV by its suffix.

    With `row_groups` only those of a Parquet file, in a process that has the extra `[ray]`.

    `target` has every column of `source`, then the columns of `Prediction.columns`; it replaces
    what was there only once it is whole. `on_rows` is told the number of rows after each chunk.

    Raises `DataError` if `source` cannot be read or lacks a required column, or `target` cannot
    be written.
    """
    check_suffix(source)
    check_suffix(target)
    if not target.parent.is_dir():
        raise DataError(f"{target}: there is no such folder to write to")
    opened = open_source(source, CHUNK_ROWS, row_groups)
    names = opened.schema.names
    _check_columns(predictor.task, names, source)
    empty = _answer_arrays(predictor.predict_columns(_empty(predictor.task)), csv=False)
    renamed = _renamed(names, empty)
    is_csv = target.suffix == ".csv"
    numbers = _number_columns(predictor.task, opened, is_csv)
    schema = _target_schema(opened.schema, renamed, empty, numbers)
    counts = {"rows": 0, "withheld": 0, "invalid": 0}

    def answers() -> Iterator[RecordBatch]:
        for batch in opened.batches():
            columns = _questions(predictor.task, batch, opened)
            prediction = predictor.predict_columns(columns, on_invalid="keep")
            invalid = prediction.status == STATUSES.index("invalid")
            counts["rows"] += len(prediction)
            counts["invalid"] += int(invalid.sum())
            counts["withheld"] += int((~prediction.answered & ~invalid).sum())
            kept: list[Any] = list(batch.columns)
            for at, name in numbers.items():
                kept[at] = _whole_numbers(columns[name])
            arrays = [*kept, *_answer_arrays(prediction, csv=is_csv).values()]
            yield RecordBatch.from_arrays(arrays, schema=schema)
            if on_rows is not None:
                on_rows(counts["rows"])

    _replace(target, lambda staging: write_batches(staging, target, schema, answers()))
    return FileReport(
        **counts,
        model=predictor.bundle.name,
        renamed=renamed,
        ignored=_misspelt(predictor.task, names),
    )


def _check_columns(task: Task, names: list[str], source: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{source}: column {twice[0]!r} occurs twice")
    absent = [c.name for c in task.inputs if c.required and c.name not in names]
    if absent:
        raise DataError(f"{source}: lacks the column {absent[0]!r}; {nearest(absent[0], names)}")


def _misspelt(task: Task, names: list[str]) -> dict[str, str]:
    """Columns of no use here whose name is nearly that of an absent optional input."""
    optional = [c.name for c in task.inputs if not c.required and c.name not in names]
    close = {name: nearest(name, optional) for name in names if name not in task.input_names}
    return {name: hint for name, hint in close.items() if hint.startswith("did you mean")}


def _renamed(names: list[str], answers: dict[str, Any]) -> dict[str, str]:
    """New names for input columns called like an output, so that neither is lost."""
    taken = {*names, *answers}
    renamed: dict[str, str] = {}
    for name in names:
        if name in answers:
            candidates = (f"{name}_input{number or ''}" for number in itertools.count())
            renamed[name] = next(new for new in candidates if new not in taken)
            taken.add(renamed[name])
    return renamed


def _number_columns(task: Task, source: Source, is_csv: bool) -> dict[int, str]:
    """Where CSV text becomes numbers: the task's integer columns, on the way to Parquet."""
    if is_csv or not source.is_text:
        return {}
    return {
        source.schema.names.index(column.name): column.name
        for column in task.inputs
        if column.kind == "integer"
    }


def _target_schema(
    source: Schema, renamed: dict[str, str], answers: dict[str, Array], numbers: dict[int, str]
) -> Schema:
    fields: list[Any] = []
    for at, name in enumerate(source.names):
        field = source.field(at).with_name(renamed.get(name, name))
        fields.append(Field(name, DataType.int64(), nullable=True) if at in numbers else field)
    fields += [Field(name, array.type, nullable=True) for name, array in answers.items()]
    return Schema(fields, metadata=source.metadata)


def _questions(task: Task, batch: RecordBatch, source: Source) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for column in task.inputs:
        if column.name in source.schema.names:
            integer = column.kind == "integer"
            columns[column.name] = source.values(batch.column(column.name), integer=integer)
    return columns


def _empty(task: Task) -> dict[str, Any]:
    return {column.name: [] for column in task.inputs}


def _answer_arrays(prediction: Prediction, *, csv: bool) -> dict[str, Array]:
    """Output columns as Arrow arrays; in CSV with the digits that the model's float32 holds."""
    arrays: dict[str, Array] = {}
    for name, values in prediction.columns().items():
        if values.dtype == object:
            arrays[name] = Array(values.tolist(), type=DataType.string())
        else:
            arrays[name] = _nullable(significant(values) if csv else values)
    return arrays


def _nullable(values: NDArray[np.float64]) -> Array:
    absent = np.flatnonzero(~np.isfinite(values))
    if not len(absent):
        return Array.from_numpy(values)
    listed: list[float | None] = values.tolist()
    for row in absent.tolist():
        listed[row] = None
    return Array(listed, type=DataType.float64())


def _whole_numbers(values: list[Any]) -> Array:
    usable = [v if isinstance(v, int) and abs(v) < 2**63 else None for v in values]
    return Array(usable, type=DataType.int64())


def _replace(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `target`, then put it in its place."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        os.close(handle)
        staging = Path(name)
        try:
            write(staging)
            mask = os.umask(0)
            os.umask(mask)
            staging.chmod(0o666 & ~mask)
            staging.replace(target)
        except BaseException:
            staging.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
