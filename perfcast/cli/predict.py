"""`perfcast predict TASK`: one question from options, a file of them, or a folder of files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from perfcast.cli.console import Console
from perfcast.cli.options import (
    json_option,
    path_option,
    plain_option,
    question,
    task_option,
    with_options,
)
from perfcast.errors import InvalidInput, Problem
from perfcast.features.tasks import TASKS
from perfcast.task import Task

if TYPE_CHECKING:
    from rich.table import Table

    from perfcast.prediction import Prediction
    from perfcast.serving.files import FileReport

__all__ = ["app"]

ANSWERED, PARTLY = 0, 3

app = typer.Typer(
    help="Answer one question, or a file of them. Exit status: 0 everything is answered; "
    "3 some values are withheld or some rows unusable; 2 nothing could be done.",
    no_args_is_help=True,
)


def _predict(task: Task, options: dict[str, Any]) -> int:
    source, target, on_ray = options["input"], options["output"], options["ray"]
    console = Console(json=options["json"])
    asked = question(task, options)
    if source is None and target is None and not on_ray:
        return _one(task, asked, console, json=options["json"])
    problems = [
        Problem(name, "cannot be combined with --input: the file has the questions")
        for name in asked
    ]
    if source is None or target is None:
        together = (
            "--ray needs --input and --output" if on_ray else "--input and --output go together"
        )
        problems.append(Problem("input", together))
    if problems:
        raise InvalidInput(problems)
    return _file(task, source, target, console, on_ray=on_ray, json=options["json"])


def _one(task: Task, asked: dict[str, Any], console: Console, *, json: bool) -> int:
    import perfcast
    from perfcast.settings import Settings

    predictor = perfcast.load(task.name, models_dir=Settings.from_env().models_dir)
    prediction = predictor.predict_columns(asked)
    if json:
        console.result({**prediction.records()[0], "coverage": prediction.coverage})
    else:
        given = ", ".join(f"{name} {value}" for name, value in asked.items())
        console.show(given, _table(prediction))
        record = prediction.records()[0]
        console.show(*(f"  {sentence}" for sentence in record["reasons"]))
        console.show(f"status: {record['status']}, answered by {prediction.model}")
    return ANSWERED if prediction.answered.all() else PARTLY


def _table(prediction: Prediction) -> Table:
    from rich.table import Table

    record = prediction.records()[0]
    table = Table()
    table.add_column("quantity")
    table.add_column("value", justify="right")
    table.add_column(f"{prediction.coverage:.0%} interval", justify="right")
    table.add_column("unit")
    table.add_column("status")
    for name, estimate in prediction.estimates.items():
        value, low, high = (record.get(name + end) for end in ("", "_low", "_high"))
        table.add_row(
            name.rsplit("_", 1)[0] if estimate.unit else name,
            _shown(value),
            "" if low is None else f"{_shown(low)} to {_shown(high)}",
            estimate.unit,
            record.get(f"{name}_status", ""),
        )
    return table


def _shown(value: float | None) -> str:
    return "withheld" if value is None else f"{value:.4g}" if value < 1e4 else f"{value:,.0f}"


def _file(
    task: Task, source: Path, target: Path, console: Console, *, on_ray: bool, json: bool
) -> int:
    import perfcast
    from perfcast.serving.files import predict_file
    from perfcast.serving.folders import predict_folder
    from perfcast.settings import Settings

    answer: Callable[..., FileReport] = predict_folder if source.is_dir() else predict_file
    if on_ray:
        from perfcast.serving.ray_data import run_on_ray
        from perfcast.serving.row_groups import split_row_groups

        answer = partial(predict_folder, run=run_on_ray, split=split_row_groups)
    predictor = perfcast.load(task.name, models_dir=Settings.from_env().models_dir)
    if sys.stderr.isatty():
        from rich.console import Console as RichConsole
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as progress:
            bar = progress.add_task("rows", total=None)
            move = partial(progress.update, bar)
            report = answer(predictor, source, target, on_rows=lambda rows: move(completed=rows))
    else:
        report = answer(predictor, source, target)
    for name, new in report.renamed.items():
        console.warn(f"the input's column {name!r} is called {new!r} in the output")
    for name, hint in report.ignored.items():
        console.warn(f"the input's column {name!r} is not used; {hint}")
    if json:
        counts = {"rows": report.rows, "withheld": report.withheld, "invalid": report.invalid}
        console.result({**counts, "model": report.model, "output": str(target)})
    else:
        answered = report.rows - report.withheld - report.invalid
        console.show(
            f"{report.rows} rows: {answered} answered, {report.withheld} with values withheld, "
            f"{report.invalid} unusable; by {report.model} into {target}"
        )
    return ANSWERED if report.answered else PARTLY


def _register(task: Task) -> None:
    parameters = [
        *(task_option(column) for column in task.inputs),
        path_option(
            "input", "File of questions, Parquet or CSV by its suffix, or a folder of such files."
        ),
        path_option(
            "output",
            "File to write: the same rows, and the answers beside them; for a folder a new one.",
        ),
        plain_option(
            "ray",
            bool,
            "--ray",
            "Answer on the Ray cluster at RAY_ADDRESS, else on all cores of this machine, into a "
            "new folder; large Parquet files are cut. Needs perfcast[ray].",
            default=False,
        ),
        json_option(),
    ]
    app.command(task.name)(with_options(partial(_predict, task), parameters, about=task.title))


for _task in TASKS.values():
    _register(_task)


@app.callback()
def _group() -> None:
    """Keeps the task's name a subcommand even while there is only one task."""
