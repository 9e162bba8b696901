"""Load by `wrk`, which sends the requests it is given in turn, over and over."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Load", "WrkMissing", "find_wrk", "parse_load", "run_wrk", "write_requests"]

_MARK: Final = "perfcast-load "

# A request is taken as it stands; wrk adds nothing to it. Percentiles come from `done`, because
# what wrk prints is rounded to three digits.
_SCRIPT: Final = """\
local requests, at = {}, 0
function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  local data = file:read("*a")
  file:close()
  local place = 1
  while place <= #data do
    local a, b, c, d = data:byte(place, place + 3)
    local size = a + 256 * (b + 256 * (c + 256 * d))
    requests[#requests + 1] = data:sub(place + 4, place + 3 + size)
    place = place + 4 + size
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '%s{"requests": %%d, "seconds": %%.6f, "p50_us": %%d, "p90_us": %%d, "p99_us": %%d, ' ..
    '"connect": %%d, "read": %%d, "write": %%d, "status": %%d, "timeout": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), errors.connect, errors.read, errors.write, errors.status,
    errors.timeout))
end
""".replace("%s", _MARK).replace("%%", "%")
_ERRORS: Final = ("connect", "read", "write", "status", "timeout")


class WrkMissing(Exception):
    """`wrk` is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one run of wrk saw. Errors count: connections, reads, writes, statuses, time-outs."""

    requests: int
    seconds: float
    p50_us: float
    p90_us: float
    p99_us: float
    errors: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def find_wrk() -> str:
    """The path of wrk. Raises `WrkMissing`, which says how to install it."""
    path = shutil.which("wrk")
    if path is None:
        raise WrkMissing(
            "wrk sends the load and is not installed: apt-get install wrk (Debian, Ubuntu), "
            "brew install wrk, or https://github.com/wg/wrk"
        )
    return path


def write_requests(folder: Path, name: str, requests: Sequence[bytes]) -> Path:
    """Write whole HTTP `requests` to a file in `folder`, as `run_wrk` wants them."""
    path = folder / f"{name}.requests"
    path.write_bytes(b"".join(struct.pack("<I", len(each)) + each for each in requests))
    return path


def run_wrk(requests: Path, port: int, *, connections: int, seconds: float) -> Load:
    """Load the server on `port` of this machine. Raises `ValueError` if wrk fails."""
    script = requests.parent / "load.lua"
    script.write_text(_SCRIPT, encoding="utf-8")
    command = [
        find_wrk(), "--threads", "1", "--connections", str(connections),
        "--duration", f"{max(1, round(seconds))}s", "--timeout", "30s", "--script", str(script),
        f"http://127.0.0.1:{port}/", "--", str(requests),
    ]  # fmt: skip
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if ended.returncode != 0:
        raise ValueError(f"wrk failed: {ended.stdout[-500:]}{ended.stderr[-500:]}")
    return parse_load(ended.stdout)


def parse_load(printed: str) -> Load:
    """What the script above made wrk print. Raises `ValueError` if it is not there."""
    for line in printed.splitlines():
        if line.startswith(_MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            errors = sum(int(found.pop(name)) for name in _ERRORS)
            return Load(**found, errors=errors)
    raise ValueError(f"wrk did not report: {printed[-500:]}")
