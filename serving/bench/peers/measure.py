"""The whole measurement: start everything, compare answers, measure in turn."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from perfcast.serving.bench.peers.checking import WrongAnswer, check_server
from perfcast.serving.bench.peers.fleet import Fleet, started
from perfcast.serving.bench.peers.long import ROWS, LongFigures, measure_long
from perfcast.serving.bench.peers.peers import TARGETS, Target
from perfcast.serving.bench.peers.report import Figures, Report, Sample, figures_of
from perfcast.serving.bench.peers.requests import FORMS, Columns, http_bytes
from perfcast.serving.bench.peers.wrk import find_wrk, run_wrk, write_requests
from perfcast.serving.bench.questions import answered_questions
from perfcast.serving.predictor import Predictor

__all__ = ["CONNECTIONS", "Options", "measure"]

CONNECTIONS: Final = (1, 16)
_CHECKED: Final = 50
"""Questions whose answers are compared before a server is measured."""
_LONG_PATHS: Final = {"binary": "/v2/models/gemm/infer", "columns": "/v1/gemm/predict"}
_LONG_QUESTIONS: Final = 5
_PAUSE_S: Final = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long and how often.

    `seconds` for each run of wrk, `rounds` of all of them, with `rows` different questions;
    `repeats` of each long request. A sample that was disturbed is taken again up to `retries`
    times.
    """

    cache: Path
    seconds: float = 10.0
    rounds: int = 3
    retries: int = 2
    rows: int = 5_000
    repeats: int = 60


def measure(predictor: Predictor, options: Options, say: Say) -> Report:
    """Measure every peer that can be installed here; `say` is told what is being done.

    Raises `WrkMissing`; `WrongAnswer` if a server's answers are not the model's; `CannotStart` if
    perfcast itself does not start.
    """
    find_wrk()
    rng = np.random.default_rng(0)
    questions = answered_questions(predictor, rng, options.rows)
    with started(predictor.bundle.model_path, options.cache, say) as fleet:
        files = {
            target.name: _prepare(predictor, target, fleet, questions, say)
            for target in TARGETS
            if target.server in fleet.ports
        }
        loads = _measure_loads(files, options, fleet, say)
        say(f"{ROWS:,} rows, {options.repeats} times")
        long = _measure_long(predictor, options, fleet, rng)
    return Report(
        model=predictor.bundle.name,
        machine=_machine(),
        versions=fleet.versions,
        labels={target.name: target.label for target in TARGETS},
        loads=loads,
        long=long,
        absent=fleet.absent,
    )


def _prepare(
    predictor: Predictor, target: Target, fleet: Fleet, questions: Columns, say: Say
) -> Path:
    """A file of requests for `target`, whose answers were compared."""
    port = fleet.ports[target.server]
    if target.form is None:
        return write_requests(fleet.work, target.name, [http_bytes("GET", target.path, port, None)])
    say(f"{target.label}: comparing answers")
    size = len(next(iter(questions.values())))
    rows = [{name: values[at : at + 1] for name, values in questions.items()} for at in range(size)]
    check_server(predictor, target.label, port, target.path, target.form, rows[:_CHECKED])
    write = FORMS[target.form].write
    requests = [http_bytes("POST", target.path, port, write(row)) for row in rows]
    return write_requests(fleet.work, target.name, requests)


def _measure_loads(
    files: Mapping[str, Path], options: Options, fleet: Fleet, say: Say
) -> dict[tuple[str, int], Figures]:
    """Figures of every target that has a file of requests, at each number of connections."""
    targets = [target for target in TARGETS if target.name in files]
    for target in targets:  # everything is loaded and compiled before anything is timed
        port = fleet.ports[target.server]
        run_wrk(files[target.name], port, connections=max(CONNECTIONS), seconds=1)
    samples: dict[tuple[str, int], list[Sample]] = {}
    for turn in range(options.rounds):
        for connections in CONNECTIONS:
            for target in targets:
                found = samples.setdefault((target.name, connections), [])
                for attempt in range(options.retries + 1):
                    if attempt:
                        time.sleep(_PAUSE_S)
                    sample = _sample(
                        files[target.name], target.server, connections, options.seconds, fleet
                    )
                    found.append(sample)
                    say(f"{turn + 1}: {target.label}, {connections}: {sample}")
                    if not sample.disturbed:
                        break
    return {key: figures_of(found) for key, found in samples.items()}


def _sample(requests: Path, server: str, connections: int, seconds: float, fleet: Fleet) -> Sample:
    before = fleet.usage()
    load = run_wrk(requests, fleet.ports[server], connections=connections, seconds=seconds)
    after = fleet.usage()
    if before is None or after is None:
        return Sample(load=load, server_s=None, others=None)
    used = after.server_since(before, fleet.processes[server])
    return Sample(load=load, server_s=used, others=after.others_since(before))


def _measure_long(
    predictor: Predictor, options: Options, fleet: Fleet, rng: np.random.Generator
) -> dict[str, LongFigures]:
    questions = [answered_questions(predictor, rng, ROWS) for _ in range(_LONG_QUESTIONS)]
    port = fleet.ports["perfcast"]
    paths: dict[str, str] = {}
    for form, path in _LONG_PATHS.items():
        what = f"{ROWS:,} rows, {form}"
        try:
            check_server(predictor, what, port, path, form, questions[:1])
        except WrongAnswer as error:
            fleet.absent[what] = str(error)
        else:
            paths[form] = path

    def others(run: Callable[[], None]) -> float | None:
        before = fleet.usage()
        run()
        after = fleet.usage()
        return None if before is None or after is None else after.others_since(before)

    return measure_long(
        predictor, port, questions, paths=paths, repeats=options.repeats, others=others
    )


def _machine() -> str:
    model = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{os.cpu_count()} processors, {model}, {platform.system()}"
