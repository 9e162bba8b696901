from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcast.features.gemm import FLOOR_CONSTANTS, device, floor_ms, lanes
from perfcast.features.hardware import GPUS
from perfcast.features.tasks import GEMM
from perfcast.prediction import STATUSES
from perfcast.predictors import gemm
from perfcast.predictors.export import names_to_codes
from perfcast.predictors.gemm import COLUMNS, REASONS, answer
from tests.predictors.campaigns import CONSTANTS, H200_TRTLLM
from tests.predictors.tables import (
    AXES,
    BETWEEN_NODES,
    COARSE,
    LIMIT_W,
    OTHER_VERSION,
    PER_OCTAVE,
    questions,
    random_questions,
    tables,
)

TABLES = tables()
QUANTITIES = ("latency_ms", "power_w")
IN_DOMAIN, EXTRAPOLATED, OUT_OF_DOMAIN = (
    STATUSES.index(name) for name in ("in_domain", "extrapolated", "out_of_domain")
)
H200_ROW = 3


def ask(columns: dict[str, Any]) -> dict[str, NDArray[Any]]:
    sizes = (columns[name] for name in "mnk")
    with np.errstate(over="ignore"):  # far beyond the range, where the answer is withheld
        return answer(np, TABLES, names_to_codes(TABLES, columns), *sizes)


def floor(m: float, n: float, k: float) -> float:
    facts = device("h200_sxm", "bfloat16")
    assert facts is not None
    rates = (facts.flops_per_ms, facts.bytes_per_ms, facts.num_sms, *facts.operand_bytes)
    known = dict(zip(FLOOR_CONSTANTS, CONSTANTS, strict=True))
    return float(floor_ms(np, *lanes(np, m, n, k, *rates), k, **known))


def test_the_contract() -> None:
    """The outputs that the task and the bundle promise, in their types."""
    found = ask(questions(m=[1, 2, 3]))
    wanted = {output.name for output in GEMM.outputs}
    wanted |= {f"{name}_{end}" for name in QUANTITIES for end in ("low", "high", "status")}
    assert set(found) == wanted | {"reasons"}
    for name, values in found.items():
        assert values.shape == (3,)
        whole = name == "reasons" or name.endswith("_status")
        assert values.dtype == (np.int64 if whole else np.float32), name


def test_nodes_are_the_floor_times_the_table() -> None:
    i, j, h = (grid.ravel() for grid in np.indices((4, 4, 5)))
    m, n, k = AXES.m[h], AXES.n[i], AXES.k[j]
    found = ask(questions(m.astype(int), n.astype(int), k.astype(int)))
    ratio = TABLES.log_ratio.unpack()[H200_ROW, i, j, h]
    expected = [floor(*shape) for shape in zip(m, n, k, strict=True)] * np.exp(ratio)
    assert found["latency_ms"] == pytest.approx(expected, rel=1e-6)
    assert not found["reasons"].any()
    coarse = np.isin(m, COARSE)
    at = np.searchsorted(COARSE, m[coarse])
    power = np.exp(TABLES.log_power.unpack()[H200_ROW, i, j, h])
    assert found["power_w"] == pytest.approx(power, rel=1e-6)
    offsets = np.exp(TABLES.offsets.unpack()[H200_ROW, i[coarse], j[coarse], at])
    for q, (name, centre) in enumerate((("latency_ms", expected), ("power_w", power))):
        for side, (end, sign) in enumerate((("low", -1), ("high", 1))):
            limit = centre[coarse] * np.exp(sign * offsets[:, q, side])
            if name == "power_w":
                limit = np.minimum(limit, LIMIT_W)
            assert found[f"{name}_{end}"][coarse] == pytest.approx(limit, rel=1e-6)


@given(st.integers(1, 4096), st.integers(64, 4096), st.integers(64, 4096))
def test_within_the_range(m: int, n: int, k: int) -> None:
    found = {name: values[0] for name, values in ask(questions(m, n, k)).items()}
    assert found["latency_ms_status"] == found["power_w_status"] == IN_DOMAIN
    assert found["reasons"] == 0
    ratio = np.log(found["latency_ms"] / floor(m, n, k))
    ends = TABLES.log_ratio.unpack()[H200_ROW]
    assert ends.min() - 1e-5 <= ratio <= ends.max() + 1e-5
    assert_sound(found, m, n, k)


