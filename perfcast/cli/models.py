"""`perfcast models`: what is installed and how accurate it is; fetch, check and remove bundles."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from perfcast.cli.console import Console
from perfcast.cli.options import JSON
from perfcast.errors import BundleError, MissingExtra

__all__ = ["app"]

WHOLE, DAMAGED = 0, 1

TASK = Annotated[str, typer.Argument(help="A task, such as gemm.", show_default=False)]

app = typer.Typer(invoke_without_command=True)


@app.callback()
def list_models(context: typer.Context, json: JSON = False) -> int:
    """List the installed models, or show, check, pull or remove one.

    Exit status of the list: 1 if a bundle is damaged; the others are listed all the same.
    """
    if context.invoked_subcommand is not None:
        if json:
            raise typer.BadParameter("--json belongs behind the subcommand")
        return WHOLE
    from rich.table import Table

    from perfcast.bundle import Bundle
    from perfcast.features.tasks import TASKS
    from perfcast.serving.store import available, versions
    from perfcast.settings import Settings

    console = Console(json=json)
    folder = Settings.from_env().models_dir
    bundles: list[tuple[Bundle, bool]] = []
    damaged: list[BundleError] = []
    for task in available(folder):
        found, errors = versions(folder, task)
        damaged += errors
        for each in found:
            try:
                bundles.append((Bundle.open(each.folder), each is found[0]))
            except BundleError as error:
                damaged.append(error)
    if json:
        from perfcast.serving.schemas import model_info

        console.result(
            [model_info(TASKS[b.task], b.card, default=default) for b, default in bundles]
        )
    else:
        table = Table("task", "version", "answers", "summary")
        for bundle, default in bundles:
            outputs = ", ".join(output.name for output in TASKS[bundle.task].outputs)
            summary = bundle.card.get("summary", {})
            told = "\n".join(f"{name}: {value}" for name, value in summary.items())
            version = f"{bundle.version}\n{'(default)' if default else ''}".rstrip()
            table.add_row(bundle.task, version, outputs, told)
        console.show(table if bundles else f"no models in {folder}")
    for complaint in damaged:
        console.warn(str(complaint))
    return DAMAGED if damaged else WHOLE


@app.command()
def show(
    task: TASK,
    version: Annotated[
        str | None, typer.Option(help="Default: the newest.", show_default=False)
    ] = None,
    json: JSON = False,
) -> int:
    """Show the whole card of a model: data, split, figures by group, calibration, domain."""
    from rich.pretty import pretty_repr

    from perfcast.bundle import Bundle
    from perfcast.serving.store import find
    from perfcast.settings import Settings

    console = Console(json=json)
    card = dict(Bundle.open(find(Settings.from_env().models_dir, task, version)).card)
    console.result(card) if json else console.show(pretty_repr(card, max_length=20))
    return 0


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder of a bundle.", show_default=False)],
    json: JSON = False,
) -> int:
    """Verify a bundle as the service does: card, hash, operators, signature, self-test."""
    from perfcast.serving.install import verified

    console = Console(json=json)
    bundle = verified(path)
    if json:
        console.result({"model": bundle.name, "model_sha256": bundle.card["model_sha256"]})
    else:
        console.show(f"{bundle.name} in {path} is whole and answers its self-test")
    return 0


@app.command()
def pull(
    uri: Annotated[
        str,
        typer.Argument(
            help="models:/NAME@ALIAS or models:/NAME/VERSION.", metavar="URI", show_default=False
        ),
    ],
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow's store: a server, or sqlite:///FILE. Default: MLFLOW_TRACKING_URI, "
            "or the file that training writes.",
            metavar="URI",
            show_default=False,
        ),
    ] = None,
    json: JSON = False,
) -> int:
    """Install a model from an MLflow registry: fetched, verified, then put in place in one step.

    A running service takes it up by itself. Whatever goes wrong on the way, nothing is installed.
    """
    from perfcast.serving.install import install, staging
    from perfcast.settings import Settings

    try:
        from perfcast.training.pulling import fetch, parse_model_uri
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train") from error

    console = Console(json=json)
    models_dir = Settings.from_env().models_dir
    asked = parse_model_uri(uri)
    with _stoppable(), staging(models_dir) as folder:
        fetched = fetch(asked, folder / "bundle", store=tracking_uri)
        bundle, new = install(fetched.path, models_dir)
    if json:
        console.result({"model": bundle.name, "folder": str(bundle.path), "new": new})
    elif new:
        console.show(f"{bundle.name} installed in {bundle.path}")
    else:
        console.show(f"{bundle.name} is already installed in {bundle.path}")
    return 0


@app.command()
def remove(
    task: TASK,
    version: Annotated[str, typer.Argument(help="One that is listed.", show_default=False)],
    json: JSON = False,
) -> int:
    """Delete a version of a model. A running service lets go of it by itself."""
    from perfcast.serving.install import remove as remove_version
    from perfcast.settings import Settings

    console = Console(json=json)
    folder = remove_version(Settings.from_env().models_dir, task, version)
    if json:
        console.result({"model": f"{task}@{version}", "folder": str(folder)})
    else:
        console.show(f"{task}@{version} removed from {folder}")
    return 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that it can clean up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
