"""`/v1/tasks` tells what may be asked; `/v1/{task}/roofline` what the data sheet alone says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from perfcast.features.hardware import GPUS, supports
from perfcast.features.tasks import DTYPES, TASKS
from perfcast.serving.task_info import TaskInfo, task_info
from tests.conftest import MAX_ROWS

ROOFLINE = "/v1/gemm/roofline"
ROW = {"gpu": "h200_sxm", "dtype": "fp8", "m": 4096, "n": 4096, "k": 8192}


def ask(client: httpx.Client, *rows: dict[str, Any]) -> list[float | None]:
    response = client.post(ROOFLINE, json={"rows": rows})
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == {"roofline_ms"}
    answers: list[float | None] = body["roofline_ms"]
    return answers


def test_tasks_are_listed(client: httpx.Client) -> None:
    listed = client.get("/v1/tasks").json()
    assert [TaskInfo.model_validate(item) for item in listed] == [
        task_info(task) for task in TASKS.values()
    ]


def test_one_task(client: httpx.Client) -> None:
    assert client.get("/v1/tasks/gemm").json() == client.get("/v1/tasks").json()[0]
    response = client.get("/v1/tasks/gem")
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "UnknownTask"
    assert "gemm" in response.json()["error"]["message"]


def test_every_path_that_a_task_tells_is_in_the_document(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for info in map(TaskInfo.model_validate, client.get("/v1/tasks").json()):
        for route in (info.roofline, info.recommend):
            assert route is None or "post" in paths[route.path]
        assert "post" in paths[info.predict]
    assert {"/v1/tasks", "/v1/tasks/{task}"} <= set(paths)


def test_roofline_by_hand(client: httpx.Client) -> None:
    large, small = ask(client, ROW, {**ROW, "m": 1, "framework": "vllm"})
    gpu = GPUS["h200_sxm"]
    assert gpu.peak_fp8_tflops is not None
    compute_ms = 2 * 4096 * 4096 * 8192 / (gpu.peak_fp8_tflops * 1e9)
    assert large == pytest.approx(compute_ms, rel=1e-6)
    moved = 8192 + 4096 * 8192 + 2 * 4096
    assert small == pytest.approx(moved / (gpu.memory_bandwidth_gb_per_s * 1e6), rel=1e-6)


def test_roofline_is_null_just_where_the_hardware_lacks_the_dtype(client: httpx.Client) -> None:
    pairs = [(gpu, dtype) for gpu in GPUS for dtype in DTYPES]
    answers = ask(client, *({**ROW, "gpu": gpu, "dtype": dtype} for gpu, dtype in pairs))
    for (gpu, dtype), answer in zip(pairs, answers, strict=True):
        assert (answer is not None) == supports(gpu, dtype)
        assert answer is None or answer > 0
    assert None in answers


def test_long_batches_keep_their_order(client: httpx.Client) -> None:
    rows = [{**ROW, "m": m, "gpu": ("l4", "h200_sxm")[m % 2]} for m in range(1, MAX_ROWS + 1)]
    answers = ask(client, *rows)
    assert [answers[776], answers[777]] == ask(client, rows[776], rows[777])


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"rows": [ROW, {**ROW, "m": 0}]}, 422, "m"),
        ({"rows": [{**ROW, "gpu": "h200"}]}, 422, "gpu"),
        ({"rows": [{**ROW, "tile": 1}]}, 422, "tile"),
        ({"rows": []}, 422, "rows"),
        ({"row": []}, 422, "row"),
        ({"rows": [ROW] * (MAX_ROWS + 1)}, 413, None),
    ],
)
def test_bad_bodies_are_refused_as_predictions_are(
    client: httpx.Client, body: dict[str, Any], status: int, field: str | None
) -> None:
    response = client.post(ROOFLINE, json=body)
    assert response.status_code == status
    assert response.json() == client.post("/v1/gemm/predict", json=body).json()
    problems = response.json()["error"]["problems"]
    assert [problem["field"] for problem in problems] == ([field] if field else [])


def test_tasks_without_a_roofline_say_so(client: httpx.Client) -> None:
    response = client.post("/v1/gem/roofline", json={"rows": [ROW]})
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "UnknownTask"
