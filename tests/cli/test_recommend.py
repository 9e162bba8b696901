"""`perfcast recommend`: shapes and constraints as options."""

from __future__ import annotations

import pytest

from perfcast.serving.predictor import GemmPredictor
from tests.cli.helpers import perfcast
from tests.standin import UNSUPPORTED_DTYPE

pytestmark = pytest.mark.usefixtures("use_standin")

COMMAND = ("recommend", "gemm", "--shape", "4096x4096x8192")


def test_json_is_the_whole_recommendation(gemm: GemmPredictor) -> None:
    done = perfcast(
        *COMMAND, "--shape", "64X8192x1024*3", "--gpus", "h200_sxm, b200_sxm", "--dtypes", "fp8",
        "--frameworks", "vllm", "--max-power-w", "900", "--max-latency-ms", "5",
        "--max-energy-mj", "5000", "--objective", "energy_mj", "--limit", "2", "--json",
    )  # fmt: skip
    expected = gemm.recommend(
        [(4096, 4096, 8192), (64, 8192, 1024, 3)],
        gpus=["h200_sxm", "b200_sxm"],
        dtypes=["fp8"],
        frameworks=["vllm"],
        max_power_w=900,
        max_latency_ms=5,
        max_energy_mj=5000,
        objective="energy_mj",
        limit=2,
    )
    assert done.status == 0
    assert done.json == expected.to_dict()


def test_a_table_for_people() -> None:
    done = perfcast(*COMMAND, "--gpus", "h200_sxm,a30", "--max-power-w", "690")
    assert done.status == 0
    text = " ".join(done.out.split())
    for words in (
        "feasible, best latency_ms first",
        "h200_sxm",
        "excluded by max_power_w = 690",
        f"6 not answered: {UNSUPPORTED_DTYPE}",
        "conservative",
        "gemm@standin",
    ):
        assert words in text


def test_when_nothing_fits_the_miss_is_shown_and_the_status_says_so() -> None:
    done = perfcast(*COMMAND, "--max-latency-ms", "0.0001")
    assert done.status == 3
    assert "The closest miss" in done.out
    assert "excluded by max_latency_ms = 0.0001" in done.out
    nothing = perfcast(*COMMAND, "--gpus", "a30", "--dtypes", "nvfp4")
    assert nothing.status == 3
    assert "Nothing can be estimated" in nothing.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend", "gemm"), "shape: missing"),
        ((*COMMAND, "--shape", "4096x4096"), "row 1, shape: must look like"),
        ((*COMMAND, "--shape", "0x1x1"), "row 1, m: must be a whole number"),
        ((*COMMAND, "--shape", "1x1x1*0"), "row 1, count"),
        ((*COMMAND, "--shape", "1x-1x1"), "must look like"),
        ((*COMMAND, "--gpus", "h200"), "did you mean 'h200_sxm'"),
        ((*COMMAND, "--gpus", ","), "gpus: must name at least one"),
        ((*COMMAND, "--max-power-w", "nan"), "max_power_w: must be a positive number"),
        ((*COMMAND, "--max-power-w", "-1"), "max_power_w"),
        ((*COMMAND, "--objective", "speed"), "must be one of latency_ms"),
        ((*COMMAND, "--limit", "0"), "limit: must be a positive whole number"),
    ],
)
def test_refusals(arguments: tuple[str, ...], message: str) -> None:
    done = perfcast(*arguments)
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_the_setting_limits_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFCAST_MAX_CANDIDATES", "10")
    done = perfcast(*COMMAND, "--json")
    assert done.status == 2
    assert done.json["error"]["type"] == "TooLarge"
