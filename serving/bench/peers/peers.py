"""Who is measured: the servers, how each is installed and started, and what each is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import perfcast
from perfcast.serving.bench.peers.processes import free_port

__all__ = ["SERVERS", "TARGETS", "Server", "Start", "Target"]

_PROGRAMS: Final = Path(__file__).resolve().parent / "programs"
_NEWEST: Final = (3, 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How to start a server: a command, and what to add to its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server process (with its children), and where it comes from.

    `requirements` are installed into an environment of the server's own, together with the
    onnxruntime that perfcast has; without any, it runs in the environment of this process.
    `packages` are those whose versions matter. `start` is given the environment's Python, a port
    and an empty folder. `ready` is a path that answers 200 once it may be asked.
    """

    name: str
    requirements: tuple[str, ...] = ()
    newest_python: tuple[int, int] = _NEWEST
    packages: tuple[str, ...]
    start: Callable[[Path, int, Path], Start]
    ready: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One door of a server. `form` names how it is asked; None is a GET without a body."""

    name: str
    label: str
    server: str
    path: str
    form: str | None


def _fastapi(python: Path, port: int, _folder: Path) -> Start:
    return Start(
        command=(
            str(python.parent / "uvicorn"), "fastapi_app:app", "--app-dir", str(_PROGRAMS),
            "--port", str(port), "--loop", "uvloop", "--http", "httptools", "--workers", "1",
            "--no-access-log", "--log-level", "warning",
        ),
        environment={},
    )  # fmt: skip


def _mlserver(python: Path, port: int, folder: Path) -> Start:
    """Without parallel workers the model runs in the server's process: faster for small models."""
    settings = {
        "debug": False, "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(),
        "metrics_endpoint": None, "parallel_workers": 0, "gzip_enabled": False,
    }  # fmt: skip
    model = {"name": "gemm", "implementation": "mlserver_runtime.Gemm"}
    _write_json(folder / "settings.json", settings)
    _write_json(folder / "model-settings.json", model)
    return Start(
        command=(str(python.parent / "mlserver"), "start", str(folder)),
        environment={"PYTHONPATH": str(_PROGRAMS)},
    )


def _bentoml(python: Path, port: int, folder: Path) -> Start:
    return Start(
        command=(
            str(python.parent / "bentoml"), "serve", "bentoml_service:Gemm",
            "--working-dir", str(_PROGRAMS), "--host", "127.0.0.1", "--port", str(port),
        ),
        environment={"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"},
    )  # fmt: skip


def _perfcast(*options: str) -> Callable[[Path, int, Path], Start]:
    def start(python: Path, port: int, _folder: Path) -> Start:
        return Start(
            command=(
                str(python), "-c", "from perfcast.cli import main; main()",
                "serve", "--host", "127.0.0.1", "--port", str(port), *options,
            ),
            # the very perfcast that runs this, be it installed or a checkout
            environment={"PYTHONPATH": str(Path(perfcast.__file__).resolve().parent.parent)},
        )  # fmt: skip

    return start


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


_OURS: Final = ("onnxruntime", "fastapi", "uvicorn", "uvloop", "httptools")

SERVERS: Final[tuple[Server, ...]] = (
    Server(
        name="fastapi",
        requirements=("fastapi>=0.115,<1", "uvicorn>=0.30,<1", "uvloop>=0.21,<1", "httptools<1"),
        packages=("fastapi", "pydantic", "uvicorn", "onnxruntime"),
        start=_fastapi,
        ready="/empty",
    ),
    Server(
        name="mlserver",
        # httptools is not among its requirements, but faster than what it would use
        requirements=("mlserver>=1.7,<2", "httptools<1"),
        newest_python=(3, 12),
        packages=("mlserver", "fastapi", "onnxruntime"),
        start=_mlserver,
        ready="/v2/models/gemm/ready",
    ),
    Server(
        name="bentoml",
        requirements=("bentoml>=1.4,<2", "uvloop>=0.21,<1", "httptools<1"),
        packages=("bentoml", "uvicorn", "onnxruntime"),
        start=_bentoml,
        ready="/readyz",
    ),
    Server(name="perfcast", packages=_OURS, start=_perfcast(), ready="/v2/health/ready"),
    Server(
        name="perfcast-two",
        packages=_OURS,
        start=_perfcast("--workers", "2"),
        ready="/v2/health/ready",
    ),
)

_INFER: Final = "/v2/models/gemm/infer"

TARGETS: Final[tuple[Target, ...]] = (
    Target(
        name="binary", label="perfcast, /v2 binary", server="perfcast", path=_INFER, form="binary"
    ),
    Target(
        name="empty", label="FastAPI, empty GET route", server="fastapi", path="/empty", form=None
    ),
    Target(
        name="pydantic", label="FastAPI, pydantic route", server="fastapi", path="/predict",
        form="row",
    ),
    Target(
        name="two", label="perfcast, /v2 binary, 2 workers", server="perfcast-two", path=_INFER,
        form="binary",
    ),
    Target(name="mlserver", label="MLServer", server="mlserver", path=_INFER, form="tensors"),
    Target(name="bentoml", label="BentoML", server="bentoml", path="/predict", form="row"),
    Target(
        name="tensors", label="perfcast, /v2 JSON", server="perfcast", path=_INFER, form="tensors"
    ),
    Target(
        name="rows", label="perfcast, /v1 JSON", server="perfcast", path="/v1/gemm/predict",
        form="rows",
    ),
)  # fmt: skip
"""In the order in which they are measured: those that a bar compares stand together."""
