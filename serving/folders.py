"""Folders of questions answered: file by file here, or part by part wherever a runner likes.

Every part is answered by `predict_file`, so a row gets the same answer and columns whichever way
it was asked. The answers' names sort as the questions' names do, and so do the rows.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from perfcast.errors import DataError
from perfcast.serving.files import FileReport, predict_file
from perfcast.serving.predictor import Predictor
from perfcast.serving.row_groups import RowGroups
from perfcast.serving.sinks import SUFFIXES

__all__ = ["Part", "Runner", "plan_parts", "predict_folder", "run_here"]

PART_ROWS: Final = 1_000_000
"""A file is cut, where it can be, into parts of at least so many rows: seconds of work each."""

Split = Callable[[Path, int], Sequence[RowGroups]]
"""Cuts a Parquet file into runs of row groups of at least so many rows."""


@dataclass(frozen=True, slots=True)
class Part:
    """Questions that are answered into one file: `source`, or some of its row groups."""

    source: Path
    target: Path
    row_groups: RowGroups | None = None


class Runner(Protocol):
    """Answers parts in any order and gives each one's report once its file is whole."""

    def __call__(
        self, predictor: Predictor, parts: Sequence[Part], on_rows: Callable[[int], None], /
    ) -> Generator[FileReport, None, None]: ...


def predict_folder(
    predictor: Predictor,
    source: Path,
    target: Path,
    *,
    run: Runner | None = None,
    split: Split | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> FileReport:
    """Answer every Parquet and CSV file in the folder `source` (or that one file) into `target`.

    Files keep their names and subfolders; one that `split` cuts becomes `name.00000.parquet` and
    so on. Names that begin with a dot or an underscore are passed over. `target`, which must not
    hold anything yet, appears once all answers are in it. `on_rows` is told how many rows are
    done. `run` answers the parts (default: one after the other, here).

    Raises `DataError` if a file cannot be read or lacks a required column, or `target` cannot be
    written.
    """
    parts = plan_parts(source, split)
    reports: list[FileReport] = []

    def told(rows: int) -> None:
        if on_rows is not None:
            on_rows(sum(report.rows for report in reports) + rows)

    with _whole(target, apart_from=source) as staging:
        placed = [Part(part.source, staging / part.target, part.row_groups) for part in parts]
        for part in placed:
            part.target.parent.mkdir(parents=True, exist_ok=True)
        with closing((run or run_here)(predictor, placed, told)) as answered:
            for report in answered:  # workers must have stopped before their folder is deleted
                reports.append(report)
                told(0)
    return FileReport(
        rows=sum(report.rows for report in reports),
        withheld=sum(report.withheld for report in reports),
        invalid=sum(report.invalid for report in reports),
        model=predictor.bundle.name,
        renamed={old: new for report in reports for old, new in report.renamed.items()},
        ignored={name: hint for report in reports for name, hint in report.ignored.items()},
    )


def run_here(
    predictor: Predictor, parts: Sequence[Part], on_rows: Callable[[int], None], /
) -> Generator[FileReport, None, None]:
    """One part after the other in this process."""
    for part in parts:
        yield predict_file(
            predictor, part.source, part.target, row_groups=part.row_groups, on_rows=on_rows
        )


def plan_parts(source: Path, split: Split | None = None) -> list[Part]:
    """What `source` is answered as, in order; targets are relative. Raises `DataError`."""
    parts: list[Part] = []
    for path in _files(source):
        name = Path(path.name) if path == source else path.relative_to(source)
        cut = split(path, PART_ROWS) if split and path.suffix == ".parquet" else ()
        if len(cut) < 2:
            parts.append(Part(path, name))
            continue
        parts += [
            Part(path, name.with_suffix(f".{at:05}{path.suffix}"), row_groups)
            for at, row_groups in enumerate(cut)
        ]
    names = [part.target.as_posix() for part in parts]
    for before, after in itertools.pairwise(names):
        if before >= after:
            raise DataError(f"{source}: {before} and {after} would mix up the order of the rows")
    return parts


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder")
    found = []
    for path in source.rglob("*"):
        names = path.relative_to(source).parts
        if path.suffix in SUFFIXES and not any(name[0] in "._" for name in names):
            found += [path] if path.is_file() else []
    if not found:
        raise DataError(f"{source}: holds no file that ends in {' or '.join(SUFFIXES)}")
    return sorted(found, key=lambda path: path.relative_to(source).as_posix())


@contextmanager
def _whole(target: Path, *, apart_from: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` if the block succeeds, and is deleted if not."""
    if target.suffix in SUFFIXES:
        raise DataError(f"{target}: must be a folder here, not the name of a file")
    if apart_from.resolve() in (target.resolve(), *target.resolve().parents):
        raise DataError(f"{target}: must not lie in the folder of the questions")
    with _writing(target):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise DataError(f"{target}: must be a new or an empty folder")
        if not target.parent.is_dir():
            raise DataError(f"{target}: there is no such folder to write to")
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent)).resolve()
    try:
        yield staging
        with _writing(target):
            mask = os.umask(0)
            os.umask(mask)
            staging.chmod(0o777 & ~mask)
            staging.replace(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
