"""Options made from a Task, so that the command line asks what the task asks, in its words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from perfcast.task import Input, Task

__all__ = ["JSON", "question", "task_option", "with_options"]

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DIGITS = re.compile(r"[+-]?[0-9]{1,30}", re.ASCII)


def task_option(column: Input) -> Parameter:
    """The option of one input column: `--gpu`, `-m`. Text; the task itself checks it."""
    flag = f"-{column.name}" if len(column.name) == 1 else "--" + column.name.replace("_", "-")
    about = column.description + (f" [{column.unit}]" if column.unit else "")
    if column.allowed:
        about += f": {', '.join(column.allowed)}"
    if column.default_note is not None:
        about += f". Default: {column.default_note}"
    metavar = "N" if column.kind == "integer" else "NAME" if column.allowed else "TEXT"
    option = typer.Option(flag, help=_escaped(about), metavar=metavar, show_default=False)
    return Parameter(
        column.name,
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


def question(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """The task's columns that were given; whole numbers as numbers, anything else as typed."""
    columns: dict[str, Any] = {}
    for column in task.inputs:
        text = options[column.name]
        if text is not None:
            number = column.kind == "integer" and _DIGITS.fullmatch(text)
            columns[column.name] = int(text) if number else text
    return columns


def with_options(
    command: Callable[..., int], parameters: Iterable[Parameter], *, about: str
) -> Callable[..., int]:
    """`command`, which takes a mapping of options, as a function that typer can read."""

    def called(**options: Any) -> int:
        return command(options)

    called.__signature__ = Signature(list(parameters))  # type: ignore[attr-defined]
    called.__annotations__ = {}
    called.__doc__ = _escaped(about)
    return called


def plain_option(name: str, kind: Any, flag: str, about: str, default: Any = None) -> Parameter:
    """An option that does not come from a task's columns."""
    option = typer.Option(flag, help=_escaped(about), show_default=default is not None)
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def json_option() -> Parameter:
    return plain_option("json", bool, "--json", "Print JSON.", default=False)


def path_option(name: str, about: str) -> Parameter:
    return plain_option(name, Path | None, f"--{name}", about)


def _escaped(text: str) -> str:
    """Help is rich markup, in which C[m,n] would be a style."""
    return text.replace("[", r"\[")
