from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.features.hardware import GPUS
from perfcast.predictors import gemm
from perfcast.predictors.assemble import (
    blend,
    directory,
    facts_row,
    steps_beyond,
    transfer_offsets,
    widening,
)
from perfcast.predictors.campaign import Axes, Deployment
from perfcast.predictors.gemm import COLUMNS, Directory
from perfcast.predictors.intervals import (
    UNTESTED_OFFSET,
    tail_offsets,
    worst_offsets,
)
from tests.predictors.campaigns import AXES, CONSTANTS, H200, H200_TRTLLM

OLD = H200._replace(framework_version="0.9.0")
A100 = H200._replace(gpu="a100_sxm")
SGLANG = H200._replace(framework="sglang", framework_version="0.5.14")
H100_SGLANG = SGLANG._replace(gpu="h100_sxm")
VLLM_B200 = H200._replace(gpu="b200_sxm")
TRTLLM_B200 = H200_TRTLLM._replace(gpu="b200_sxm")
DEPLOYMENTS = (TRTLLM_B200, H100_SGLANG, H200_TRTLLM, OLD, H200, A100, SGLANG, VLLM_B200)
MEASURED = 5
FRAMEWORKS = ("sglang", "trtllm", "vllm")


def test_blend() -> None:
    error = np.full((2, 2, 2, 2), 0.02)
    error[0, 0, 0] = np.nan
    error[1, 1, 1, 1] = 5.0
    moved = blend(np.zeros_like(error), error)
    assert moved[0, 1] == pytest.approx(0.01), "half-way to what was measured"
    assert (moved[0, 0, 0] == 0).all(), "where nothing was measured, nothing moves"
    assert moved[1, 1, 1, 1] == pytest.approx(0.5 * 3 * 1.4826 * 0.02), "disturbances are cut"
    assert blend(np.ones_like(error), error, 0.0) == pytest.approx(1.0)


def test_facts_row() -> None:
    ranges = (1.0, 4096.0, 64.0, 8192.0, 32.0, 16_384.0)
    row = facts_row(
        H200._replace(dtype="fp8"), CONSTANTS, ranges,
        between_nodes=np.array([1.5, 1.25, 2.0]), per_octave=2.5, other_version=0.3,
        power_limit_w=714.0,
    )  # fmt: skip
    named = dict(zip(COLUMNS, row, strict=True))
    assert named["flops_per_ms"] == 1978e9 and named["a_bytes"] == 1.0 and named["c_bytes"] == 2.0
    assert named["memory_bytes"] == GPUS["h200_sxm"].memory_capacity_gib * 2**30
    assert (named["host"], named["tile"]) == (CONSTANTS[0], CONSTANTS[6])
    assert (named["min_m"], named["max_n"], named["max_k"]) == (1.0, 8192.0, 16_384.0)
    assert [named[f"between_{size}"] for size in "nkm"] == [1.5, 1.25, 2.0]
    assert named["per_octave"] == 2.5
    assert (named["other_version"], named["power_limit_w"]) == (0.3, 714.0)


@pytest.fixture(scope="module")
def found() -> Directory:
    return directory(
        DEPLOYMENTS,
        measured=MEASURED,
        powered={H200, TRTLLM_B200},
        frameworks=FRAMEWORKS,
        dtypes=("bfloat16", "fp8"),
        newest={(d.gpu, d.framework, d.dtype): d for d in DEPLOYMENTS},
    )


def resolve(
    found: Directory, gpu: str, framework: str = "", version: str = "", dtype: str = "bfloat16"
) -> tuple[Deployment | None, int]:
    asked = zip(found.names.values(), (gpu, framework, version, dtype), strict=True)
    at = tuple(known.index(word) if word in known else len(known) for known, word in asked)
    row, bits = int(found.row[at]), int(found.bits[at])
    return (None if bits == gemm.UNKNOWN else DEPLOYMENTS[row]), bits


