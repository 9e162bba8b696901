from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfcast.errors import DataError, UnknownValue
from perfcast.features.gemm import device, lanes
from perfcast.predictors.campaign import Axes, Campaign, Deployment, site_lanes
from tests.predictors.campaigns import AXES, DEPLOYMENTS, H100, H200, campaign, columns_of

KNOWN = (
    H100,
    H200,
    H200._replace(framework_version="0.9.0"),
    H200._replace(framework_version="0.22.0rc1"),
    Deployment("a100_sxm", "vllm", "0.14.0", "bfloat16"),
    Deployment("h200_sxm", "trtllm", "1.3.0rc20", "fp8"),
    Deployment("h200_sxm", "vllm", "0.24.0", "fp8"),
)

measurements = st.dictionaries(
    st.tuples(
        st.sampled_from(KNOWN),
        st.sampled_from([1, 7, 64, 2**24]),
        st.sampled_from([32, 96, 51_200]),
        st.integers(1, 5),
    ),
    st.floats(1e-6, 1e6),
    min_size=1,
    max_size=40,
)


@given(measurements)
def test_rows_and_grids_hold_the_same(
    measured: dict[tuple[Deployment, int, int, int], float],
) -> None:
    rows = list(measured)
    columns = {name: [row[0][at] for row in rows] for at, name in enumerate(Deployment._fields)}
    sizes = {
        name: np.array([row[at] for row in rows]) for at, name in ((1, "n"), (2, "k"), (3, "m"))
    }
    grid = Campaign.from_columns({**columns, **sizes}, np.array(list(measured.values())))
    assert set(grid.deployments) == {row[0] for row in rows}
    assert grid.values.shape == (len(grid.deployments), *grid.axes.shape)
    assert np.isfinite(grid.values).sum() == len(rows)
    for name in "nkm":
        nodes = getattr(grid.axes, name)
        assert nodes.tolist() == sorted(set(sizes[name].tolist()))
    for (deployment, n, k, m), value in measured.items():
        at = [int(np.searchsorted(*pair)) for pair in zip(
            (grid.axes.n, grid.axes.k, grid.axes.m), (n, k, m), strict=True)]  # fmt: skip
        assert grid.values[grid.deployments.index(deployment), at[0], at[1], at[2]] == value
    again = Campaign.from_columns(*columns_of(grid))
    assert again.deployments == grid.deployments
    assert np.array_equal(again.values, grid.values, equal_nan=True)


def test_versions_are_in_order() -> None:
    """Newest last, as the layers expect: 0.24.0 after 0.9.0."""
    shuffled = [KNOWN[i] for i in (3, 1, 2)]
    names = {name: [d[at] for d in shuffled] for at, name in enumerate(Deployment._fields)}
    sizes = {name: [64] * 3 for name in "mnk"}
    found = Campaign.from_columns({**names, **sizes}, np.ones(3)).deployments
    assert [d.framework_version for d in found] == ["0.9.0", "0.22.0rc1", "0.24.0"]


def test_given_axes() -> None:
    measured = campaign()
    columns, values = columns_of(measured)
    wider = Axes(np.append(AXES.n, 16_384.0), AXES.k, AXES.m)
    grid = Campaign.from_columns(columns, values, axes=wider)
    assert np.array_equal(grid.values[:, :-1], measured.values)
    assert np.isnan(grid.values[:, -1]).all()
    assert not grid.measured[:, -1].any() and grid.measured[:, :-1].all()
    for name, nodes in (("n", AXES.n[:-1]), ("k", AXES.k[1:]), ("m", AXES.m[::2])):
        axes = Axes(**{**{other: getattr(AXES, other) for other in "nkm"}, name: nodes})
        with pytest.raises(DataError, match=f"column {name}: values that are not on"):
            Campaign.from_columns(columns, values, axes=axes)


def test_rows_without_a_value_widen_the_axes_only() -> None:
    columns, values = columns_of(campaign())
    values[columns["n"] == 8192] = np.nan
    grid = Campaign.from_columns(columns, values)
    assert grid.axes.n[-1] == 8192
    assert not grid.measured[:, -1].any()


def test_without_sites() -> None:
    measured = campaign()
    before = measured.values.copy()
    sites = np.zeros((6, 6), dtype=bool)
    sites[2, 3] = sites[5, 0] = True
    rest = measured.without(sites)
    assert np.array_equal(rest.measured, np.broadcast_to(~sites, rest.measured.shape))
    assert np.array_equal(rest.values[rest.measured], before[:, ~sites].reshape(-1, 8))
    assert np.array_equal(measured.values, before), "the original is left alone"
    one = np.zeros((3, 6, 6), dtype=bool)
    one[1] = sites
    assert (~measured.without(one).measured).sum(axis=(1, 2)).tolist() == [0, 2, 0]


def test_select() -> None:
    measured = campaign()
    part = measured.select(range(1, 3))
    assert part.deployments == DEPLOYMENTS[1:]
    assert np.array_equal(part.values, measured.values[1:])
    assert part.axes is measured.axes


def test_site_lanes_are_the_features() -> None:
    found = site_lanes(H200, AXES)
    assert found.shape == (3, 6, 6, 8)
    facts = device("h200_sxm", "bfloat16")
    assert facts is not None
    rates = (facts.flops_per_ms, facts.bytes_per_ms, facts.num_sms, *facts.operand_bytes)
    m, n, k = AXES.m[7], AXES.n[1], AXES.k[4]
    assert found[:, 1, 4, 7].tolist() == [float(part) for part in lanes(np, m, n, k, *rates)]
    with pytest.raises(DataError, match="a100_sxm cannot multiply fp8"):
        site_lanes(Deployment("a100_sxm", "vllm", "0.14.0", "fp8"), AXES)
    with pytest.raises(UnknownValue, match="'h200_sxm'"):
        site_lanes(H200._replace(gpu="h200"), AXES)
