"""`perfcast bench` prints ratios."""

from __future__ import annotations

import pytest

from tests.cli.helpers import perfcast

pytestmark = pytest.mark.usefixtures("use_standin")


def test_json() -> None:
    report = perfcast("bench", "--repeats", "1", "--json").json
    assert report["model"] == "gemm@standin"
    assert [line["rows"] for line in report["lines"][:2]] == [1, 10_000]


def test_table() -> None:
    done = perfcast("bench", "--repeats", "1")
    assert done.status == 0
    assert "ratio" in done.out
    assert "one row" in done.out
