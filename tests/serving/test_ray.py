"""Beyond one process with a real Ray on this machine: replicas that die, data sets in parts."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perfcast.errors import InvalidInput, MissingExtra, NotReady, PerfcastError
from perfcast.serving import folders
from perfcast.serving import ray as ray_serving
from perfcast.serving.app import create_app
from perfcast.serving.folders import predict_folder
from perfcast.serving.predictor import GemmPredictor
from perfcast.serving.ray import Replica
from perfcast.serving.row_groups import split_row_groups
from perfcast.settings import Settings
from tests.cli.helpers import perfcast
from tests.serving.lifespan import started
from tests.standin import questions, write_standin

ROOT = Path(__file__).parents[2]
REPLICAS = 2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Ray on this machine for the whole module: starting one takes seconds."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'perfcast[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("RAY_AUTH_TOKEN", os.urandom(32).hex())  # else one is kept in the home folder
        patch.setenv("PYTHONPATH", str(ROOT))  # for the workers
        for left in (2, 1, 0):
            try:
                ray.init(
                    address="local",
                    num_cpus=4,
                    include_dashboard=False,
                    object_store_memory=80 * 2**20,
                    log_to_driver=False,
                    logging_level="ERROR",
                )
                break
            except Exception as error:  # it gives itself 30 seconds, which may be too few
                if not left or "timed out during startup" not in str(error):
                    raise
                ray.shutdown()
            with warnings.catch_warnings():  # of processes that it has not waited for
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
        yield ray
        ray.shutdown()


@pytest.fixture(scope="module")
def address(cluster: Any, models_dir: Path) -> Iterator[str]:
    """The service with two replicas behind Ray Serve's proxy."""
    from ray import serve

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    settings = Settings(models_dir=models_dir, reload_s=0)
    serve.run(ray_serving.service(replicas=REPLICAS, cpus=0.5, settings=settings))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def replicas(ray: Any) -> set[str]:
    """The names of the actors that answer requests."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return {
        each["name"] for each in named if each["name"].startswith("SERVE_REPLICA::default#perfcast")
    }


def body(*, m: int) -> dict[str, Any]:
    return {"rows": [{"gpu": "h200_sxm", "dtype": "fp8", "m": m, "n": 4096, "k": 4096}]}


def test_every_door_is_open(address: str) -> None:
    with httpx.Client(base_url=address, timeout=30) as client:
        assert client.get("/readyz").json()["models"] == ["gemm@standin"]
        assert client.get("/v2/models/gemm/ready").status_code == 200
        assert client.get("/").headers["content-type"].startswith("text/html")
        refused = client.post("/v1/gemm/predict", json=body(m=0))
        assert refused.status_code == 422
        assert refused.json()["error"]["problems"][0]["field"] == "m"


class Load(threading.Thread):
    """One client that asks question after question, and asks again what was not answered."""

    def __init__(self, address: str, first: int) -> None:
        super().__init__()
        self.answers: dict[int, float] = {}
        self.again = 0
        self.unexpected: list[str] = []
        self.enough = threading.Event()
        self._address = address
        self._first = first

    def run(self) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as client:
            m = self._first
            while not self.enough.is_set() and not self.unexpected:
                self._ask(client, m)
                m += 1

    def _ask(self, client: httpx.Client, m: int) -> None:
        for _ in range(50):
            try:
                answer = client.post("/v1/gemm/predict", json=body(m=m))
            except httpx.TransportError:
                pass
            else:
                if answer.status_code == 200:
                    self.answers[m] = answer.json()["rows"][0]["latency_ms"]
                    return
                if answer.status_code not in {500, 503}:
                    break
            self.again += 1
            time.sleep(0.1)
        self.unexpected.append(f"{m}: never answered")


def test_a_killed_replica_costs_no_answer(cluster: Any, address: str, gemm: GemmPredictor) -> None:
    before = replicas(cluster)
    assert len(before) == REPLICAS
    clients = [Load(address, 1 + 100_000 * at) for at in range(4)]
    for client in clients:
        client.start()
    try:
        _until(lambda: all(len(client.answers) > 20 for client in clients))
        victim = sorted(before)[0]
        cluster.kill(cluster.get_actor(victim, namespace="serve"))
        killed_at = [len(client.answers) for client in clients]
        _until(lambda: len(replicas(cluster) - {victim}) == REPLICAS)
        _until(
            lambda: all(
                len(client.answers) > count + 20
                for client, count in zip(clients, killed_at, strict=True)
            )
        )
    finally:
        for client in clients:
            client.enough.set()
        for client in clients:
            client.join(timeout=60)
    assert [client.unexpected for client in clients] == [[]] * len(clients)
    answers = {m: value for client in clients for m, value in client.answers.items()}
    asked = sorted(answers)
    expected = gemm.predict(gpu="h200_sxm", dtype="fp8", m=np.array(asked), n=4096, k=4096)
    for m, value in zip(asked, expected["latency_ms"].value.tolist(), strict=True):
        assert answers[m] == pytest.approx(value, rel=1e-6)


def test_a_stopping_service_finishes_what_it_accepted(cluster: Any, address: str) -> None:
    """A request whose body is still on its way when the application is deleted is answered."""
    from ray import serve

    sent, go_on = threading.Event(), threading.Event()
    text = json.dumps(body(m=7)).encode()
    statuses: list[int] = []

    def slowly() -> Iterator[bytes]:
        yield text[:20]
        sent.set()
        assert go_on.wait(60)
        yield text[20:]

    def ask() -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            headers = {"content-type": "application/json"}
            answer = client.post("/v1/gemm/predict", content=slowly(), headers=headers)
            statuses.append(answer.status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert sent.wait(30)
        time.sleep(1.0)  # for the proxy to pass it on
        deleting = threading.Thread(target=serve.delete, args=("default",))
        deleting.start()
        _until(lambda: httpx.get(f"{address}/readyz", timeout=30).status_code != 200)
        assert deleting.is_alive(), "gone without waiting for the request"
    finally:
        go_on.set()
    asking.join(timeout=60)
    deleting.join(timeout=60)
    assert statuses == [200]
    assert replicas(cluster) == set()


def test_health_is_readiness(models_dir: Path, tmp_path: Path) -> None:
    async def checked(folder: Path) -> None:
        replica = Replica()
        replica.app = create_app(Settings(models_dir=folder, reload_s=0))
        with pytest.raises(NotReady, match="/readyz answers 503"):
            await replica.check_health()
        async with started(replica.app):
            await replica.check_health()

    asyncio.run(checked(models_dir))
    with pytest.raises(NotReady):
        asyncio.run(checked(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"replica": "2"}, "replica: unknown argument; did you mean 'replicas'"),
        ({"replicas": "0"}, "replicas: must be a whole number from 1 to 10000, not '0'"),
        ({"replicas": 1.5}, "not 1.5"),
        ({"cpus": "nan"}, "cpus: must be a number from 0 to 1024, not 'nan'"),
        ({"cpus": "one"}, "not 'one'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ray_serving.app(arguments)


def test_arguments_reach_the_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_serving, "service", lambda **values: asked.append(values))
    ray_serving.app({"replicas": "3", "cpus": "0.5"})
    ray_serving.app({"replicas": 2})
    ray_serving.app({})
    assert asked == [{"replicas": 3, "cpus": 0.5}, {"replicas": 2}, {}]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of two files and 260 rows, five of which are no questions."""
    columns: dict[str, list[Any]] = {
        name: values.tolist() for name, values in questions(260).items()
    }
    columns["m"][3], columns["n"][77], columns["k"][200] = 0, None, -1
    columns["gpu"][10], columns["dtype"][259] = "h2000", None
    table = pa.table({"id": range(260), **columns})
    (tmp_path / "q" / "more").mkdir(parents=True)
    pq.write_table(table.slice(0, 200), tmp_path / "q" / "a.parquet", row_group_size=20)
    pq.write_table(table.slice(200), tmp_path / "q" / "more" / "b.parquet")
    monkeypatch.setattr(folders, "PART_ROWS", 50)
    return tmp_path / "q"


def rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.parquet"), key=lambda path: path.relative_to(folder).as_posix())
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.mark.usefixtures("use_standin")
def test_a_data_set_is_answered_as_it_is_here(cluster: Any, source: Path, tmp_path: Path) -> None:
    asked = ("predict", "gemm", "--input", str(source), "--json", "--output")
    done = perfcast(*asked, str(tmp_path / "far"), "--ray")
    here = perfcast(*asked, str(tmp_path / "here"))
    assert (done.status, here.status) == (3, 3), done
    assert done.json == {**here.json, "output": str(tmp_path / "far")}
    assert (done.json["rows"], done.json["invalid"]) == (260, 5)
    assert len(list((tmp_path / "far").rglob("*.parquet"))) == 5, "the larger file was cut in four"
    answers = rows(tmp_path / "far")
    assert answers == rows(tmp_path / "here")
    assert [row["id"] for row in answers] == list(range(260))
    for at in (3, 10, 77, 200, 259):
        assert answers[at]["status"] == "invalid"
        assert answers[at]["latency_ms"] is None
        assert answers[at]["reasons"]


@pytest.mark.usefixtures("use_standin")
def test_a_bad_file_is_named_and_nothing_is_left(
    cluster: Any, source: Path, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"gpu": ["l4"], "m": [1]}), source / "c.parquet")
    done = perfcast(
        "predict", "gemm", "--input", str(source), "--output", str(tmp_path / "a"), "--ray"
    )
    assert done.status == 2
    assert "c.parquet: lacks the column 'dtype'" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["q"]


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds workers through /proc")
def test_a_killed_worker_costs_no_row(
    cluster: Any, gemm: GemmPredictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perfcast.serving.ray_data import run_on_ray

    columns = {name: values.tolist() for name, values in questions(60_000).items()}
    pq.write_table(
        pa.table({"id": range(60_000), **columns}), tmp_path / "q.parquet", row_group_size=2_000
    )
    monkeypatch.setattr(folders, "PART_ROWS", 2_000)
    killed: list[int] = []

    def kill_one(_rows: int) -> None:
        if not killed:
            killed.append(_workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    report = predict_folder(
        gemm,
        tmp_path / "q.parquet",
        tmp_path / "a",
        run=run_on_ray,
        split=split_row_groups,
        on_rows=kill_one,
    )
    assert killed
    assert report.rows == 60_000
    assert [row["id"] for row in rows(tmp_path / "a")] == list(range(60_000))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def _workers() -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                title = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::MapWorker(MapBatches(Answerer))"):
                found.append(int(folder.name))
    return found


def test_another_model_than_the_job_began_with_is_refused(tmp_path: Path) -> None:
    from perfcast.serving.ray_data import Answerer

    first = write_standin(tmp_path)
    worker = Answerer(
        folder=str(first.path), task="gemm", model_sha256=str(first.card["model_sha256"])
    )
    write_standin(tmp_path, slower=2.0)
    columns = {
        "source": np.array([str(tmp_path / "q.csv")]),
        "target": np.array([str(tmp_path / "a.csv")]),
        "first": np.array([-1]),
        "behind": np.array([-1]),
    }
    (outcome,) = worker(columns)["outcome"]
    assert json.loads(outcome)["error"] == "BundleError"
    assert "not the model that the job began with" in outcome


def test_a_ray_that_cannot_be_reached_is_told(
    tmp_path: Path, gemm: GemmPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'perfcast[ray]'")
    from perfcast.serving.ray_data import run_on_ray

    def fail(**_options: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(PerfcastError, match=r"no Ray to work with: The current node timed out"):
        next(run_on_ray(gemm, [], lambda _rows: None))


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perfcast.serving.ray_data import run_on_ray

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtra, match=r"perfcast\[ray\]"):
        ray_serving.service()
    bundle = write_standin(tmp_path)
    with pytest.raises(MissingExtra, match=r"perfcast\[ray\]"):
        next(run_on_ray(GemmPredictor(bundle, _gemm_task()), [], lambda _rows: None))


def _gemm_task() -> Any:
    from perfcast.features.tasks import TASKS

    return TASKS["gemm"]


def _until(reached: Any, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
