from __future__ import annotations

from typing import Any

import ndonnx as ndx
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perfcast.errors import UnknownValue
from perfcast.features.gemm import (
    FLOOR_CONSTANTS,
    OPERAND_BYTES,
    Device,
    device,
    energy_mj,
    floor_ms,
    flops,
    lanes,
    tflops,
    tiling,
)
from perfcast.features.hardware import GPUS, supports
from perfcast.features.tasks import DTYPES

MAXIMUM = 2**24
HAIR = 1e-12
"""Relative room for rounding."""

sizes = st.one_of(st.integers(1, MAXIMUM), st.integers(0, 24).map(lambda e: 2**e))
shapes = st.tuples(sizes, sizes, sizes)
DEPLOYABLE = [(gpu, dtype) for gpu in GPUS for dtype in DTYPES if supports(gpu, dtype)]


def devices() -> st.SearchStrategy[Device]:
    return st.sampled_from([found for pair in DEPLOYABLE if (found := device(*pair)) is not None])


def _logarithmic(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


@st.composite
def constants(draw: st.DrawFn) -> dict[str, float]:
    """Anything that calibration may find."""
    return {
        "host": draw(_logarithmic(6e-6, 20)),
        "launch": draw(_logarithmic(6e-6, 20)),
        "compute": draw(_logarithmic(0.22, 20)),
        "memory": draw(_logarithmic(0.22, 20)),
        "sharpness": draw(st.floats(1.14, 20)),
        "k_step": draw(_logarithmic(1e-7, 2e-2)),
        "tile": draw(_logarithmic(1e-6, 5e-2)),
    }


def limits(facts: Device, m: Any, n: Any, k: Any) -> tuple[Any, Any, Any]:
    m, n, k = (np.asarray(size, dtype=np.float64) for size in (m, n, k))
    return lanes(
        np, m, n, k, facts.flops_per_ms, facts.bytes_per_ms, facts.num_sms, *facts.operand_bytes
    )


def floor(facts: Device, m: Any, n: Any, k: Any, known: dict[str, float]) -> NDArray[np.float64]:
    k = np.asarray(k, dtype=np.float64)
    return np.asarray(floor_ms(np, *limits(facts, m, n, k), k, **known))


def test_device_in_units_of_milliseconds() -> None:
    facts = device("h200_sxm", "fp8")
    assert facts is not None
    assert facts.flops_per_ms == 1978e9
    assert facts.bytes_per_ms == 4.8e9
    assert facts.num_sms == 132
    assert facts.l2_bytes == 50 * 2**20
    assert facts.operand_bytes == (1.0, 1.0, 2.0)
    assert facts.memory_bytes == GPUS["h200_sxm"].memory_capacity_gib * 2**30
    assert device("a100_sxm", "fp8") is None
    with pytest.raises(UnknownValue, match="'h200_sxm'"):
        device("h200", "fp8")


def test_every_dtype_has_bytes_and_every_pair_a_device() -> None:
    assert set(OPERAND_BYTES) == set(DTYPES)
    for gpu, dtype in DEPLOYABLE:
        facts = device(gpu, dtype)
        assert facts is not None and facts.flops_per_ms > 1e9 and facts.bytes_per_ms > 1e7


def test_lanes_by_hand() -> None:
    compute_ms, memory_ms, waves = lanes(np, 300.0, 256.0, 4096.0, 1e9, 1e6, 4.0, 2, 1, 4)
    assert compute_ms == 2 * 300 * 256 * 4096 / 1e9
    assert memory_ms == (300 * 4096 * 2 + 256 * 4096 * 1 + 300 * 256 * 4) / 1e6
    assert waves == 3 * 2 / 4
    single = lanes(np, 1.0, 1.0, 1.0, 1e9, 1e6, 4.0, 2, 1, 4)
    assert single[2] == 1, "never below one wave"


@given(devices(), shapes, constants())
def test_floor_is_bounded_by_its_parts(
    facts: Device, shape: tuple[int, int, int], known: dict[str, float]
) -> None:
    """Never below launch + the slowest lane, nor the host; above them by what p-norms allow."""
    value = float(floor(facts, *shape, known))
    compute_ms, memory_ms, waves = limits(facts, *shape)
    tiles_ms = waves * (known["tile"] + known["k_step"] * shape[2])
    parts = (known["compute"] * compute_ms, known["memory"] * memory_ms, tiles_ms)
    slowest = float(max(parts))
    assert np.isfinite(value) and value > 0
    assert value >= (known["launch"] + slowest) * (1 - HAIR)
    assert value >= known["host"] * (1 - HAIR)
    kernel = known["launch"] + 3 ** (1 / known["sharpness"]) * slowest
    assert value <= 2**0.25 * max(kernel, known["host"]) * (1 + HAIR)


@given(devices(), shapes, constants(), st.sampled_from(FLOOR_CONSTANTS), st.floats(1, 100))
def test_floor_rises_with_every_constant_but_sharpness(
    facts: Device, shape: tuple[int, int, int], known: dict[str, float], name: str, factor: float
) -> None:
    before, after = (
        floor(facts, *shape, k) for k in (known, {**known, name: known[name] * factor})
    )
    if name == "sharpness":  # the sharper the transition, the less the limits add up
        before, after = after, before
    assert after >= before * (1 - HAIR)


@given(devices(), shapes, constants(), st.integers(0, 2), sizes)
def test_more_work_is_never_faster(
    facts: Device, shape: tuple[int, int, int], known: dict[str, float], axis: int, larger: int
) -> None:
    m, n, k = (max(larger, size) if at == axis else size for at, size in enumerate(shape))
    assert floor(facts, m, n, k, known) >= floor(facts, *shape, known) * (1 - HAIR)


@given(shapes, constants())
def test_twice_the_rates_halve_the_kernel(
    shape: tuple[int, int, int], known: dict[str, float]
) -> None:
    """Where neither launches nor a host nor single tiles are in the way."""
    free = {**known, "host": 1e-30, "launch": 0.0, "k_step": 1e-40, "tile": 1e-40}
    slow = Device(1e12, 4e9, 132.0, (2.0, 2.0, 2.0), 1.0, 1.0)
    fast = Device(2e12, 8e9, 132.0, (2.0, 2.0, 2.0), 1.0, 1.0)
    assert floor(fast, *shape, free) == pytest.approx(floor(slow, *shape, free) / 2, rel=1e-9)
    # with a launch in front, only what comes after it is halved
    held = {**free, "launch": 0.5}
    kernel = [float(floor(facts, *shape, held)) - 0.5 for facts in (slow, fast)]
    assert kernel[1] == pytest.approx(kernel[0] / 2, rel=1e-6, abs=1e-12)


@given(shapes, st.integers(1, 256), st.sampled_from([(64, 64), (128, 256), (192, 128)]))
def test_tiling(shape: tuple[int, int, int], num_sms: int, tile: tuple[int, int]) -> None:
    m, n = np.float64(shape[0]), np.float64(shape[1])
    log_waves, last_wave, padding = tiling(np, m, n, float(num_sms), *tile)
    waves = np.exp(log_waves)
    assert last_wave >= 1 - HAIR and padding >= 1
    assert waves * last_wave == pytest.approx(round(float(waves * last_wave)), rel=1e-9)
    covered = waves * num_sms * tile[0] * tile[1]
    assert covered == pytest.approx(padding * m * n, rel=1e-9)


def test_tiling_by_hand() -> None:
    log_waves, last_wave, padding = tiling(np, np.array([256.0, 257.0]), 256.0, 4.0, 128, 128)
    assert np.array_equal(log_waves, np.log([1.0, 1.5]))
    assert np.array_equal(last_wave, [1.0, 2 / 1.5])
    assert np.array_equal(padding, [1.0, 6 * 128 * 128 / (257 * 256)])


def test_rates_and_energy() -> None:
    assert flops(2.0, 3.0, 5.0) == 60
    assert tflops(1000.0, 1000.0, 500.0, 1.0) == 1.0, "1e9 operations in a millisecond"
    assert energy_mj(2.0, 300.0) == 600.0


def test_shapes_broadcast_to_a_grid() -> None:
    facts = device("h100_sxm", "bfloat16")
    assert facts is not None
    known = dict(zip(FLOOR_CONSTANTS, (4e-3, 2e-3, 1.3, 1.2, 2, 4e-7, 5e-4), strict=True))
    m, n, k = (np.array([1.0, 100, MAXIMUM]).reshape(shape) for shape in ((3, 1, 1), (3, 1), 3))
    grid = floor(facts, m, n, k, known)
    assert grid.shape == (3, 3, 3)
    assert grid[1, 2, 0] == floor(facts, 100, MAXIMUM, 1, known)


def test_traced_is_what_numpy_says() -> None:
    """The same lines as an ONNX graph, at the extremes too."""
    known = dict(zip(FLOOR_CONSTANTS, (4e-3, 2e-3, 1.3, 1.2, 1.14, 4e-7, 5e-4), strict=True))
    rates = (989e9, 4.8e9, 132.0, 2.0, 2.0, 2.0)

    def both(xp: Any, m: Any, n: Any, k: Any) -> dict[str, Any]:
        parts = lanes(xp, m, n, k, *rates)
        value = floor_ms(xp, *parts, k, **known)
        names = ("log_waves", "last_wave", "padding")
        tiles = dict(zip(names, tiling(xp, m, n, 132.0, 128, 256), strict=True))
        return {"floor": value, **tiles, "tflops": tflops(m, n, k, value)}

    arguments = {name: ndx.argument(shape=("N",), dtype=ndx.float64) for name in "mnk"}
    model = ndx.build(arguments, both(ndx, **arguments))
    ends = np.array([1.0, 2.0, 127.0, 128.0, 129.0, 5000.0, MAXIMUM])
    m, n, k = (grid.ravel() for grid in np.meshgrid(ends, ends, ends))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = both(np, m, n, k)
    got = session.run(list(expected), {"m": m, "n": n, "k": k})
    for name, value in zip(expected, got, strict=True):
        assert value == pytest.approx(expected[name], rel=1e-12), name
