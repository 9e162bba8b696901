"""Bad input by the thousand: schemathesis against the running service and its whole document.

`python -m perfcast.serving.bench.bad_input --cases 5000` starts the service with the shipped
models, with tokens set, and lets schemathesis (extra `[dev]`) ask every operation of the OpenAPI
document for what it offers and for what it does not. All of schemathesis' checks are on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import perfcast
from perfcast.errors import MissingExtra
from perfcast.serving.bench.peers.processes import free_port, running

__all__ = ["PHASES", "TOKENS", "Verdict", "attack", "main"]

PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")

TOKENS: Final = {
    "PERFCAST_TOKEN": "inference-token-0123456789",
    "PERFCAST_MANAGEMENT_TOKEN": "management-token-0123456789",
}
"""What the service is started with: then whether routes ignore their token is checked as well."""

_SERVE: Final = "from perfcast.cli import main; main()"
_ROOT: Final = str(Path(perfcast.__file__).parent.parent)
"""Where the hooks are found, in a checkout too."""
_MOST_ROUNDS: Final = 10
_OPERATIONS: Final = 24
"""Among which the cases are shared out; some take so little input that they need fewer."""
_CONFIG: Final = """
hooks = "perfcast.serving.bench.bad_input_hooks"
request-timeout = 30

[auth.openapi]
token.bearer = "@token@"
managementToken.bearer = "@management_token@"

[dictionaries]
tasks.values = ["@task@"]
versions.values = ["@version@"]

# Names that exist are asked for often enough to get past the first refusal.
[parameters]
"path.task" = { dictionary = "tasks", probability = 0.5 }
"path.version" = { dictionary = "versions", probability = 0.5 }
"query.version" = { dictionary = "versions", probability = 0.3 }

[checks]
enabled = true
# the default, and "too large", which a number of rows or bytes can also be
negative_data_rejection.expected-statuses = [
    "400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429",
]

[[operations]]
# Tensors that are well-formed one by one seldom fit together: names, shapes, numbers of elements
# and of bytes, none of which JSON Schema can compare.
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What schemathesis found. `told` is what it printed, of every round that found something."""

    cases: int
    operations: int
    failures: Mapping[str, int]
    told: str = ""


def attack(
    address: str,
    cases: int,
    *,
    seed: int = 0,
    phases: Collection[str] = PHASES,
    folder: Path | None = None,
) -> Verdict:
    """Put at least `cases` to the service at `address`, which must have been given `TOKENS`.

    `phases` are schemathesis'. "coverage" goes through the document and tries every way in which
    every value can be at or beyond its bounds: some 2,000 cases, however few are asked for.

    Raises `MissingExtra` without schemathesis. Its reports stay in `folder`, if there is one.
    """
    try:
        import schemathesis  # noqa: F401
    except ImportError:
        raise MissingExtra("schemathesis", "dev") from None
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) if folder is None else folder
        (place / "schemathesis.toml").write_text(_config(address))
        found = Verdict(cases=0, operations=0, failures={})
        for number in range(_MOST_ROUNDS):
            if found.cases >= cases or found.failures:
                break
            each = max(1, -(-(cases - found.cases) // _OPERATIONS))
            found = _joined(found, _round(address, each, seed + number, phases, place))
        return found


def _config(address: str) -> str:
    """Schemathesis' configuration, with what can be asked for at `address`."""
    token, management_token = TOKENS.values()
    request = urllib.request.Request(f"{address}/v1/models")
    request.add_header("authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        model = json.load(answer)[0]
    known = {"task": model["name"], "version": model["version"]}
    text = _CONFIG
    for name, value in {**known, "token": token, "management_token": management_token}.items():
        text = text.replace(f"@{name}@", value)
    return text


def _round(address: str, each: int, seed: int, phases: Collection[str], folder: Path) -> Verdict:
    """One run, with up to `each` generated cases for an operation beside the systematic ones."""
    config, report = folder / "schemathesis.toml", folder / "report.json"
    report.unlink(missing_ok=True)
    options = {
        "--phases": ",".join(phases),
        "--max-examples": str(each),
        "--seed": str(seed),
        "--suppress-health-check": "all",
        "--report": "json",
        "--report-json-path": str(report),
    }
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    done = subprocess.run(
        [*command, f"{address}/openapi.json", *(word for pair in options.items() for word in pair)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": _ROOT, "NO_COLOR": "1", "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not report.exists():
        return Verdict(cases=0, operations=0, failures={"no report": 1}, told=done.stdout)
    return _read(json.loads(report.read_text()), done.stdout)


def _read(report: Mapping[str, Any], told: str) -> Verdict:
    failures = {
        each["title"]: int(each["count"]) for each in (*report["failures"], *report["errors"])
    }
    operations = report["operations"] or {"tested": 0, "selected": 0}
    if operations["tested"] != operations["selected"]:
        failures["operations that were not tested"] = operations["selected"] - operations["tested"]
    if report["exit_code"] and not failures:
        failures[f"exit status {report['exit_code']}"] = 1
    return Verdict(
        cases=report["test_cases"]["generated"],
        operations=operations["tested"],
        failures=failures,
        told=told,
    )


def _joined(one: Verdict, other: Verdict) -> Verdict:
    return Verdict(
        cases=one.cases + other.cases,
        operations=max(one.operations, other.operations),
        failures={**one.failures, **other.failures},
        told=other.told,
    )


def main(arguments: list[str] | None = None, say: Callable[[str], object] | None = None) -> int:
    """The command. Returns 1 if any check failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models-dir", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="where reports are to stay")
    chosen = parser.parse_args(arguments)
    say = sys.stdout.write if say is None else say
    models = {} if chosen.models_dir is None else {"PERFCAST_MODELS_DIR": str(chosen.models_dir)}
    port = free_port()
    command = [sys.executable, "-c", _SERVE, "serve", "--port", str(port)]
    with running(
        command, port=port, ready="/readyz", environment={**TOKENS, **models}, folder=Path.cwd()
    ):
        address = f"http://127.0.0.1:{port}"
        found = attack(address, chosen.cases, seed=chosen.seed, folder=chosen.folder)
    if found.failures:
        say(found.told)
    for title, count in found.failures.items():
        say(f"FAILED {title}: {count}\n")
    say(f"{found.cases:,} cases, {found.operations} operations, {len(found.failures)} findings\n")
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
