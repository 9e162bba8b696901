"""From fitted layers to the tables that ship: blended nodes, widenings, directory, facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from perfcast.features.gemm import device
from perfcast.features.hardware import GPUS
from perfcast.predictors import gemm
from perfcast.predictors.campaign import Axes, Deployment
from perfcast.predictors.gemm import COLUMNS, Directory
from perfcast.predictors.intervals import (
    UNTESTED_OFFSET,
    balanced,
    conformal_factor,
    scores,
    tail_offsets,
)

__all__ = [
    "blend", "directory", "facts_row", "steps_beyond", "transfer_offsets", "widening",
]  # fmt: skip

FRONTIER_STEP = 0.5
"""Past frontiers further out than this many octaves say little about the next one."""

_ONE_EDGE = np.log(1.05)
_DEFAULT_ORDER = ("vllm", "trtllm", "sglang")


def blend(
    log_ratio: NDArray[np.float64], error: NDArray[np.float64], weight: float = 0.5
) -> NDArray[np.float64]:
    """Move measured nodes [G, N, K, M] by `weight` of the way to what was measured there.

    Half-way, because a measurement is one noisy run and the model's left-out error is of the same
    size; errors beyond three robust standard deviations are taken as disturbances and cut.
    """
    sigma = 1.4826 * np.nanmedian(np.abs(error), axis=(1, 2, 3), keepdims=True)
    step = np.clip(np.nan_to_num(error), -3.0 * sigma, 3.0 * sigma)
    return log_ratio + weight * step


def widening(
    axes: Axes,
    log_ratio: NDArray[np.float64],
    error: NDArray[np.float64],
    frontier_error: NDArray[np.float64],
    offsets: NDArray[np.float64],
    coverage: float,
) -> tuple[NDArray[np.float64], float]:
    """How much wider one deployment's intervals must be `(between nodes [3], per octave beyond)`.

    `log_ratio`, `error`, `frontier_error` are [N, K, M], `offsets` [N, K, M, 2]. Between nodes of
    n, of k, of m: each measured node is interpolated from the nodes on both sides, as they ship
    (see `blend`), which is about twice as far as any question will be. Beyond: past frontiers up
    to half an octave out (see `steps_beyond`).
    """
    truth = log_ratio + error
    shipped = blend(log_ratio[None], error[None])[0]
    factors = []
    for axis, nodes in enumerate((axes.n, axes.k, axes.m)):
        along = (np.moveaxis(values, axis, 0) for values in (truth, shipped, offsets))
        factors.append(conformal_factor(_skipped(nodes, *along), coverage))
    step = np.broadcast_to(steps_beyond(axes, error)[..., None], error.shape)
    near = np.where(step <= FRONTIER_STEP, frontier_error, np.nan)
    needed = (scores(near, offsets) - 1.0) / step
    beyond = conformal_factor(needed[np.isfinite(needed)], coverage)
    return np.clip(factors, 1.0, 6.0), float(np.clip(beyond, 0.25, 12.0))


def _skipped(
    nodes: NDArray[np.float64],
    truth: NDArray[np.float64],
    shipped: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Scores of measured nodes interpolated from those before and after, all along axis 0.

    Nodes within 5 %, the two sides of a tile edge, are skipped together: a question between nodes
    has both behind it or both before it.
    """
    known = np.flatnonzero(np.isfinite(truth).any(axis=tuple(range(1, truth.ndim))))
    logs = np.log(nodes)
    groups = np.split(known, np.flatnonzero(np.diff(logs[known]) > _ONE_EDGE) + 1)
    found = [np.zeros(0)]
    for before, group, after in zip(groups[:-2], groups[1:-1], groups[2:], strict=True):
        left, right = before[-1], after[0]
        for at in group:
            share = (logs[at] - logs[left]) / (logs[right] - logs[left])
            between = shipped[left] * (1.0 - share) + shipped[right] * share
            found.append(_scores(truth[at] - between, offsets[at]))
    return np.concatenate(found)


