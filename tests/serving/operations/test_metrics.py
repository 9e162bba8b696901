"""Counts, their Prometheus form, and what several processes know of each other."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from perfcast.serving.operations.exposition import exposition
from perfcast.serving.operations.metrics import BOUNDS_S, Metrics, Model, resident_bytes
from perfcast.serving.operations.sharing import Shared
from perfcast.serving.tally import observe


def made() -> Metrics:
    metrics = Metrics(models=lambda: [Model("gemm", "7")], ready=lambda: True)
    series = metrics.series("/v1/gemm/predict", "gemm")
    for seconds in (0.00005, 0.0003, 0.0003, 100.0):
        series.answered(200, seconds)
    series.answered(422, 0.0003)
    metrics.refuse("Overloaded")
    metrics.running, metrics.waiting_bytes = 3, 40
    return metrics


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in prometheus(text)
        for sample in family.samples
    }


def told(alive: list[Any], ended: list[Any]) -> dict[str, float]:
    """Each sample that the tests look at, as `name{label values}`."""
    found = samples(exposition(alive, ended, "")[0].decode())
    return {
        f"{name}{{{','.join(value for _, value in labels)}}}": number
        for (name, labels), number in found.items()
    }


def test_what_was_counted_is_told() -> None:
    observe("gemm", "gemm@test_metrics", np.array([0, 0, 2]))
    snapshot = made().snapshot()
    assert json.loads(json.dumps(snapshot)) == json.loads(json.dumps(snapshot))
    values = told([snapshot], [])
    assert values["perfcast_request_seconds_count{/v1/gemm/predict,gemm}"] == 5
    assert values["perfcast_request_seconds_bucket{0.0001,/v1/gemm/predict,gemm}"] == 1
    assert values["perfcast_request_seconds_bucket{0.0005,/v1/gemm/predict,gemm}"] == 4
    assert values["perfcast_request_seconds_bucket{30.0,/v1/gemm/predict,gemm}"] == 4
    assert values["perfcast_request_seconds_bucket{+Inf,/v1/gemm/predict,gemm}"] == 5
    assert values["perfcast_requests_total{/v1/gemm/predict,200}"] == 4
    assert values["perfcast_requests_total{/v1/gemm/predict,422}"] == 1
    assert values["perfcast_refused_total{Overloaded}"] == 1
    assert values["perfcast_rows_total{gemm@test_metrics,in_domain,gemm}"] == 2
    assert values["perfcast_rows_total{gemm@test_metrics,out_of_domain,gemm}"] == 1
    assert values["perfcast_model_loaded{gemm,7}"] == 1
    assert values["perfcast_requests_running{}"] == 3
    assert values["perfcast_waiting_bytes{}"] == 40
    assert values[f"perfcast_worker_resident_bytes{{{os.getpid()}}}"] > 2**20


def test_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics(models=list, ready=lambda: True)
    series = metrics.series("/", "")
    for bound in BOUNDS_S:
        series.answered(200, bound)
    assert series.counts == [1] * len(BOUNDS_S) + [0]


def test_processes_add_up_and_the_dead_still_count() -> None:
    snapshot = made().snapshot()
    values = told([snapshot, {**snapshot, "pid": 1}], [{**snapshot, "pid": 2}])
    assert values["perfcast_request_seconds_count{/v1/gemm/predict,gemm}"] == 15
    assert values["perfcast_refused_total{Overloaded}"] == 3
    assert values["perfcast_workers{}"] == 2
    assert values["perfcast_requests_running{}"] == 6
    assert values["perfcast_model_loaded{gemm,7}"] == 2
    assert "perfcast_worker_resident_bytes{2}" not in values


def test_openmetrics_for_whoever_asks() -> None:
    body, content_type = exposition(
        [made().snapshot()], [], "application/openmetrics-text; version=1.0.0"
    )
    assert content_type.startswith("application/openmetrics-text")
    families = openmetrics(body.decode())  # type: ignore[no-untyped-call]
    assert {family.name for family in families} >= {
        "perfcast_request_seconds", "perfcast_build",
    }  # fmt: skip


def test_memory_is_told_where_the_system_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = resident_bytes()

    def closed(*_: object) -> Any:
        raise OSError

    monkeypatch.setattr("builtins.open", closed)
    assert resident_bytes() > now / 10


def test_alone_there_is_nothing_to_share() -> None:
    metrics = made()
    (alive,), ended = Shared(None, metrics.snapshot).collect()
    assert alive["running"] == 3
    assert ended == []


def test_each_sees_all(tmp_path: Path) -> None:
    first, second = made(), made()

    async def scene() -> None:
        one, two = (Shared(tmp_path, metrics.snapshot) for metrics in (first, second))
        async with one.keeping():
            await asyncio.sleep(0)
            assert len(two.collect()[0]) == 2
            first.running = 9
        # its last words are kept, and are newer than what was told before
        assert sorted(snapshot["running"] for snapshot in two.collect()[0]) == [3, 9]

    asyncio.run(scene())


def test_counters_never_go_back_whoever_is_asked(tmp_path: Path) -> None:
    first, second = made(), made()
    one, two = (Shared(tmp_path, metrics.snapshot) for metrics in (first, second))
    last = 0.0
    for round_ in range(6):
        first.series("/v1/gemm/predict", "gemm").answered(200, 0.1)
        asked = (one, two)[round_ % 2]
        total = told(*asked.collect())["perfcast_requests_total{/v1/gemm/predict,200}"]
        assert total >= last
        last = total


def test_a_process_that_ended_is_told_apart(tmp_path: Path) -> None:
    snapshot = {**made().snapshot(), "pid": 2**22 + 1}  # beyond any process number
    (tmp_path / "gone.json").write_text(json.dumps(snapshot))
    alive, ended = Shared(tmp_path, made().snapshot).collect()
    assert (len(alive), len(ended)) == (1, 1)


def test_without_room_to_share_it_still_answers(tmp_path: Path) -> None:
    (own,), ended = Shared(tmp_path / "gone", made().snapshot).collect()
    assert (own["running"], ended) == (3, [])
