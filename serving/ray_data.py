"""Parts of a data set answered by a Ray Data job: many processes, or many machines.

What travels through Ray is the names of files and the counts of rows, never the rows: each worker
reads its part and writes its answers, a chunk at a time, with `predict_file`. So memory does not
grow with the data set, and a part whose worker was lost is simply answered again, its file being
replaced in one step. The files must be on a file system that all nodes see under the same path,
and so must the model.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from perfcast.errors import BundleError, DataError, MissingExtra, PerfcastError
from perfcast.serving.files import FileReport, predict_file
from perfcast.serving.folders import Part
from perfcast.serving.predictor import Predictor, open_predictor

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["run_on_ray"]

_OBJECT_STORE_BYTES: Final = 100 * 2**20
"""Of a Ray that is started here; it holds file names, and less than 75 MiB is not allowed."""

_Columns = dict[str, NDArray[Any]]


def run_on_ray(
    predictor: Predictor, parts: Sequence[Part], _on_rows: Callable[[int], None], /
) -> Generator[FileReport, None, None]:
    """Answer `parts` on the Ray cluster at `RAY_ADDRESS`, else on the cores of this machine.

    Gives each part's report once its file is whole, in the order in which they become so. Every
    worker takes one CPU and opens the bundle of `predictor` once. Raises what `predict_file`
    raises, `BundleError` if a worker finds another model, `MissingExtra` without Ray, and
    `PerfcastError` if Ray itself fails.
    """
    try:
        import ray.data  # noqa: F401  # which asks for pyarrow
        from ray.exceptions import RayError
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "ray") from error
    try:
        with _cluster():
            for row in _answers(predictor, parts).iter_rows():
                yield _report(row["outcome"])
    except RayError as error:
        raise PerfcastError(f"the Ray job failed: {str(error).strip().splitlines()[-1]}") from error


def _answers(predictor: Predictor, parts: Sequence[Part]) -> Dataset:
    """A row for each part, which it takes the work of answering that part to compute."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    questions = ray.data.from_items(
        [
            {
                "source": str(part.source.resolve()),
                "target": str(part.target),
                "first": part.row_groups.start if part.row_groups else -1,
                "behind": part.row_groups.stop if part.row_groups else -1,
            }
            for part in parts
        ],
        override_num_blocks=len(parts),  # a part is what a worker is given, and given again
    )
    workers = min(len(parts), int(ray.cluster_resources().get("CPU", 1)))
    answers: Dataset = questions.map_batches(
        Answerer,
        fn_constructor_kwargs={
            "folder": str(predictor.bundle.path.resolve()),
            "task": predictor.task.name,
            "model_sha256": str(predictor.bundle.card["model_sha256"]),
        },
        batch_size=1,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=max(workers, 1), max_tasks_in_flight_per_actor=1),
    )
    return answers


class Answerer:
    """One worker: a model, and what becomes of the parts that it is given."""

    def __init__(self, *, folder: str, task: str, model_sha256: str) -> None:
        """What opens the bundle in `folder`, which must hold the model of that hash."""
        self._folder = Path(folder)
        self._task = task
        self._sha256 = model_sha256
        self._predictor: Predictor | None = None

    def __call__(self, parts: _Columns) -> _Columns:
        """`parts`, each column [N], as a column of outcomes, [N], in JSON.

        What is wrong with a part is part of its outcome: Ray would try again, in vain, and wrap it.
        """
        rows = zip(*(parts[name] for name in ("source", "target", "first", "behind")), strict=True)
        return {"outcome": np.array([self._outcome(*row) for row in rows], dtype=object)}

    def _outcome(self, source: str, target: str, first: int, behind: int) -> str:
        row_groups = range(int(first), int(behind)) if first >= 0 else None
        try:
            report = predict_file(self._opened(), Path(source), Path(target), row_groups=row_groups)
        except PerfcastError as error:
            return orjson.dumps({"error": type(error).__name__, "message": str(error)}).decode()
        return orjson.dumps(asdict(report)).decode()

    def _opened(self) -> Predictor:
        if self._predictor is None:
            opened = open_predictor(self._folder, self._task)
            if opened.bundle.card["model_sha256"] != self._sha256:
                raise BundleError(f"{opened.bundle.name}: not the model that the job began with")
            self._predictor = opened
        return self._predictor


def _report(outcome: str) -> FileReport:
    found = orjson.loads(outcome)
    if "error" in found:
        kinds = {kind.__name__: kind for kind in (BundleError, DataError)}
        raise kinds.get(found["error"], PerfcastError)(found["message"])
    return FileReport(**found)


@contextmanager
def _cluster() -> Iterator[None]:
    """A connection to Ray: the one that is there, `RAY_ADDRESS`, or a Ray of this process's own."""
    import ray

    if ray.is_initialized():
        yield
        return
    try:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing goes out unasked
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors come as RayError
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except Exception as error:  # of no class of its own, if the machine is too busy to start it
        raise PerfcastError(f"no Ray to work with: {str(error).strip()}") from error
    try:
        yield
    finally:
        ray.shutdown()
