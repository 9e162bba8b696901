"""`perfcast models`: what is loaded, what may be asked, how accurate it is."""

from __future__ import annotations

from typing import Annotated

import typer

from perfcast.cli.console import Console
from perfcast.cli.options import JSON
from perfcast.errors import UnknownTask

__all__ = ["models"]


def models(
    task: Annotated[
        str | None, typer.Argument(help="Show this one's whole card.", show_default=False)
    ] = None,
    json: JSON = False,
) -> int:
    """List the models, or show the card of one."""
    from rich.pretty import pretty_repr
    from rich.table import Table

    from perfcast.bundle import Bundle
    from perfcast.features.tasks import TASKS
    from perfcast.serving.store import available
    from perfcast.settings import Settings

    console = Console(json=json)
    folder = Settings.from_env().models_dir
    names = available(folder)
    if task is not None:
        if task not in names:
            raise UnknownTask(task, names)
        card = dict(Bundle.open(folder / task).card)
        console.result(card) if json else console.show(pretty_repr(card, max_length=20))
        return 0
    bundles = [Bundle.open(folder / name) for name in names]
    if json:
        from perfcast.serving.schemas import model_info

        console.result([model_info(TASKS[bundle.task], bundle.card) for bundle in bundles])
        return 0
    table = Table("task", "version", "answers", "summary")
    for bundle in bundles:
        outputs = ", ".join(output.name for output in TASKS[bundle.task].outputs)
        summary = bundle.card.get("summary", {})
        told = "\n".join(f"{name}: {value}" for name, value in summary.items())
        table.add_row(bundle.task, bundle.version, outputs, told)
    console.show(table if bundles else f"no models in {folder}")
    return 0
