"""Snapshots of one or more processes as the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder

import perfcast
from perfcast.prediction import STATUSES
from perfcast.serving.operations.metrics import BOUNDS_S

__all__ = ["exposition"]

Snapshot = Mapping[str, Any]


def exposition(
    alive: Sequence[Snapshot], ended: Sequence[Snapshot], accept: str
) -> tuple[bytes, str]:
    """The document and its content type, for a client that sends the header `accept`.

    Counters are sums over all processes, also those that `ended`, so that they never go back;
    what is true now comes from those `alive`.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_counted([*alive, *ended]), *_now(alive)]))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Once:
    """What a registry collects from."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counted(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    counts: dict[tuple[str, str], list[int]] = {}
    seconds: dict[tuple[str, str], float] = {}
    statuses: dict[tuple[str, str], int] = {}
    refused: dict[str, int] = {}
    rows: dict[tuple[str, str], list[int]] = {}
    for snapshot in snapshots:
        for route, task, found, spent, ended in snapshot["requests"]:
            key = (route, task)
            counts[key] = _added(counts.get(key), found)
            seconds[key] = seconds.get(key, 0.0) + spent
            for status, number in ended:
                statuses[route, str(status)] = statuses.get((route, str(status)), 0) + number
        for reason, number in snapshot["refused"]:
            refused[reason] = refused.get(reason, 0) + number
        for task, model, found in snapshot["rows"]:
            rows[task, model] = _added(rows.get((task, model)), found)

    latency = HistogramMetricFamily(
        "perfcast_request_seconds",
        "Time from the head of a request to the end of its answer, by route and task",
        labels=["route", "task"],
    )
    for key, found in counts.items():
        latency.add_metric(key, _cumulative(found), sum_value=seconds[key])
    yield latency

    requests = CounterMetricFamily(
        "perfcast_requests", "Requests answered, by route and status", labels=["route", "status"]
    )
    for labels, number in statuses.items():
        requests.add_metric(labels, number)
    yield requests

    turned_away = CounterMetricFamily(
        "perfcast_refused", "Requests refused before they got to a route", labels=["reason"]
    )
    for reason, number in refused.items():
        turned_away.add_metric([reason], number)
    yield turned_away

    answered = CounterMetricFamily(
        "perfcast_rows", "Rows answered, by model and status", labels=["task", "model", "status"]
    )
    for (task, model), found in rows.items():
        for status, number in zip(STATUSES, found, strict=True):
            answered.add_metric([task, model, status], number)
    yield answered


def _now(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    build = InfoMetricFamily("perfcast_build", "The version that runs")
    build.add_metric([], {"version": perfcast.__version__})
    yield build

    models = GaugeMetricFamily(
        "perfcast_model_loaded",
        "Processes in which a version of a task's model answers",
        labels=["task", "version"],
    )
    loaded: dict[tuple[str, str], int] = {}
    for snapshot in snapshots:
        for task, version in snapshot["models"]:
            loaded[task, version] = loaded.get((task, version), 0) + 1
    for labels, number in loaded.items():
        models.add_metric(labels, number)
    yield models

    for name, about, value in (
        ("perfcast_workers", "Processes that answer", len(snapshots)),
        ("perfcast_workers_ready", "Processes that take new requests", _sum(snapshots, "ready")),
        ("perfcast_requests_running", "Requests being answered", _sum(snapshots, "running")),
        ("perfcast_requests_arriving", "Requests on their way in", _sum(snapshots, "arriving")),
        (
            "perfcast_waiting_bytes",
            "Bytes of request bodies held in memory",
            _sum(snapshots, "waiting_bytes"),
        ),
    ):
        gauge = GaugeMetricFamily(name, about)
        gauge.add_metric([], value)
        yield gauge

    for key, name, about in (
        ("resident_bytes", "perfcast_worker_resident_bytes", "Memory of a process in RAM"),
        ("started", "perfcast_worker_start_seconds", "When a process started, in Unix time"),
    ):
        per_worker = GaugeMetricFamily(name, about, labels=["pid"])
        for snapshot in snapshots:
            per_worker.add_metric([str(snapshot["pid"])], snapshot[key])
        yield per_worker
    cpu = CounterMetricFamily(
        "perfcast_worker_cpu_seconds", "Processor time a process has used", labels=["pid"]
    )
    for snapshot in snapshots:
        cpu.add_metric([str(snapshot["pid"])], snapshot["cpu_seconds"])
    yield cpu


def _added(total: list[int] | None, more: Sequence[int]) -> list[int]:
    return list(more) if total is None else [a + b for a, b in zip(total, more, strict=True)]


def _sum(snapshots: Sequence[Snapshot], key: str) -> int:
    return sum(int(snapshot[key]) for snapshot in snapshots)


def _cumulative(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them: each holds all that were as fast or faster."""
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
