"""`perfcast bench`: what perfcast adds to the model's own time, side by side in one run."""

from __future__ import annotations

from typing import Annotated

import typer

from perfcast.cli.console import Console
from perfcast.cli.options import JSON

__all__ = ["bench"]


def bench(
    task: Annotated[str, typer.Argument(help="The model to measure.")] = "gemm",
    repeats: Annotated[int, typer.Option(help="Repeats; the median counts.", min=1, max=1000)] = 15,
    json: JSON = False,
) -> int:
    """Measure the Python API against the bare onnxruntime call of the same model."""
    from rich.table import Table

    import perfcast
    from perfcast.serving.bench.in_process import run_bench
    from perfcast.settings import Settings

    console = Console(json=json)
    report = run_bench(
        perfcast.load(task, models_dir=Settings.from_env().models_dir), repeats=repeats
    )
    if json:
        console.result(report.to_dict())
        return 0
    table = Table("what", "perfcast", "bare onnxruntime", "ratio", "rows per second")
    for line in report.lines:
        table.add_row(
            line.what,
            f"{line.perfcast_ms:.4g} ms",
            f"{line.bare_ms:.4g} ms",
            f"{line.ratio:.2f}",
            f"{line.rows_per_second:,.0f}",
        )
    console.show(f"{report.model}, one thread, median of {report.repeats}", table)
    return 0
