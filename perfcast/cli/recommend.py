"""`perfcast recommend TASK`: rank deployments for shapes within constraints."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from perfcast.cli.console import Console
from perfcast.cli.options import json_option, plain_option, with_options
from perfcast.errors import InvalidInput, Problem
from perfcast.features.tasks import TASKS
from perfcast.task import Task

if TYPE_CHECKING:
    from rich.table import Table

    from perfcast.serving.recommendation import Choice, Recommendation

__all__ = ["app"]

FOUND, NOTHING = 0, 3
QUANTITIES = ("latency_ms", "power_w", "energy_mj")

app = typer.Typer(
    help="Rank GPU x framework x dtype choices. Exit status: 0 something fits; 3 nothing does; "
    "2 the question cannot be used.",
    no_args_is_help=True,
)


def _recommend(task: Task, options: dict[str, Any]) -> int:
    import perfcast
    from perfcast.serving.recommend import recommend
    from perfcast.settings import Settings

    console = Console(json=options["json"])
    settings = Settings.from_env()
    shapes = _shapes(options["shape"] or [])
    found = recommend(
        perfcast.load(task.name, models_dir=settings.models_dir),
        shapes,
        gpus=_names(options["gpus"]),
        frameworks=_names(options["frameworks"]),
        dtypes=_names(options["dtypes"]),
        max_latency_ms=options["max_latency_ms"],
        max_power_w=options["max_power_w"],
        max_energy_mj=options["max_energy_mj"],
        objective=options["objective"],
        limit=options["limit"],
        max_candidates=settings.max_candidates,
    )
    if options["json"]:
        console.result(found.to_dict())
    else:
        _show(found, console)
    return FOUND if found.choices else NOTHING


def _shapes(texts: list[str]) -> list[list[Any]]:
    """`4096x4096x8192`, or `4096x4096x8192*32` for one that runs 32 times."""
    if not texts:
        raise InvalidInput([Problem("shape", "missing; give at least one, as 4096x4096x8192")])
    parts = [re.split(r"[x*]", text.strip().lower()) for text in texts]
    for row, text in enumerate(texts):
        if not re.fullmatch(r"\d{1,30}(x\d{1,30}){2}(\*\d{1,30})?", text.strip().lower(), re.ASCII):
            reason = f"must look like 4096x4096x8192 or 4096x4096x8192*32, not {text[:40]!r}"
            raise InvalidInput([Problem("shape", reason, row)])
    return [[int(part) for part in shape] for shape in parts]


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _show(found: Recommendation, console: Console) -> None:
    console.show(
        f"{found.considered} deployments considered, {found.feasible} feasible, best "
        f"{found.objective} first, for {found.shapes} shape(s); * on the Pareto front"
    )
    if found.choices:
        console.show(_table(found.choices))
    elif found.closest_miss is not None:
        console.show("Nothing meets the constraints. The closest miss:")
        console.show(_table((found.closest_miss,)))
    else:
        console.show("Nothing can be estimated for these shapes.")
    for excluded in found.excluded:
        if excluded.limit is None:
            console.show(f"{excluded.count} excluded: {excluded.constraint} is not known")
        else:
            console.show(
                f"{excluded.count} excluded by {excluded.constraint} = {excluded.limit:g}, "
                f"the nearest of them at {excluded.closest:.4g}"
            )
    for withheld in found.withheld:
        console.show(f"{withheld.count} not answered: {'; '.join(withheld.reasons)}")
    console.show(f"{found.coverage:.0%} intervals; {found.note}. Answered by {found.model}")


def _table(choices: tuple[Choice, ...]) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("", "gpu, framework, dtype"):
        table.add_column(name, no_wrap=True)
    for unit in ("ms", "W", "mJ"):
        table.add_column(unit, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for choice in choices:
        record = choice.to_record()
        table.add_row(
            "*" if choice.pareto else "",
            f"{choice.gpu}\n  {choice.framework} {choice.dtype}",
            *(_span(record, name) for name in QUANTITIES),
            choice.status,
        )
    return table


def _span(record: dict[str, Any], name: str) -> str:
    value, low, high = (record[name + end] for end in ("", "_low", "_high"))
    return "unknown" if value is None else f"{value:.4g}\n{low:.3g}..{high:.3g}"


def _register(task: Task) -> None:
    bound = "Only choices with at most this {} for all shapes together."
    parameters = [
        plain_option(
            "shape", list[str] | None, "--shape", "MxNxK, or MxNxK*COUNT. May be given many times."
        ),
        plain_option("gpus", str | None, "--gpus", "Comma-separated; default: all."),
        plain_option("frameworks", str | None, "--frameworks", "Comma-separated; default: all."),
        plain_option("dtypes", str | None, "--dtypes", "Comma-separated; default: all."),
        plain_option("max_latency_ms", float | None, "--max-latency-ms", bound.format("time [ms]")),
        plain_option("max_power_w", float | None, "--max-power-w", bound.format("mean power [W]")),
        plain_option("max_energy_mj", float | None, "--max-energy-mj", bound.format("energy [mJ]")),
        plain_option(
            "objective", str, "--objective", " | ".join(QUANTITIES), default=QUANTITIES[0]
        ),
        plain_option("limit", int, "--limit", "Show this many choices.", default=10),
        json_option(),
    ]
    about = f"Where to run it best. {task.title}."
    app.command(task.name)(with_options(partial(_recommend, task), parameters, about=about))


for _task in TASKS.values():
    if {output.name for output in _task.outputs} >= set(QUANTITIES):
        _register(_task)


@app.callback()
def _group() -> None:
    """Keeps the task's name a subcommand even while there is only one task."""
