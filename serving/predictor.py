"""A Predictor answers questions of one task: validate, run the model, dress the answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar, get_args, overload

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from perfcast.bundle import Bundle
from perfcast.errors import BundleError, InvalidInput, Problem
from perfcast.features.tasks import TASKS
from perfcast.prediction import STATUSES, Prediction, Reasons
from perfcast.serving.engine import Engine
from perfcast.serving.estimates import Estimates, worst
from perfcast.serving.scalars import ScalarFeeds
from perfcast.serving.self_test import self_test
from perfcast.serving.session import Session
from perfcast.serving.store import find
from perfcast.serving.tally import tally_of
from perfcast.settings import Settings
from perfcast.task import Task

if TYPE_CHECKING:
    from perfcast.serving.recommendation import Objective, Recommendation
    from perfcast.serving.shapes import Shapes

__all__ = ["GemmPredictor", "OnInvalid", "Predictor", "load", "open_predictor"]

OnInvalid = Literal["raise", "keep"]
Column = str | int | ArrayLike
"""One value for every row, or a sequence or one-dimensional array with a value for each."""

CHUNK: Final = 16_384
"""Rows per run of the model: long questions are cut, so that memory stays flat."""

_INVALID: Final = STATUSES.index("invalid")
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Predictor:
    """Answers questions of one task with one bundle. Thread-safe.

    Each task that has questions of its own kind has a subclass with a typed `predict`; every
    other door (files, REST, recommendations) asks through `predict_columns`.
    """

    def __init__(self, bundle: Bundle, task: Task) -> None:
        """Open `bundle`. Raises `BundleError` if it cannot serve `task` or fails its self-test."""
        if bundle.task != task.name:
            raise BundleError(f"{bundle.name}: a model of {bundle.task}, not of {task.name}")
        self.bundle = bundle
        self.task = task
        self.session = Session(bundle, task)
        self._sentences = tuple(map(str, bundle.card["reasons"]))
        self._coverage = float(bundle.card["coverage"])
        self._model = bundle.name
        self._scalar_feeds = ScalarFeeds(task)
        self._outputs = {output.name: output for output in task.outputs}
        self._statuses = tuple(
            f"{output.name}_status" for output in task.outputs if output.interval
        )
        self.engine = Engine(self.session, tally_of(task.name, bundle.name, self._statuses))
        self_test(bundle, task, self.session)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.bundle.name!r})"

    def predict_columns(
        self, columns: Mapping[str, Any], *, on_invalid: OnInvalid = "raise"
    ) -> Prediction:
        """Answers to `columns`: input name -> one value for all rows, or N values.

        Raises `InvalidInput` (or its `UnknownValue`) with every problem found. With
        `on_invalid="keep"` rows with unusable values keep their place instead, with status
        `invalid`, withheld values and the problems as reasons; wrong column names and unequal
        lengths still raise.
        """
        feeds = self._scalar_feeds(columns)
        if feeds is not None:
            return self.dress(self.session.run(feeds))
        if on_invalid not in get_args(OnInvalid):
            reason = f"must be 'raise' or 'keep', not {on_invalid!r}"
            raise InvalidInput([Problem("on_invalid", reason)])
        if on_invalid == "raise":
            return self.dress(self._run(self.task.require_valid(columns)))
        checked, problems = self.task.validate(columns, limit=None)
        if not problems:
            return self.dress(self._run(checked))
        return self._keep(checked, problems)

    def _keep(self, checked: dict[str, NDArray[Any]], problems: list[Problem]) -> Prediction:
        """Answers to the rows without `problems`, and the others in their places."""
        size = len(next(iter(checked.values())))
        kept: dict[int, list[str]] = {}
        for problem in problems:
            for row in range(size) if problem.row is None else (problem.row,):
                kept.setdefault(row, []).append(f"{problem.field}: {problem.reason}")
        valid = np.ones(size, dtype=np.bool_)
        valid[list(kept)] = False
        answers = self._run({name: array[valid] for name, array in checked.items()})
        outputs: dict[str, NDArray[Any]] = {}
        for name, array in answers.items():
            absent = np.nan if array.dtype.kind == "f" else 0 if name == "reasons" else _INVALID
            outputs[name] = np.full(size, absent, dtype=array.dtype)
            outputs[name][valid] = array
        return self.dress(outputs, {row: tuple(sentences) for row, sentences in kept.items()})

    def _run(self, checked: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The model's outputs for checked columns [N], N >= 0, a chunk at a time."""
        size = len(next(iter(checked.values())))
        if 0 < size <= CHUNK:
            return self.session.run(checked)
        outputs: dict[str, NDArray[Any]] = {
            name: np.empty(size, dtype=_output_dtype(name)) for name in self.session.output_names
        }
        for start in range(0, size, CHUNK):
            part = slice(start, start + CHUNK)
            answers = self.session.run({name: array[part] for name, array in checked.items()})
            for name, array in answers.items():
                outputs[name][part] = array
        return outputs

    async def answer_columns(self, columns: Mapping[str, Any]) -> Prediction:
        """`predict_columns` for a server: runs together with whatever else has just arrived."""
        feeds = self._scalar_feeds(columns)
        return self.dress(await self.engine.run(feeds or self.task.require_valid(columns)))

    def dress(
        self, outputs: Mapping[str, NDArray[Any]], kept: Mapping[int, tuple[str, ...]] | None = None
    ) -> Prediction:
        """The model's `outputs`, each [N], as a prediction; `kept` has reasons of invalid rows."""
        return Prediction(
            self.task.name,
            self._model,
            self._coverage,
            Estimates(self._outputs, outputs),
            worst([outputs[name] for name in self._statuses]),
            Reasons(outputs["reasons"], self._sentences, kept),
        )