def assert_sound(found: dict[str, Any], m: int, n: int, k: int) -> None:
    for name in QUANTITIES:
        assert 0 < found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
        assert np.isfinite(found[f"{name}_high"])
    assert found["power_w_high"] <= LIMIT_W * (1 + 1e-6)
    energy = float(found["latency_ms"]) * float(found["power_w"])
    assert found["energy_mj"] == pytest.approx(energy, rel=1e-6)
    rate = 2.0 * m * n * k / float(found["latency_ms"]) / 1e9
    assert found["tflops"] == pytest.approx(rate, rel=1e-6)


def test_whatever_is_asked_is_sound_or_withheld() -> None:
    columns = random_questions(4_000)
    found = ask(columns)
    withheld = np.isnan(found["latency_ms"])
    assert 0.3 < withheld.mean() < 1
    numbers = [name for name, values in found.items() if values.dtype == np.float32]
    for name in numbers:
        assert np.array_equal(np.isnan(found[name]), withheld), name
    for name in QUANTITIES:
        assert np.array_equal(found[f"{name}_status"] == OUT_OF_DOMAIN, withheld)
    for row in np.flatnonzero(~withheld)[:300].tolist():
        shape = (int(columns[name][row]) for name in "mnk")
        assert_sound({name: values[row] for name, values in found.items()}, *shape)


def width(found: dict[str, NDArray[Any]], name: str = "latency_ms") -> NDArray[Any]:
    return np.asarray(np.log(found[f"{name}_high"] / found[f"{name}_low"]))


def test_wider_between_nodes() -> None:
    """By the factors of the table, once the offsets' own interpolation is accounted for."""
    found = ask(questions(n=[1024, 1025, 1024, 1023], k=[1024, 1024, 1030, 1022]))
    n, k, m = BETWEEN_NODES
    both = math.sqrt(n**2 + k**2 - 1)
    assert width(found)[1:] / width(found)[0] == pytest.approx([n, k, both], rel=0.05)
    assert width(found, "power_w")[1:] / width(found, "power_w")[0] == pytest.approx(1, rel=0.05)
    between_m = width(ask(questions(m=[256, 257])))
    assert between_m[1] / between_m[0] == pytest.approx(m, rel=0.05)


def test_wider_at_a_node_the_deployment_was_not_measured_at() -> None:
    """A node that only others were measured at is between this deployment's own."""
    framework, version = H200_TRTLLM.framework, H200_TRTLLM.framework_version
    asked = questions(m=[16, 17, 256, 257], framework=framework, framework_version=version)
    unknown, beside, known, between = width(ask(asked))
    assert unknown == pytest.approx(beside, rel=0.05)
    assert between == pytest.approx(BETWEEN_NODES[2] * known, rel=0.05)
    own, next_to_it = width(ask(questions(m=[16, 17])))
    assert own < 0.7 * next_to_it, "another deployment was measured there"


@pytest.mark.parametrize(
    ("size", "bit"), [("n", gemm.OUTSIDE_NK), ("k", gemm.OUTSIDE_NK), ("m", gemm.OUTSIDE_M)]
)
def test_beyond_the_range(size: str, bit: int) -> None:
    """Wider by the octave, extrapolated, and withheld from the fifth octave on."""
    sizes = np.array([4096, 8192, 16_384, 65_536, 65_537, 131_072])
    shape: dict[str, Any] = {"m": 1, "n": 64, "k": 64, size: sizes}
    found = ask(questions(**shape))
    assert found["reasons"].tolist() == [0, bit, bit, bit, bit | gemm.TOO_FAR, bit | gemm.TOO_FAR]
    expected = [IN_DOMAIN, *[EXTRAPOLATED] * 3, *[OUT_OF_DOMAIN] * 2]
    assert found["latency_ms_status"].tolist() == expected
    assert found["power_w_status"].tolist() == expected
    assert np.isnan(found["latency_ms"][4:]).all()
    # the tables end at 8192 for n and k, at 4096 for m: beyond, only the widening changes
    last = width(found)[2:4]
    assert last[1] / last[0] == pytest.approx((1 + 4 * PER_OCTAVE) / (1 + 2 * PER_OCTAVE), rel=1e-4)