def test_every_exact_name_is_its_own_row(found: Directory) -> None:
    for deployment in DEPLOYMENTS:
        assert resolve(found, *deployment)[0] == deployment
    assert found.names["framework"] == (*FRAMEWORKS, "")
    assert found.names["framework_version"][-1] == ""
    assert found.row.shape == found.bits.shape == (len(GPUS) + 1, 5, 6, 3)


def test_default_framework(found: Directory) -> None:
    """vllm where it was measured, else trtllm, else sglang; estimates only where nothing was."""
    assert resolve(found, "h200_sxm") == (H200, 0)
    assert resolve(found, "b200_sxm") == (TRTLLM_B200, 0), "vllm is an estimate there"
    assert resolve(found, "h100_sxm") == (H100_SGLANG, gemm.NO_POWER)
    assert resolve(found, "a100_sxm") == (A100, gemm.NO_GPU | gemm.NO_POWER)


def test_versions(found: Directory) -> None:
    assert resolve(found, "h200_sxm", "vllm")[0] == H200
    assert resolve(found, "h200_sxm", "vllm", "0.9.0") == (OLD, gemm.OTHER_POWER)
    for unheard in ("0.23.0", "1.3.0rc20"):  # nowhere measured; measured, but of trtllm
        assert resolve(found, "h200_sxm", "vllm", unheard) == (H200, gemm.NO_VERSION)
    assert resolve(found, "h200_sxm", "", "0.9.0") == (OLD, gemm.OTHER_POWER)
    stale = resolve(found, "a100_sxm", "vllm", "0.9.0")
    assert stale == (A100, gemm.NO_GPU | gemm.NO_POWER | gemm.NO_VERSION)


def test_estimated_deployments(found: Directory) -> None:
    assert resolve(found, "h200_sxm", "sglang") == (SGLANG, gemm.NO_DEPLOYMENT | gemm.OTHER_POWER)
    assert resolve(found, "b200_sxm", "vllm", "0.24.0") == (
        VLLM_B200, gemm.NO_DEPLOYMENT | gemm.OTHER_POWER,
    )  # fmt: skip
    assert resolve(found, "h200_sxm", "trtllm") == (H200_TRTLLM, gemm.OTHER_POWER)


@pytest.mark.parametrize(
    "asked",
    [
        ("h201",), ("l4",), ("h200_sxm", "tf"), ("h200_sxm", "vllm", "", "fp8"),
        ("h200_sxm", "", "", "fp4"), ("a100_sxm", "sglang"),
    ],
)  # fmt: skip
def test_nobody_answers(found: Directory, asked: tuple[str, ...]) -> None:
    assert resolve(found, *asked) == (None, gemm.UNKNOWN)


def test_transfer_offsets() -> None:
    random = np.random.default_rng(0)
    quiet, loud = 0.02 * random.standard_normal(4000), 0.2 * random.standard_normal(4000)
    holed = np.append(loud, [np.nan] * 10)
    errors = {"bfloat16": {"h100_sxm": [quiet[:1000], quiet[1000:]]}, "fp8": {"l40s": [holed]}}
    offsets = transfer_offsets(errors, 0.9)
    assert set(offsets) == {"bfloat16", "fp8", ""}
    assert offsets["bfloat16"] == pytest.approx((0.033, 0.033), rel=0.15)
    assert offsets["fp8"] == pytest.approx((0.33, 0.33), rel=0.15)
    assert offsets[""] == offsets["fp8"], "the widest, for what no GPU could test"
    assert transfer_offsets({}, 0.9) == {"": (UNTESTED_OFFSET, UNTESTED_OFFSET)}


def test_every_gpu_counts_alike() -> None:
    """A GPU with a hundred times the rows does not decide how wide the interval is."""
    random = np.random.default_rng(1)
    many, few = 0.02 * random.standard_normal(40_000), 0.2 * random.standard_normal(400)
    alike = transfer_offsets({"fp8": {"h100_sxm": [many], "l40s": [few]}}, 0.9)["fp8"]
    pooled = tail_offsets(np.concatenate([many, few]), 0.9)
    assert alike[0] > 4 * pooled[0] and alike[1] > 4 * pooled[1]
    worst = worst_offsets([many, few], 0.9)
    assert worst == tail_offsets(few, 0.9)


