"""Who used the processors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perfcast.serving.bench.peers.usage import (
    Process,
    Usage,
    family,
    parse_process,
    processes,
    usage,
)


def test_a_process_with_an_odd_name() -> None:
    line = "12 (a b) c) R 1 12 77 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 99 0 0"
    assert parse_process(line) == Process(parent=1, ticks=37)
    assert parse_process(line.replace(" R ", " Z ")).ended


def test_what_was_used_between() -> None:
    before = Usage(10.0, {7: 1.0, 8: 0.0}, 5.0)
    after = Usage(12.0, {7: 2.5, 8: 0.0}, 6.0)
    assert after.others_since(before) == 0.5
    assert after.server_since(before, 7) == 1.5
    assert Usage(12.0, {}, 4.9).others_since(before) == 0.0


def test_a_family() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 3, 5: 1, 6: 3}
    among = {pid: Process(parent=parent, ticks=0) for pid, parent in parents.items()}
    assert family(2, among) == {2, 3, 4, 6}
    assert family(5, among) == {5}
    assert family(9, among) == set()


def write_stat(folder: Path, parent: int, *used: int) -> None:
    folder.mkdir()
    fields = " ".join(map(str, used))
    (folder / "stat").write_text(f"1 (x) S {parent} 1 1 0 -1 0 0 0 0 0 {fields} 20 0 1 0 9\n")


def test_own_processes_do_not_count_as_others(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  900 900 900 900 900 900 900 5 0 0\ncpu0 1 1 1 1\n")
    write_stat(tmp_path / "20", 1, 100, 10, 1, 2)
    write_stat(tmp_path / "21", 20, 200, 0, 0, 0)
    write_stat(tmp_path / "30", 1, 1000, 0, 0, 0)
    write_stat(tmp_path / str(os.getpid()), 1, 5000, 0, 0, 0)
    (tmp_path / "50").mkdir()  # a process that has just ended
    (tmp_path / "self").mkdir()
    for servers, others in (((), 1318), ({20}, 1005), ({20, 30}, 5)):
        found = usage(servers, tmp_path)
        assert found is not None
        assert found.others == pytest.approx(others / tick)
        ours = {20: 313 / tick, 30: 1000 / tick}
        assert found.servers == pytest.approx({each: ours[each] for each in servers})


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert usage((), tmp_path) is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not tell")
def test_this_system() -> None:
    before, after = usage({os.getpid()}), usage({os.getpid()})
    assert before is not None and after is not None
    assert after.moment >= before.moment
    assert before.others > 0
    assert before.servers[os.getpid()] > 0
    assert processes()[os.getpid()].parent == os.getppid()
