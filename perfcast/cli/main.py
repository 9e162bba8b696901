"""Puts the subcommands together, and turns every error into one line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

import perfcast
from perfcast.cli import bench, models, predict, recommend, serve, train
from perfcast.cli.console import Console
from perfcast.errors import PerfcastError

__all__ = ["main", "run"]

OK, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses; 3, from `predict`, means that some rows could not be answered."""

# The base of unknown options and other usage errors, which typer does not name.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"perfcast {perfcast.__version__}")  # noqa: T201
        raise typer.Exit


app = typer.Typer(
    name="perfcast",
    help="Tells what a piece of machine-learning work will cost, in time and power.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


app.command("serve")(serve.serve)
app.add_typer(models.app, name="models")
app.add_typer(predict.app, name="predict")
app.add_typer(recommend.app, name="recommend")
app.command("bench")(bench.bench)
app.add_typer(train.train_app, name="train")
app.add_typer(train.evaluate_app, name="evaluate")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit status. Errors are printed, never raised."""
    console = Console(json="--json" in arguments)
    try:
        status = app(list(arguments), standalone_mode=False)
    except PerfcastError as error:
        console.error(error)
        return UNUSABLE if error.http_status < 500 else FAILED
    except _UsageError as error:
        console.usage_error(str(error))
        return UNUSABLE
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    if status == INTERRUPTED:  # which is also what typer makes of Ctrl-C, in silence
        console.warn("interrupted")
    return status if isinstance(status, int) else OK


def main() -> None:
    """The entry point."""
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away: head, less
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        status = OK
    sys.exit(status)
