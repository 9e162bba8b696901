"""Small tables of the GEMM model, made by hand, and questions to ask them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from perfcast.predictors.assemble import directory, facts_row
from perfcast.predictors.campaign import Axes
from perfcast.predictors.gemm import GemmTables
from perfcast.predictors.lattice import Lattice
from tests.predictors.campaigns import CONSTANTS, H100, H200, H200_TRTLLM

OLD = H200._replace(framework_version="0.9.0")
A100 = H200._replace(gpu="a100_sxm")
SGLANG = H200._replace(framework="sglang", framework_version="0.5.14")
DEPLOYMENTS = (H100, H200_TRTLLM, OLD, H200, A100, SGLANG)
MEASURED = 4
"""The first ones; the others were transferred."""
POWERED = {H200}

SIZES = np.array([64.0, 256.0, 1024.0, 4096.0, 8192.0])
AXES = Axes(SIZES, SIZES, np.array([1.0, 16.0, 256.0, 1024.0, 4096.0]))
UNKNOWN_M = 16.0
"""Where the second deployment was not measured."""
COARSE = np.array([1.0, 256.0, 4096.0])
RANGES = (1.0, 4096.0, 64.0, 4096.0, 64.0, 4096.0)
"""Measured m, n and k; the last node of n and k lies beyond."""
BETWEEN_NODES = np.array([1.5, 1.25, 2.0])  # of n, k and m
PER_OCTAVE, OTHER_VERSION, LIMIT_W = 2.0, 0.25, 700.0


def tables(seed: int = 0) -> GemmTables:
    """Tables in which every node is different."""
    random = np.random.default_rng(seed)
    fine, coarse = (
        (len(DEPLOYMENTS), len(AXES.n), len(AXES.k), size) for size in (len(AXES.m), len(COARSE))
    )
    newest = {(d.gpu, d.framework, d.dtype): d for d in DEPLOYMENTS}
    facts = [
        facts_row(
            deployment,
            CONSTANTS,
            RANGES,
            between_nodes=BETWEEN_NODES,
            per_octave=PER_OCTAVE,
            other_version=OTHER_VERSION,
            power_limit_w=LIMIT_W,
        )
        for deployment in DEPLOYMENTS
    ]

    return GemmTables(
        directory=directory(
            DEPLOYMENTS,
            measured=MEASURED,
            powered=POWERED,
            frameworks=("sglang", "trtllm", "vllm"),
            dtypes=("bfloat16", "fp8"),
            newest=newest,
        ),
        axes=AXES,
        coarse_m=COARSE,
        known_m=np.array(
            [[d != H200_TRTLLM or m != UNKNOWN_M for m in AXES.m] for d in DEPLOYMENTS]
        ),
        facts=np.stack(facts),
        log_ratio=Lattice.pack(random.normal(0.0, 0.2, fine), np.float16),
        log_power=Lattice.pack(np.log(random.uniform(100.0, 690.0, fine)), np.float16),
        offsets=Lattice.pack(
            np.log(random.uniform(0.01, 0.1, (*coarse, 2, 2))), np.uint8, further=2
        ),
    )


def questions(
    m: ArrayLike = 256,
    n: ArrayLike = 1024,
    k: ArrayLike = 1024,
    *,
    gpu: ArrayLike = "h200_sxm",
    framework: ArrayLike = "vllm",
    framework_version: ArrayLike = "",
    dtype: ArrayLike = "bfloat16",
) -> dict[str, Any]:
    """Columns of the model's inputs; single values hold for all rows."""
    given = (gpu, framework, framework_version, dtype, m, n, k)
    names = ("gpu", "framework", "framework_version", "dtype", "m", "n", "k")
    kinds = (object,) * 4 + (np.int64,) * 3
    arrays = [np.array(x, dtype=kind) for x, kind in zip(given, kinds, strict=True)]
    rows = np.broadcast_arrays(*(np.atleast_1d(array) for array in arrays))
    return {name: np.array(column) for name, column in zip(names, rows, strict=True)}


def random_questions(rows: int, seed: int = 0, *, top: int = 2**24) -> dict[str, Any]:
    """Rows of all kinds: known and unknown names, sizes up to `top`."""
    random = np.random.default_rng(seed)
    words = {
        "gpu": ("h100_sxm", "h200_sxm", "a100_sxm", "b200_sxm", "nonsense"),
        "framework": ("sglang", "trtllm", "vllm", "", "tf"),
        "framework_version": ("0.24.0", "0.9.0", "1.3.0rc20", "", "7"),
        "dtype": ("bfloat16", "fp8", "fp4"),
    }
    names = {
        name: random.choice(np.array(known, dtype=object), rows) for name, known in words.items()
    }
    m, n, k = np.exp(random.uniform(0, np.log(top), (3, rows))).astype(np.int64)
    return questions(m, n, k, **names)
