"""Hours of everyday load in small: does the service answer everything, and does its memory stay?

`python -m perfcast.serving.bench.soak --minutes 20` measures the capacity for a few seconds, then
asks at half of it (or at `--rate`), and says what memory was after the first minute and at the end.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import cast

from perfcast.serving.bench.load import pace, saturate
from perfcast.serving.bench.target import DOORS, Door, run_client, target

__all__ = ["main"]

_WARM_S = 5.0
_PART_S = 60.0
_CONNECTIONS = 16  # twice that while soaking: fewer than may wait, also after a stall


def main(arguments: list[str] | None = None) -> int:
    """Run and tell; 1 if a request failed or was refused."""
    parser = argparse.ArgumentParser(description=__doc__, prog="soak")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, help="requests a second; default: half the capacity")
    parser.add_argument("--door", choices=list(DOORS), default="json")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--models-dir", type=Path)
    options = parser.parse_args(arguments)
    door = cast("Door", options.door)
    with target(door, workers=options.workers, models_dir=options.models_dir) as service:
        port, requests = service.port, service.requests
        warm = run_client(
            saturate(port, requests, connections=_CONNECTIONS, seconds=min(_WARM_S, _PART_S))
        )
        rate = options.rate or warm.per_second() / 2
        _say(f"capacity {warm.per_second():,.0f} requests/s; asking {rate:,.0f} a second")
        statuses: Counter[int] = Counter()
        lost, late, first, left = 0, 0, 0.0, options.minutes * 60
        while left > 0.5:
            part = min(_PART_S, left)
            outcome = run_client(
                pace(port, requests, rate=rate, connections=2 * _CONNECTIONS, seconds=part)
            )
            left -= part
            statuses.update({status: len(each) for status, each in outcome.milliseconds.items()})
            lost += outcome.lost
            late += outcome.unsent
            resident = service.resident_mib()
            first = first or resident
            _say(
                f"{options.minutes - left / 60:6.1f} min  {resident:8.1f} MiB  "
                f"p50 {outcome.quantile_ms(0.5):7.2f} ms  p99 {outcome.quantile_ms(0.99):7.2f} ms  "
                f"statuses {dict(statuses)}  lost {lost}  never sent {late}"
            )
        grown = service.resident_mib() - first
    failed = lost + sum(count for status, count in statuses.items() if status != 200)
    _say(
        f"memory grew by {grown:.1f} MiB after the first minute; "
        f"{failed} of {statuses.total() + lost:,} requests failed"
    )
    return int(failed > 0)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
