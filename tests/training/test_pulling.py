"""A bundle comes out of an MLflow registry whole and verified, or leaves no trace."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from mlflow import MlflowClient

import perfcast as package
from perfcast.bundle import Bundle
from perfcast.errors import DataError
from perfcast.training.pulling import fetch, parse_model_uri
from perfcast.training.tracking import MODEL_TAG, Tracker
from tests.cli.helpers import Outcome, perfcast
from tests.standin import write_standin

METRIC = "error"
CARD_AND_MODEL = ("card.json", "model.onnx")
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def original(store: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store in which version 1 of `mine` was registered, then 2, the champion, then a worse 3."""
    folder = tmp_path_factory.mktemp("original")
    tracker = Tracker(experiment="pulling", uri=store)
    for version, error in (("1", 2.0), ("2", 1.0), ("3", 3.0)):
        bundle = write_standin(folder / version, version=version, slower=float(version))
        with tracker.run(version, parameters={}, data_fingerprint="f", split="s") as run:
            run.log_metrics({METRIC: error})
            run.log_bundle(bundle)
            run.register("mine", METRIC, error)
    return store


@pytest.fixture
def models_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that has version 0 in the task's own folder."""
    folder = tmp_path / "models"
    write_standin(folder, version="0")
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(folder))
    return folder


@pytest.fixture
def artifacts(original: str) -> Iterator[Path]:
    """The folder of version 2's artifacts, put back as it was at the end."""
    client = MlflowClient(tracking_uri=original, registry_uri=original)
    source = client.get_model_version_download_uri("mine", "2")
    folder = Path(unquote(urlsplit(source).path))
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
    kept.rename(folder)


def pull(store: str, uri: str = "models:/mine@champion") -> Outcome:
    return perfcast("models", "pull", uri, "--tracking-uri", store, "--json")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


UNTOUCHED = ["gemm/card.json", "gemm/model.onnx"]
INSTALLED = sorted([*UNTOUCHED, "gemm/2/card.json", "gemm/2/model.onnx"])


def test_the_champion_is_installed_beside_what_was_there(original: str, models_dir: Path) -> None:
    done = pull(original)
    target = models_dir / "gemm" / "2"
    assert done.json == {"model": "gemm@2", "folder": str(target), "new": True}
    assert (done.status, done.err) == (0, "")
    assert files(models_dir) == INSTALLED
    assert sorted(path.name for path in models_dir.iterdir()) == ["gemm"]
    assert Bundle.open(target).version == "2"
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o644}
    assert target.stat().st_mode & 0o777 == 0o755
    assert package.load("gemm", version="2", models_dir=models_dir).bundle.name == "gemm@2"


def test_a_version_by_its_number(original: str, models_dir: Path) -> None:
    assert pull(original, "models:/mine/3").json["model"] == "gemm@3"


def test_a_second_time_nothing_happens(original: str, models_dir: Path) -> None:
    pull(original)
    before = {path: path.stat() for path in models_dir.rglob("*")}
    done = pull(original)
    assert (done.status, done.json["new"]) == (0, False)
    assert {path: path.stat() for path in models_dir.rglob("*")} == before
    told = perfcast("models", "pull", "models:/mine@champion", "--tracking-uri", original)
    assert told.out.startswith("gemm@2 is already installed in ")


def test_another_model_of_the_same_version_is_refused(original: str, models_dir: Path) -> None:
    write_standin(models_dir, version="2", place="gemm/mine", slower=7.0)
    before = files(models_dir)
    done = pull(original)
    assert done.status == 1
    assert "gemm@2 is already installed with another model or card" in done.err
    assert files(models_dir) == before


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("models:/min@champion", "models:/min@champion: cannot be looked up in sqlite:///"),
        ("models:/mine@challenger", "challenger"),
        ("models:/mine/9", "models:/mine/9: cannot be looked up"),
    ],
)
def test_what_is_not_registered(original: str, models_dir: Path, uri: str, reason: str) -> None:
    done = pull(original, uri)
    assert done.status == 2
    assert reason in done.err and done.err.count("\n") == 1
    assert files(models_dir) == UNTOUCHED