def _output_dtype(name: str) -> type[np.int64] | type[np.float32]:
    return np.int64 if name == "reasons" or name.endswith("_status") else np.float32


def _naming_the_nearest(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turn a misspelt or missing keyword into `InvalidInput`, which names the nearest one."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    accepted = frozenset(parameter.name for parameter in parameters)
    required = frozenset(p.name for p in parameters if p.default is inspect.Parameter.empty)

    @functools.wraps(method)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if len(args) == 1 and not (required <= kwargs.keys() <= accepted):
            task: Task = args[0].task  # type: ignore[attr-defined]  # the method's self
            task.check_names([name for name in kwargs if name != "on_invalid"])
        return method(*args, **kwargs)

    return checked


class GemmPredictor(Predictor):
    """Run time, power and energy of dense matrix multiplications C[m,n] = A[m,k] B[k,n]."""

    @_naming_the_nearest
    def predict(
        self,
        *,
        gpu: Column,
        framework: Column | None = None,
        framework_version: Column | None = None,
        dtype: Column,
        m: Column,
        n: Column,
        k: Column,
        on_invalid: OnInvalid = "raise",
    ) -> Prediction:
        """Answers to one question or N: single values broadcast against arrays [N].

        `framework` and `framework_version` may be left out (`task.input(...).default_note` says
        what then). Raises `InvalidInput` as `predict_columns` does.
        """
        columns = {
            "gpu": gpu,
            "framework": framework,
            "framework_version": framework_version,
            "dtype": dtype,
            "m": m,
            "n": n,
            "k": k,
        }
        return self.predict_columns(columns, on_invalid=on_invalid)

    def recommend(
        self,
        shapes: Shapes,
        *,
        gpus: Sequence[str] | None = None,
        frameworks: Sequence[str] | None = None,
        dtypes: Sequence[str] | None = None,
        max_latency_ms: float | None = None,
        max_power_w: float | None = None,
        max_energy_mj: float | None = None,
        objective: Objective = "latency_ms",
        limit: int | None = 10,
    ) -> Recommendation:
        """Rank deployments for `shapes`; see `perfcast.serving.recommend.recommend`."""
        from perfcast.serving.recommend import recommend

        return recommend(
            self,
            shapes,
            gpus=gpus,
            frameworks=frameworks,
            dtypes=dtypes,
            max_latency_ms=max_latency_ms,
            max_power_w=max_power_w,
            max_energy_mj=max_energy_mj,
            objective=objective,
            limit=limit,
        )


_PREDICTORS: dict[str, type[Predictor]] = {"gemm": GemmPredictor}


@overload
def load(
    task: Literal["gemm"], models_dir: Path | str | None = None, *, version: str | None = None
) -> GemmPredictor: ...
@overload
def load(
    task: str, models_dir: Path | str | None = None, *, version: str | None = None
) -> Predictor: ...
def load(
    task: str, models_dir: Path | str | None = None, *, version: str | None = None
) -> Predictor:
    """The predictor of `task` from the bundles in `models_dir` (default: the shipped models).

    `version` picks one of several; the newest is the default. Raises `UnknownTask` if no bundle
    there answers that task, `UnknownVersion` if none is of that version, `BundleError` if the
    chosen one is damaged.
    """
    folder = Settings().models_dir if models_dir is None else Path(models_dir)
    return open_predictor(find(folder, task, version), task)


def open_predictor(folder: Path, task: str) -> Predictor:
    """The predictor of the bundle in `folder`, once everything about it was checked.

    That is: card, hash, operators, signature, self-test. Raises `BundleError`.
    """
    bundle = Bundle.open(folder)
    try:
        orjson.dumps(bundle.card)
    except TypeError as error:  # lone surrogates, whole numbers beyond 64 bits
        raise BundleError(f"{bundle.name}: its card cannot be sent as JSON: {error}") from error
    return _PREDICTORS.get(task, Predictor)(bundle, TASKS[task])
