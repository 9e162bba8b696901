from __future__ import annotations

import dataclasses

import pytest

from perfcast.errors import UnknownValue
from perfcast.features.hardware import GPUS, gpu, peak_tflops, supports
from perfcast.features.tasks import DTYPES

# tensor-core multiply-adds per clock and multiprocessor, in bfloat16, by family
OPERATIONS_PER_CLOCK = {
    "ada": 1024,
    "ampere": 2048,
    "blackwell": 8192,
    "blackwell_rtx": 1024,
    "blackwell_ultra": 8192,
    "hopper": 4096,
    "xe2": 2048,
}


def test_fourteen_gpus_in_alphabetical_order() -> None:
    assert len(GPUS) == 14
    assert list(GPUS) == sorted(GPUS)
    assert all(GPUS[name].name == name for name in GPUS)


@pytest.mark.parametrize("name", GPUS)
def test_peak_is_what_the_multiprocessors_can_do(name: str) -> None:
    """Peak rates are stated at or a little below the highest clock, never above it."""
    device = GPUS[name]
    per_clock = OPERATIONS_PER_CLOCK[device.architecture]
    at_boost = device.num_sms * per_clock * device.boost_clock_mhz * 1e-6
    assert 0.9 * at_boost < device.peak_bf16_tflops < 1.002 * at_boost


@pytest.mark.parametrize("name", GPUS)
def test_facts_are_plausible_and_sourced(name: str) -> None:
    device = GPUS[name]
    assert device.sources and all(len(source) > 10 for source in device.sources)
    for field in dataclasses.fields(device):
        value = getattr(device, field.name)
        if isinstance(value, int | float):
            assert value > 0, field.name
    if device.peak_fp4_tflops is not None:
        assert device.peak_fp8_tflops is not None
        assert device.peak_fp4_tflops > device.peak_fp8_tflops > device.peak_bf16_tflops
    assert (device.sm_version is None) == (device.vendor != "nvidia")


def test_rates_by_dtype() -> None:
    assert peak_tflops("h200_sxm", "bfloat16") == peak_tflops("h200_sxm", "int4_wo") == 989
    assert peak_tflops("h200_sxm", "fp8") == peak_tflops("h200_sxm", "fp8_block") == 1978
    assert peak_tflops("b200_sxm", "nvfp4") == 9000
    assert peak_tflops("a100_sxm", "sq") == 624
    assert peak_tflops("b60", "fp8") == peak_tflops("b60", "bfloat16"), "computed in bfloat16"


def test_what_hardware_lacks_is_none() -> None:
    assert peak_tflops("a100_sxm", "fp8") is None
    assert not supports("a100_sxm", "fp8")
    assert not supports("h100_sxm", "nvfp4")
    assert supports("l4", "fp8")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_the_task_has_a_rate(dtype: str) -> None:
    assert any(supports(name, dtype) for name in GPUS)
    assert supports("gb300", dtype)


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(UnknownValue, match=r"gpu.*'h200'.*'h200_sxm'"):
        gpu("h200")
    with pytest.raises(UnknownValue, match=r"dtype.*'fp_8'.*'fp8'"):
        peak_tflops("h200_sxm", "fp_8")


def test_facts_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        gpu("l4").tdp_w = 1000  # type: ignore[misc]
