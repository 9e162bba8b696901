"""A report for people."""

from __future__ import annotations

from rich.table import Table

from perfcast.serving.bench.peers.report import BARS, Report

__all__ = ["bars_table", "loads_table", "long_table"]


def bars_table(report: Report) -> Table:
    """The ratios beside their bars."""
    table = Table("ratio of", "measured", "bar", "")
    for bar in BARS:
        ratio = bar.ratio(report)
        shown = "not measured" if ratio is None else f"{ratio:.3g}"
        verdict = "" if ratio is None else "reached" if bar.reached(ratio) else "missed"
        table.add_row(bar.what, shown, bar.shown_limit, verdict)
    return table


def loads_table(report: Report) -> Table:
    """One row a request: median time over one connection; over 16, requests a second and the
    processor time that the server used for each.
    """
    table = Table(
        "one row",
        "median, 1 connection",
        "99 %",
        "requests/s, 16 connections",
        "server's processor time",
        "undisturbed",
    )
    for name, label in report.labels.items():
        one, many = report.loads.get((name, 1)), report.loads.get((name, 16))
        if one is None or many is None:
            continue
        errors = one.errors + many.errors
        calm = f"{one.undisturbed + many.undisturbed} of {one.samples + many.samples}"
        table.add_row(
            label if not errors else f"{label}: {errors} ERRORS",
            f"{one.p50_us:,.0f} us",
            f"{one.p99_us:,.0f} us",
            f"{many.per_second:,.0f}",
            "" if many.server_us is None else f"{many.server_us:,.0f} us",
            calm,
        )
    return table


def long_table(report: Report) -> Table:
    """Many rows in one request."""
    table = Table("one request", "perfcast", "session.run alone", "ratio", "sent", "received")
    for form, figures in report.long.items():
        table.add_row(
            f"{figures.rows:,} rows, {form}",
            f"{figures.answer_ms:.2f} ms",
            f"{figures.bare_ms:.2f} ms",
            f"{figures.ratio:.3f}",
            f"{figures.request_bytes / 2**20:.2f} MiB",
            f"{figures.response_bytes / 2**20:.2f} MiB",
        )
    return table
