from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perfcast.features.gemm import tiling
from perfcast.predictors.campaign import Campaign, Deployment, site_lanes
from perfcast.predictors.context import FEATURES, context, siblings
from perfcast.predictors.surface import Surface
from tests.predictors.campaigns import AXES, DEPLOYMENTS, H100, H200, H200_TRTLLM

OLD = H200._replace(framework_version="0.22.0")
FP8 = H200._replace(dtype="fp8")
A100 = Deployment("a100_sxm", "vllm", "0.14.0", "bfloat16")
B60 = Deployment("b60", "vllm", "0.20.0", "bfloat16")


@pytest.fixture(scope="module")
def surface() -> Surface:
    """Whose kriged values tell every node apart."""
    shape = (3, *AXES.shape)
    kriged = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    log_floor = np.random.default_rng(0).standard_normal(shape)
    measured = Campaign(DEPLOYMENTS, AXES, np.ones(shape))
    return Surface(measured, np.full((3, 7), np.nan), log_floor, kriged, np.zeros(shape))


@pytest.fixture(scope="module")
def nodes(surface: Surface) -> NDArray[np.int64]:
    return np.indices(surface.kriged.shape).reshape(4, -1).astype(np.int64)


@pytest.fixture(scope="module")
def named(surface: Surface, nodes: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
    features = context(surface, nodes)
    assert features.shape == (nodes.shape[1], len(FEATURES))
    return dict(zip(FEATURES, features.T, strict=True))


def test_names_are_distinct() -> None:
    assert len(set(FEATURES)) == len(FEATURES)


def test_only_missing_siblings_are_nan(named: dict[str, NDArray[np.float32]]) -> None:
    missing = {name for name, column in named.items() if np.isnan(column).any()}
    assert missing == {"kriged_sglang", "kriged_trtllm", "kriged_twin"}
    assert not any(np.isinf(column).any() for column in named.values())


def test_shape_and_floor(
    surface: Surface, nodes: NDArray[np.int64], named: dict[str, NDArray[np.float32]]
) -> None:
    g, i, j, h = nodes
    n, m = AXES.n[i], AXES.m[h]
    assert named["log_mn"] == pytest.approx(np.log2(m * n))
    assert named["log_nk"] == pytest.approx(named["log_n"] + named["log_k"])
    floor = surface.log_floor[g, i, j, h]
    assert named["log_floor"] == pytest.approx(floor, rel=1e-6)
    for name, lane in (("compute_share", 0), ("memory_share", 1)):
        lanes = np.stack([site_lanes(d, AXES)[lane] for d in DEPLOYMENTS])
        assert named[name] == pytest.approx(np.log(lanes[g, i, j, h]) - floor, abs=1e-5)
    share = named["compute_share"] - named["memory_share"]
    assert named["log_intensity"] == pytest.approx(share, abs=1e-5)
    waves = tiling(np, m, n, 132.0, 128, 256)
    for name, column in zip(("log_waves", "last_wave", "padding"), waves, strict=True):
        assert named[f"{name}_128x256"] == pytest.approx(column, rel=1e-6)


def test_categories(nodes: NDArray[np.int64], named: dict[str, NDArray[np.float32]]) -> None:
    assert np.array_equal(named["deployment"], nodes[0])
    assert np.array_equal(named["gpu"], np.array([0, 1, 1])[nodes[0]])
    assert np.array_equal(named["framework"], np.array([1, 0, 1])[nodes[0]])
    assert not named["dtype"].any()


def test_neighbours_in_m(
    surface: Surface, nodes: NDArray[np.int64], named: dict[str, NDArray[np.float32]]
) -> None:
    assert np.array_equal(named["kriged"], surface.kriged.ravel())
    for step in (-2, -1, 1, 2):
        reached = np.clip(nodes[3] + step, 0, len(AXES.m) - 1) - nodes[3]
        assert np.array_equal(named[f"kriged_m{step:+d}"], reached)


def test_the_same_shape_elsewhere(
    nodes: NDArray[np.int64], named: dict[str, NDArray[np.float32]]
) -> None:
    one = float(np.prod(AXES.shape))  # from one deployment to the next
    expected = {
        "kriged_vllm": [0.0, one, 0.0],
        "kriged_trtllm": [np.nan, 0.0, -one],
        "kriged_sglang": [np.nan, np.nan, np.nan],
        "kriged_twin": [2 * one, np.nan, -2 * one],
    }
    for name, differences in expected.items():
        wanted = np.array(differences)[nodes[0]]
        assert np.array_equal(named[name], wanted, equal_nan=True), name


def test_rows_do_not_depend_on_each_other(surface: Surface, nodes: NDArray[np.int64]) -> None:
    some = nodes[:, [700, 3, 250]]
    everything = context(surface, nodes)[[700, 3, 250]]
    assert np.array_equal(context(surface, some), everything, equal_nan=True)
    assert context(surface, nodes[:, :0]).shape == (0, len(FEATURES))


def test_siblings() -> None:
    """Columns: sglang, trtllm, vllm on the same GPU; then the twin GPU."""
    deployments = (A100, B60, H100, H200_TRTLLM, OLD, H200, FP8)
    assert siblings(deployments).tolist() == [
        [-1, -1, 0, -1],  # no other ampere
        [-1, -1, 1, -1],  # no other of its vendor
        [-1, -1, 2, 5],
        [-1, 3, 5, -1],  # no other under trtllm
        [-1, 3, 5, 2],  # compared with the version that superseded it
        [-1, 3, 5, 2],
        [-1, -1, 6, -1],  # no other in fp8
    ]


def test_the_twin_has_the_nearest_peak_rate() -> None:
    """Within a generation, where compute capabilities share their tens: 8.0 with 8.9."""
    names = ("a100_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300", "h100_pcie", "h100_sxm")
    family = [H200._replace(gpu=name) for name in (*names, "h200_sxm", "l40s")]
    twins = siblings(tuple(family))[:, 3]
    found = {own.gpu: family[twin].gpu for own, twin in zip(family, twins, strict=True)}
    assert found == {
        "a100_sxm": "l40s", "l40s": "a100_sxm",
        "b200_sxm": "b300_sxm", "b300_sxm": "b200_sxm", "gb200": "gb300", "gb300": "gb200",
        "h100_pcie": "h100_sxm", "h100_sxm": "h200_sxm", "h200_sxm": "h100_sxm",
    }  # fmt: skip