def test_below_the_range() -> None:
    found = ask(questions(n=[64, 32, 4, 3]))
    bit = gemm.OUTSIDE_NK
    assert found["reasons"].tolist() == [0, bit, bit, bit | gemm.TOO_FAR]
    assert (np.diff(width(found)[:3]) > 0).all()


def test_the_furthest_side_counts() -> None:
    far = ask(questions(m=16_384, n=8192, k=4096))
    near = ask(questions(m=4096, n=8192, k=4096))
    assert far["reasons"][0] == gemm.OUTSIDE_M | gemm.OUTSIDE_NK
    assert width(far)[0] / width(near)[0] == pytest.approx(
        (1 + 2 * PER_OCTAVE) / (1 + PER_OCTAVE), rel=1e-4
    )


def test_operands_that_do_not_fit() -> None:
    """h200 holds 141 GB: 2 bytes for each element of A, B and C."""
    limit = GPUS["h200_sxm"].memory_capacity_gib * 2**30
    side = int(np.sqrt(limit / 6))
    found = ask(questions(m=[side - 2, side + 2], n=[side - 2, side + 2], k=[side - 2, side + 2]))
    assert ((found["reasons"] & gemm.TOO_LARGE) != 0).tolist() == [False, True]
    assert np.isnan(found["power_w"]).tolist()[1]


def test_defaults_and_versions() -> None:
    """Newest by default; an unknown version is answered by the newest, and says so."""
    same = ask(
        questions(framework=["vllm", "", "vllm", "vllm"], framework_version=["", "", "0.24.0", "9"])
    )
    assert len(set(same["latency_ms"].tolist())) == 1
    assert same["reasons"].tolist() == [0, 0, 0, gemm.NO_VERSION]
    assert same["latency_ms_status"].tolist() == [IN_DOMAIN] * 3 + [EXTRAPOLATED]
    for bound in ("latency_ms_low", "latency_ms_high"):
        known, unknown = same[bound][0], same[bound][3]
        assert abs(np.log(unknown / known)) == pytest.approx(OTHER_VERSION, rel=1e-4)
    assert same["latency_ms_low"][3] < same["latency_ms_low"][0] < same["latency_ms_high"][0]
    old = ask(questions(framework_version="0.9.0"))
    assert old["latency_ms"][0] != same["latency_ms"][0]
    assert old["reasons"][0] == gemm.OTHER_POWER
    assert old["latency_ms_status"][0] == IN_DOMAIN and old["power_w_status"][0] == EXTRAPOLATED


def test_estimated_deployments() -> None:
    found = ask(
        questions(gpu=["a100_sxm", "h200_sxm", "h100_sxm"], framework=["vllm", "sglang", "vllm"])
    )
    assert found["reasons"].tolist() == [
        gemm.NO_GPU | gemm.NO_POWER, gemm.NO_DEPLOYMENT | gemm.OTHER_POWER, gemm.NO_POWER,
    ]  # fmt: skip
    assert found["latency_ms_status"].tolist() == [EXTRAPOLATED, EXTRAPOLATED, IN_DOMAIN]
    assert found["power_w_status"].tolist() == [EXTRAPOLATED] * 3


@pytest.mark.parametrize(
    "unknown",
    [{"gpu": "h201"}, {"gpu": "b200_sxm"}, {"framework": "tf"}, {"dtype": "fp4"}, {"dtype": "fp8"}],
)
def test_nobody_answers(unknown: dict[str, str]) -> None:
    found = ask(questions(2**24, 1, 2**24, **unknown))
    assert found["reasons"][0] == gemm.UNKNOWN, "and that is all there is to say"
    assert np.isnan(found["latency_ms"][0])
    assert found["power_w_status"][0] == OUT_OF_DOMAIN


def test_rows_do_not_depend_on_each_other() -> None:
    columns = random_questions(50, seed=4)
    whole = ask(columns)
    for row in range(50):
        alone = ask({name: values[row : row + 1] for name, values in columns.items()})
        for name, values in alone.items():
            assert np.array_equal(values, whole[name][row : row + 1], equal_nan=True)


def test_names_of_bits_and_columns() -> None:
    assert len(REASONS) == 10 and gemm.TOO_FAR == 1 << 9
    assert [bool(REASONS[bit].startswith("withheld")) for bit in range(10)] == [False] * 7 + [
        True
    ] * 3
    assert len(set(COLUMNS)) == len(COLUMNS) == TABLES.facts.shape[1]