def steps_beyond(axes: Axes, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many octaves each site's larger side lies beyond the next smaller size measured: [N, K].

    `values` [..., N, K, M] are finite where something was measured. 0 for the smallest size.
    """
    size = np.maximum(axes.n[:, None], axes.k[None, :])
    seen = np.isfinite(values).any(axis=-1)
    sizes = np.unique(size[seen.reshape(-1, *size.shape).any(axis=0)])
    below = sizes[np.maximum(np.searchsorted(sizes, size) - 1, 0)]
    return np.asarray(np.log2(size / below))


def _scores(error: NDArray[np.float64], offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    score = scores(error, offsets)
    return np.asarray(score[np.isfinite(score)])


def facts_row(
    deployment: Deployment,
    constants: NDArray[np.float64],
    ranges: tuple[float, ...],
    *,
    between_nodes: NDArray[np.float64],
    per_octave: float,
    other_version: float,
    power_limit_w: float,
) -> NDArray[np.float64]:
    """One row of `GemmTables.facts`; `ranges` are min and max of m, n and k, `between_nodes`
    [3] how much wider intervals get between nodes of n, of k and of m."""
    facts = device(deployment.gpu, deployment.dtype)
    assert facts is not None, "only deployments that the hardware supports get a row"
    row = np.array([
        facts.flops_per_ms, facts.bytes_per_ms, facts.num_sms, *facts.operand_bytes,
        facts.memory_bytes, *constants, *ranges, *between_nodes, per_octave, other_version,
        power_limit_w,
    ])  # fmt: skip
    assert len(row) == len(COLUMNS)
    return row


def directory(
    deployments: Sequence[Deployment],
    *,
    measured: int,
    powered: set[Deployment],
    frameworks: Sequence[str],
    dtypes: Sequence[str],
    newest: Mapping[tuple[str, str, str], Deployment],
) -> Directory:
    """Resolve every combination of names to a row and the reasons that come with it.

    The first `measured` of `deployments` were measured, the others transferred; `powered` have
    measured power. `newest` gives the version that answers for a GPU, framework and dtype.
    """
    versions = sorted({d.framework_version for d in deployments})
    names = {
        "gpu": tuple(GPUS),
        "framework": (*frameworks, ""),
        "framework_version": (*versions, ""),
        "dtype": tuple(dtypes),
    }
    row_of = {d: i for i, d in enumerate(deployments)}
    measured_gpus = {d.gpu for d in deployments[:measured]}
    powered_gpus = {d.gpu for d in powered}
    shape = tuple(len(known) + 1 for known in names.values())
    row = np.zeros(shape, dtype=np.int64)
    bits = np.full(shape, gemm.UNKNOWN, dtype=np.int64)
    for a, gpu in enumerate(names["gpu"]):
        for b, framework in enumerate(names["framework"]):
            for d, dtype in enumerate(names["dtype"]):
                choices = [framework] if framework else list(_DEFAULT_ORDER)
                found = [newest[gpu, f, dtype] for f in choices if (gpu, f, dtype) in newest]
                if not found:
                    continue
                found.sort(key=lambda option: row_of[option] >= measured)  # measured ones first
                for c in range(shape[2]):
                    version = (*names["framework_version"], None)[c]
                    exact = found[0]._replace(framework_version=version or "")
                    answering = exact if exact in row_of else found[0]
                    flags = 0
                    if row_of[answering] >= measured:
                        flags |= gemm.NO_DEPLOYMENT if gpu in measured_gpus else gemm.NO_GPU
                    if version not in ("", answering.framework_version):
                        flags |= gemm.NO_VERSION
                    if gpu not in powered_gpus:
                        flags |= gemm.NO_POWER
                    elif answering not in powered:
                        flags |= gemm.OTHER_POWER
                    row[a, b, c, d], bits[a, b, c, d] = row_of[answering], flags
    return Directory(names, row, bits)


def transfer_offsets(
    errors: Mapping[str, Mapping[str, Sequence[NDArray[np.float64]]]], coverage: float
) -> dict[str, tuple[float, float]]:
    """Offsets for a GPU that was not measured, by dtype, and under "" for untested dtypes.

    `errors` are log errors by dtype and by the GPU that was left out; GPUs count alike.
    """
    found = {
        dtype: tail_offsets(
            balanced([np.concatenate([e[np.isfinite(e)] for e in e_gpu]) for e_gpu in by.values()]),
            coverage,
        )
        for dtype, by in errors.items()
        if any(np.isfinite(e).any() for e_gpu in by.values() for e in e_gpu)
    }
    found[""] = (
        max((low for low, _ in found.values()), default=UNTESTED_OFFSET),
        max((high for _, high in found.values()), default=UNTESTED_OFFSET),
    )
    return found
