"""Who used the processors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perfcast.serving.bench.peers.usage import Usage, parse_process, usage


def test_a_process_with_an_odd_name() -> None:
    line = "12 (a b) c) R 1 12 77 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 99 0 0"
    assert parse_process(line) == (77, 37)


def test_what_was_used_between() -> None:
    before = Usage(10.0, {7: 1.0, 8: 0.0}, 5.0)
    after = Usage(12.0, {7: 2.5, 8: 0.0}, 6.0)
    assert after.others_since(before) == 0.5
    assert after.session_since(before, 7) == 1.5
    assert Usage(12.0, {}, 4.9).others_since(before) == 0.0


def write_stat(folder: Path, session: int, *used: int) -> None:
    folder.mkdir()
    fields = " ".join(map(str, used))
    (folder / "stat").write_text(f"1 (x) S 1 1 {session} 0 -1 0 0 0 0 0 {fields} 20 0 1 0 9\n")


def test_own_processes_do_not_count_as_others(tmp_path: Path) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  900 900 900 900 900 900 900 5 0 0\ncpu0 1 1 1 1\n")
    write_stat(tmp_path / "20", 20, 100, 10, 1, 2)
    write_stat(tmp_path / "21", 20, 200, 0, 0, 0)
    write_stat(tmp_path / "30", 30, 1000, 0, 0, 0)
    write_stat(tmp_path / str(os.getpid()), 40, 5000, 0, 0, 0)
    (tmp_path / "50").mkdir()  # a process that has just ended
    (tmp_path / "self").mkdir()
    for sessions, others in (((), 1318), ({20}, 1005), ({20, 30}, 5)):
        found = usage(sessions, tmp_path)
        assert found is not None
        assert found.others == pytest.approx(others / tick)
        ours = {20: 313 / tick, 30: 1000 / tick}
        assert found.sessions == pytest.approx({each: ours[each] for each in sessions})


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert usage((), tmp_path) is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system does not tell")
def test_this_system() -> None:
    session = os.getsid(0)
    before, after = usage({session}), usage({session})
    assert before is not None and after is not None
    assert after.moment >= before.moment
    assert before.others > 0
    assert before.sessions.keys() == {session}
