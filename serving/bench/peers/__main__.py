"""`python -m perfcast.serving.bench.peers`: measure the service beside its peers."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

import perfcast
from perfcast.serving.bench.peers.checking import WrongAnswer
from perfcast.serving.bench.peers.measure import Options, measure
from perfcast.serving.bench.peers.processes import CannotStart
from perfcast.serving.bench.peers.tables import bars_table, loads_table, long_table
from perfcast.serving.bench.peers.wrk import WrkMissing

_CACHE = Path("~/.cache/perfcast-bench")


def run(
    seconds: Annotated[float, typer.Option(help="Of each run of wrk.", min=1)] = 10.0,
    rounds: Annotated[int, typer.Option(help="Of all runs; the median counts.", min=1)] = 3,
    retries: Annotated[
        int, typer.Option(help="Of a run while which others used the machine.", min=0)
    ] = 2,
    cache: Annotated[Path, typer.Option(help="Where the peers are installed.")] = _CACHE,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure perfcast's service beside FastAPI, MLServer and BentoML with the same model."""
    signal.signal(signal.SIGTERM, _stop)  # the servers must not outlive this
    progress = Console(stderr=True)
    options = Options(
        cache=cache.expanduser().resolve(), seconds=seconds, rounds=rounds, retries=retries
    )

    def say(what: str) -> None:
        progress.print(what, style="dim", highlight=False, markup=False)

    try:
        report = measure(perfcast.load("gemm"), options, say)
    except (WrkMissing, WrongAnswer, CannotStart) as error:
        progress.print(str(error), markup=False)
        raise typer.Exit(1) from None
    if json:
        sys.stdout.buffer.write(orjson.dumps(report.to_dict(), option=orjson.OPT_INDENT_2) + b"\n")
        return
    console = Console()
    console.print(f"{report.model} on {report.machine}", highlight=False)
    console.print(bars_table(report), loads_table(report), long_table(report))
    for who, found in report.versions.items():
        listed = ", ".join(f"{name} {version}" for name, version in found.items())
        console.print(f"{who}: {listed}", highlight=False)
    for what, why in report.absent.items():
        console.print(f"not measured: {what}: {why}", style="bold", markup=False)


def _stop(number: int, _frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not cut the stopping short
    sys.exit(128 + number)


if __name__ == "__main__":
    typer.run(run)
