"""`perfcast train` and `perfcast evaluate`: doors to perfcast.training, which loads on use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfcast.cli.console import Console
from perfcast.cli.options import JSON
from perfcast.errors import MissingExtra

if TYPE_CHECKING:
    from perfcast.training.report import Report

__all__ = ["evaluate_app", "train_app"]

train_app = typer.Typer(help="Train a bundle from measurements.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Score a bundle on measurements.", no_args_is_help=True)

DATA = Annotated[
    Path, typer.Option("--data", help="A Parquet or CSV file, or a folder of them.", exists=False)
]


@train_app.command("gemm")
def train_gemm(
    data: DATA,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the bundle. Default: models/gemm of this install")
    ] = None,
    work: Annotated[
        Path, typer.Option(help="Where stages are kept until the bundle is written.")
    ] = Path(".perfcast-train"),
    trees: Annotated[int, typer.Option(min=1, max=5000, help="At most, per fold.")] = 300,
    patience: Annotated[
        int, typer.Option(min=0, help="Stop after this many trees without gain; 0: never.")
    ] = 30,
    depth: Annotated[int, typer.Option(min=2, max=16)] = 9,
    folds: Annotated[int, typer.Option(min=2, max=20)] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, max=256)] = 2,
    track: Annotated[bool, typer.Option(help="Record the run in MLflow.")] = True,
    json: JSON = False,
) -> int:
    """Fit floor, kriging, boosting, intervals, transfer and power; export; write the bundle."""
    from perfcast.settings import Settings

    try:
        from perfcast.training.gemm import Options
        from perfcast.training.train_gemm import train_gemm as train
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error

    console = Console(json=json)
    with _watched() as (report, progress):
        bundle, found = train(
            data,
            output=output or Settings.from_env().models_dir / "gemm",
            options=Options(
                trees=trees,
                patience=patience,
                depth=depth,
                folds=folds,
                seed=seed,
                threads=threads,
            ),
            work=work,
            track=track,
            report=report,
            progress=progress,
        )
    if json:
        console.result({"model": bundle.name, "summary": bundle.card["summary"]})
        return 0
    for scores in found.values():
        console.show(*scores.to_tables())
    console.show(f"{bundle.name} written to {bundle.path}")
    return 0


@evaluate_app.command("gemm")
def evaluate_gemm(
    data: DATA,
    baselines: Annotated[
        bool, typer.Option(help="Also train plain baselines on held-out sites of the data (slow).")
    ] = False,
    version: Annotated[
        str | None, typer.Option(help="Of the model. Default: the newest.", show_default=False)
    ] = None,
    json: JSON = False,
) -> int:
    """Score the installed model on measured rows, and the baselines beside it.

    On the rows it was trained on its figures flatter it; the card has the left-out ones.
    """
    from perfcast.bundle import Bundle
    from perfcast.serving.store import find
    from perfcast.settings import Settings

    try:
        from perfcast.training.evaluate_gemm import evaluate_gemm as evaluate
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error

    console = Console(json=json)
    bundle = Bundle.open(find(Settings.from_env().models_dir, "gemm", version))
    found = evaluate(data, bundle=bundle, baselines=baselines)
    return _show(console, found, json=json)


@evaluate_app.command("gemm-between")
def evaluate_gemm_between(
    data: DATA,
    gpu: Annotated[
        list[str] | None, typer.Option(help="May be repeated. Default: h200_sxm", metavar="NAME")
    ] = None,
    trees: Annotated[int, typer.Option(min=1, max=5000, help="At most, per fold.")] = 100,
    depth: Annotated[int, typer.Option(min=2, max=16)] = 9,
    folds: Annotated[int, typer.Option(min=2, max=20)] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, max=256)] = 1,
    json: JSON = False,
) -> int:
    """Score shapes between the grid's nodes, and m beyond it: refit without them, then ask.

    Whole values of n, k and m are held out in turn; the installed model is not used. The newest
    version of each framework takes about a minute for each hold-out and GPU.
    """
    try:
        from perfcast.training.between import between_reports
        from perfcast.training.gemm import Options
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error

    console = Console(json=json)
    with _watched() as (report, _):
        found = between_reports(
            data,
            gpus=gpu or ["h200_sxm"],
            options=Options(trees=trees, depth=depth, folds=folds, seed=seed, threads=threads),
            report=report,
        )
    return _show(console, found, json=json)


@contextmanager
def _watched() -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """A line on the terminal, if there is one: what tells it what is done, and how much of it."""
    from rich.console import Console as Screen
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(20), TimeElapsedColumn(), TextColumn("{task.description}", markup=False)
    )  # fmt: skip
    screen = Screen(stderr=True)
    with Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    ) as progress:
        line = progress.add_task("starting", total=None)
        yield (
            lambda text: progress.update(line, description=text),
            lambda done, of: progress.update(line, completed=done, total=of),
        )


def _show(console: Console, found: Mapping[str, Report], *, json: bool) -> int:
    if json:
        console.result({name: report.to_dict() for name, report in found.items()})
        return 0
    for report in found.values():
        console.show(*report.to_tables())
    return 0