def test_steps_beyond() -> None:
    """Against the next smaller size that was measured, not the next node."""
    sizes = np.array([64.0, 128.0, 256.0, 512.0])
    values = np.ones((4, 4, 2))
    values[2] = values[:, 2] = np.nan
    values[3, :2] = np.nan
    steps = steps_beyond(Axes(sizes, sizes, sizes[:2]), values)
    assert steps[0, 0] == 0
    assert steps[1, 0] == steps[0, 1] == steps[1, 1] == 1
    assert steps[0, 3] == steps[3, 3] == 2


def constant(value: float, *tail: int) -> NDArray[np.float64]:
    return np.full((*AXES.shape, *tail), value)


def test_widening_between_nodes() -> None:
    """Straight lines need none; what bends needs as much as it bends, along its own axis."""
    straight = np.broadcast_to(0.1 * np.log(AXES.n)[:, None, None], AXES.shape)
    nothing, offsets = constant(np.nan), constant(0.02, 2)

    def needed(bend: NDArray[np.float64]) -> list[float]:
        found, _ = widening(AXES, straight + bend, constant(0.0), nothing, offsets, 0.9)
        return [float(factor) for factor in found]

    assert needed(constant(0.0)) == [1.0, 1.0, 1.0]
    for axis, count in enumerate(AXES.shape):
        zigzag = np.moveaxis(constant(0.0), axis, -1) + 0.02 * (-1.0) ** np.arange(count)
        bent = needed(np.moveaxis(zigzag, -1, axis))
        wanted = [1.0, 1.0, 1.0]
        wanted[axis] = 2.0
        assert bent == pytest.approx(wanted), "0.04 off the line, with offsets of 0.02"
        wanted[axis] = 6.0
        assert needed(np.moveaxis(10 * zigzag, -1, axis)) == pytest.approx(wanted), "capped"


def test_widening_skips_both_sides_of_a_tile_edge() -> None:
    """A step from 64 to 65 is on the grid; a question between nodes never has to cross it."""
    axes = Axes(AXES.n, AXES.k, np.array([32.0, 64.0, 65.0, 96.0]))
    step = np.zeros(axes.shape)
    step[..., 2:] = 0.1
    offsets = np.full((*axes.shape, 2), 0.02)
    found, _ = widening(axes, step, 0 * step, np.nan * step, offsets, 0.9)
    share = np.log(2) / np.log(3)
    assert found[2] == pytest.approx(0.1 * share / 0.02, rel=0.05), "as if neither were measured"


def test_widening_knows_only_what_was_measured() -> None:
    values, offsets = constant(0.0), constant(0.02, 2)
    values[3] = 0.5
    error = constant(0.0)
    error[3] = np.nan
    found, _ = widening(AXES, values, error, constant(np.nan), offsets, 0.9)
    assert found.tolist() == [1.0, 1.0, 1.0]


def test_widening_beyond() -> None:
    """Per octave: an error of 2 offsets half an octave out takes one more offset in that half."""
    size = np.exp2(6 + 0.5 * np.arange(6))
    axes = Axes(size, size, AXES.m)
    flat, offsets = constant(0.0), constant(0.02, 2)
    frontier = constant(0.04)
    frontier[0, 0] = np.nan  # nothing is smaller
    _, per_octave = widening(axes, flat, flat, frontier, offsets, 0.9)
    assert per_octave == pytest.approx(2.0)
    assert widening(axes, flat, flat, 0 * frontier, offsets, 0.9)[1] == 0.25, "never free"
    assert widening(axes, flat, flat, 100 * frontier, offsets, 0.9)[1] == 12.0, "capped"
    far = Axes(size**3, size**3, AXES.m)
    for silent in (100 * frontier, np.full_like(flat, np.nan)):
        found = widening(far, flat, flat, silent, offsets, 0.9)
        assert found[1] == 1.0, "frontiers too far out say nothing"