def corrupt(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


def truncate(folder: Path) -> None:
    os.truncate(folder / "model.onnx", 1000)


def replace_both(folder: Path) -> None:
    """A bundle that is fine by itself, but not the one that was registered."""
    shutil.rmtree(folder)
    write_standin(folder.parent, version="2", place=folder.name, slower=9.0)


def failing_self_test(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    row = {"gpu": ["l4"], "dtype": ["fp8"], "m": [1], "n": [1], "k": [1]}
    card["self_test"] = {"inputs": row, "outputs": {"latency_ms": [1.0]}}
    (folder / "card.json").write_text(json.dumps(card))


def escape(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "version": "../../2"}))


def no_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (corrupt, "models:/mine@champion: model.onnx does not match the hash in its card"),
        (truncate, "does not match the hash in its card"),
        (replace_both, "not the model that was registered as version 2: its hash differs"),
        (failing_self_test, "latency_ms differs from its self-test"),
        (escape, "version in card.json must be"),
        (no_model, "models:/mine@champion: cannot be downloaded"),
    ],
)
def test_what_is_not_as_it_was_registered(
    original: str,
    models_dir: Path,
    artifacts: Path,
    spoil: Callable[[Path], None],
    reason: str,
) -> None:
    spoil(artifacts)
    done = pull(original)
    assert done.status == 1
    assert reason in done.err and done.err.count("\n") == 1
    assert files(models_dir) == UNTOUCHED
    assert sorted(path.name for path in models_dir.iterdir()) == ["gemm"]


def test_models_registered_without_their_hash_are_compared_with_the_card(
    original: str, models_dir: Path
) -> None:
    client = MlflowClient(tracking_uri=original, registry_uri=original)
    client.delete_model_version_tag("mine", "1", MODEL_TAG)
    assert pull(original, "models:/mine/1").status == 0


def test_passwords_are_not_shown(models_dir: Path, tmp_path: Path) -> None:
    uri = parse_model_uri("models:/mine/1")
    with pytest.raises(DataError, match="nonsense://host") as caught:
        fetch(uri, tmp_path / "bundle", store="nonsense://user:secret@host")
    assert "secret" not in str(caught.value)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The operating system refuses every byte of a file beyond `size`, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_writing_may_fail_at_any_byte(original: str, models_dir: Path) -> None:
    card, model = ((models_dir / "gemm" / name).stat().st_size for name in CARD_AND_MODEL)
    sizes = {0, 1, card // 2, card - 1, card, card + 1, *range(card, model, 700), model - 1}
    for size in sorted(sizes):
        with files_of_at_most(size):
            done = pull(original)
        assert done.status == 1, size
        assert "models:/mine@champion: cannot be downloaded: " in done.err
        assert "File too large" in done.err and done.err.count("\n") == 1
        assert files(models_dir) == UNTOUCHED
        assert sorted(path.name for path in models_dir.iterdir()) == ["gemm"]
    with files_of_at_most(model + 100):
        assert pull(original).status == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_a_full_disk_installs_nothing(
    original: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    monkeypatch.setenv("PERFCAST_MODELS_DIR", str(folder))
    statuses = []
    for pages in range(1, 20):
        options = f"size={4096 * pages}"
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False
        )
        if mounted.returncode:
            pytest.skip("mounting is not allowed here")
        try:
            done = pull(original)
            statuses.append(done.status)
            if done.status:
                assert "No space left on device" in done.err and done.err.count("\n") == 1
                assert list(folder.iterdir()) == []
            else:
                assert package.load("gemm", models_dir=folder).bundle.name == "gemm@2"
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        if done.status == 0:
            break
    assert len(statuses) > 3 and statuses[-1] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(
    original: str, models_dir: Path, number: signal.Signals
) -> None:
    script = (
        "import shutil, time\n"
        "def slow(source, target, **options):\n"
        "    with open(target, 'wb') as file:\n"
        "        file.write(b'half')\n"
        "        file.flush()\n"
        "        time.sleep(0.5)\n"
        "shutil.copyfile = slow\n"
        "from perfcast.cli import main\n"
        "main()\n"
    )
    with subprocess.Popen(
        [
            sys.executable, "-c", script,
            "models", "pull", "models:/mine@champion", "--tracking-uri", original,
        ],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not list(models_dir.glob(".pull-*/bundle/card.json")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "perfcast: interrupted\n")
    assert files(models_dir) == UNTOUCHED
    assert sorted(path.name for path in models_dir.iterdir()) == ["gemm"]
