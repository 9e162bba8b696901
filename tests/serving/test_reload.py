"""The service follows its models directory while it answers, and never stumbles over it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.serving.registry import Changes, Registry
from perfcast.serving.reload import watching
from perfcast.settings import Settings
from tests.service import running
from tests.standin import latency_ms, write_standin

ROW: dict[str, Any] = {"gpu": "h200_sxm", "dtype": "fp8", "m": 64, "n": 64, "k": 64}
PREDICT = "/v1/gemm/predict"
RELOADS = 100
SPEEDS = 5


def put(folder: Path, number: int, place: str) -> None:
    """Version `number`, newer than all before; its latencies say which one it is, modulo 5."""
    write_standin(
        folder,
        version=str(number),
        place=place,
        slower=slowness(number),
        created=f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z",
    )


def slowness(number: int) -> float:
    return 1.0 + number % SPEEDS


async def until(wanted: Any) -> None:
    deadline = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def test_what_is_new_is_taken_up_in_another_thread(tmp_path: Path) -> None:
    registry, threads = Registry(), set()
    refresh = registry.refresh

    def watched() -> Changes:
        threads.add(threading.get_ident())
        return refresh()

    registry.refresh = watched  # type: ignore[method-assign]  # to see where it runs

    async def run() -> None:
        registry.load_all(tmp_path)
        async with watching(registry, 0.01):
            assert not registry.ready
            put(tmp_path, 1, "gemm")
            await until(lambda: registry.ready)
            put(tmp_path, 2, "gemm")
            await until(lambda: registry.versions("gemm") == ("2",))
        threads.add(0)
        put(tmp_path, 3, "gemm")
        await asyncio.sleep(0.05)

    asyncio.run(run())
    assert registry.versions("gemm") == ("2",)
    assert threading.get_ident() not in threads and len(threads) > 1


def test_with_zero_nobody_looks(tmp_path: Path) -> None:
    async def run() -> int:
        async with watching(Registry(), 0):
            return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1


def test_a_look_that_fails_is_not_the_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def refresh(self: Registry) -> Changes:
        looks.append(self)
        if len(looks) == 1:
            raise OSError("stale file handle")
        return Changes()

    monkeypatch.setattr(Registry, "refresh", refresh)

    async def run() -> None:
        async with watching(Registry(), 0.001):
            await until(lambda: len(looks) > 2)

    with caplog.at_level(logging.ERROR, "perfcast"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == ["looking for new models failed"]


class Rest:
    """`rows` questions in one request over REST."""

    def __init__(self, rows: int) -> None:
        questions = [{**ROW, "m": 64 + at} for at in range(rows)]
        self.path, self.body = PREDICT, {"rows": questions}
        self.floors = np.array([latency_ms(**row) for row in questions])

    def read(self, answer: Any) -> tuple[set[str], NDArray[np.float64]]:
        """The models that the answer names, and its latencies."""
        models = {answer["model"], *(row["model"] for row in answer["rows"])}
        return models, np.array([row["latency_ms"] for row in answer["rows"]])


class Protocol:
    """A question in the Open Inference Protocol."""

    path = "/v2/models/gemm/infer"

    def __init__(self) -> None:
        inputs = [
            {
                "name": name,
                "shape": [1],
                "datatype": "BYTES" if isinstance(value, str) else "INT64",
                "data": [value],
            }
            for name, value in ROW.items()
        ]
        self.body = {"inputs": inputs, "outputs": [{"name": "latency_ms"}]}
        self.floors = np.array([latency_ms(**ROW)])

    def read(self, answer: Any) -> tuple[set[str], NDArray[np.float64]]:
        """The same of this protocol's answer."""
        (output,) = answer["outputs"]
        return {f"{answer['model_name']}@{answer['model_version']}"}, np.array(output["data"])


class Askers:
    """Threads that ask again and again, each in its own way, and keep a record."""

    def __init__(self, address: str, *questions: Rest | Protocol) -> None:
        self.answers = 0
        self.wrong: list[str] = []
        self._address = address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(each,)) for each in questions]

    @contextmanager
    def asking(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(timeout=60)

    def _ask(self, question: Rest | Protocol) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as client:
            while not self._stop.is_set():
                try:
                    problem = _problem(client.post(question.path, json=question.body), question)
                except httpx.HTTPError as error:
                    problem = repr(error)
                if problem:
                    self.wrong.append(problem)
                self.answers += 1
                time.sleep(0.002)  # the service runs in this process, and must get its turns


def _problem(response: httpx.Response, question: Rest | Protocol) -> str:
    """What is wrong: a status, or values that the model that is named does not give."""
    if response.status_code != 200:
        return f"{response.status_code} {response.text}"
    models, found = question.read(response.json())
    if len(models) != 1:
        return f"one answer of {models}"
    (model,) = models
    factor = slowness(int(model.removeprefix("gemm@")))
    if not np.allclose(found, factor * question.floors, rtol=1e-5, atol=0.0):
        return f"not what {model} answers: {found / question.floors}"
    return ""


def half_written(folder: Path, number: int) -> None:
    """A bundle of which the card is there and the model is not yet whole."""
    target = folder / "gemm" / f"half-{number}"
    put(folder, number, target.name)
    (folder / target.name).rename(target)
    model = target / "model.onnx"
    data = model.read_bytes()
    model.write_bytes(data[: len(data) * (number % 7) // 7])


def test_a_hundred_reloads_under_load(tmp_path: Path) -> None:
    put(tmp_path, 0, "gemm")
    settings = Settings(models_dir=tmp_path, reload_s=0.01)
    with running(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        askers = Askers(address, Rest(1), Rest(40), Rest(600), Protocol())
        with askers.asking():
            for number in range(1, RELOADS + 1):
                if number % 4 == 0:  # in place of the one in the task's folder
                    put(tmp_path, number, "gemm")
                else:
                    put(tmp_path, number, f"gemm/{number}")
                    shutil.rmtree(tmp_path / "gemm" / f"{number - 4}", ignore_errors=True)
                if number % 10 == 5:
                    half_written(tmp_path, 1_000 + number)
                deadline = time.monotonic() + 30
                while client.get("/v1/models").json()[0]["version"] != str(number):
                    assert time.monotonic() < deadline, number
                    time.sleep(0.005)
        listed = [each["version"] for each in client.get("/v1/models").json()]
    assert askers.wrong == []
    assert askers.answers > RELOADS
    assert listed[0] == str(RELOADS) and all(int(version) <= RELOADS for version in listed)


def test_a_request_in_flight_finishes_on_the_model_it_began_with(tmp_path: Path) -> None:
    """The reload is over before the answer is: that is still the old model's, and whole."""
    put(tmp_path, 1, "gemm")
    registry = Registry()
    registry.load_all(tmp_path)
    held = registry.get("gemm")

    async def run() -> str:
        rows = {**ROW, "m": list(range(1, 40_001))}
        asked = asyncio.create_task(held.answer_columns(rows))
        await asyncio.sleep(0)
        put(tmp_path, 2, "gemm")
        changes = await asyncio.to_thread(registry.refresh)
        assert changes.removed == ("gemm@1",) and not asked.done()
        answer = await asked
        expected = slowness(1) * latency_ms(**{**ROW, "m": 40_000})
        assert answer["latency_ms"].value[-1] == pytest.approx(expected, rel=1e-5)
        return answer.model

    assert asyncio.run(run()) == "gemm@1"
    assert registry.versions("gemm") == ("2",)
