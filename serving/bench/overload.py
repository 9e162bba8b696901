"""Several times what the service can do: what is accepted stays quick, the rest is told at once.

`python -m perfcast.serving.bench.overload` measures the capacity (each of `--connections` clients
waits for its answer), and then asks `--times` as often whatever the service answers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from perfcast.serving.bench.load import Outcome, pace, saturate
from perfcast.serving.bench.target import DOORS, Door, run_client, target

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run and tell; 1 if a request was lost or got a status other than 200 and 503."""
    parser = argparse.ArgumentParser(description=__doc__, prog="overload")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each of the two runs")
    parser.add_argument("--times", type=float, default=4.0, help="the capacity")
    parser.add_argument("--connections", type=int, default=16, help="of the run at capacity")
    parser.add_argument("--most-connections", type=int, default=256, help="of the overload")
    parser.add_argument("--door", choices=list(DOORS), default="json")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--models-dir", type=Path)
    options = parser.parse_args(arguments)
    door = cast("Door", options.door)
    with target(door, workers=options.workers, models_dir=options.models_dir) as service:
        port, requests = service.port, service.requests
        run_client(saturate(port, requests, connections=options.connections, seconds=2.0))
        calm = run_client(
            saturate(port, requests, connections=options.connections, seconds=options.seconds)
        )
        before = service.resident_mib()
        rate = options.times * calm.per_second()
        outcome = run_client(
            pace(
                port,
                requests,
                rate=rate,
                connections=options.most_connections,
                seconds=options.seconds,
            )
        )
        after = service.resident_mib()
    _tell(calm, outcome, rate)
    sys.stdout.write(f"memory   {before:.1f} MiB before, {after:.1f} MiB after\n")
    return int(outcome.lost > 0 or not outcome.milliseconds.keys() <= {200, 503})


def _tell(calm: Outcome, outcome: Outcome, rate: float) -> None:
    p99, calm_p99 = outcome.quantile_ms(0.99), calm.quantile_ms(0.99)
    asked = outcome.answers + outcome.lost + outcome.unsent
    say = sys.stdout.write
    say(f"capacity {calm.per_second():,.0f}/s, p50 {calm.quantile_ms(0.5):.2f} ms, ")
    say(f"p99 {calm_p99:.2f} ms\n")
    say(f"asked    {rate:,.0f}/s ({asked:,} in all, {outcome.unsent:,} never sent)\n")
    say(f"accepted {outcome.per_second():,.0f}/s, p50 {outcome.quantile_ms(0.5):.2f} ms, ")
    say(f"p99 {p99:.2f} ms, {p99 / calm_p99:.2f} times the p99 at capacity\n")
    say(f"refused  {outcome.share(503):.1%} of the answers, ")
    say(f"p99 {outcome.quantile_ms(0.99, 503):.2f} ms; lost {outcome.lost}\n")


if __name__ == "__main__":
    sys.exit(main())
