"""Synthetic GEMM measurements for tests: every column a data set may have, made by a formula."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from perfcast.features.hardware import peak_tflops

M = (1, 16, 256, 4096)
SIZES = (64, 512, 4096, 8192)
DEPLOYMENTS = (
    ("a100_sxm", "vllm", "0.14.0", "bfloat16"),
    ("h200_sxm", "trtllm", "1.3.0rc20", "bfloat16"),
    ("h200_sxm", "vllm", "0.9.0", "bfloat16"),
    ("h200_sxm", "vllm", "0.22.0", "bfloat16"),
    ("h200_sxm", "vllm", "0.22.0", "fp8"),
)


def measurements(
    deployments: Sequence[tuple[str, str, str, str]] = DEPLOYMENTS,
    *,
    m: Sequence[int] = M,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
) -> dict[str, list[Any]]:
    """Columns of every deployment x m x (n, k), power only for vllm 0.22.0."""
    rng = np.random.default_rng(seed)
    rows = []
    for (gpu, framework, version, dtype), rows_m, n, k in itertools.product(
        deployments, m, sizes, sizes
    ):
        peak = peak_tflops(gpu, dtype)
        assert peak is not None
        latency = 0.003 + 2.0 * rows_m * n * k / (0.7e9 * peak) * float(rng.uniform(1, 1.3))
        power = 120 + 500 * min(1.0, latency) if version == "0.22.0" else None
        limit = None if power is None else 700.0
        rows.append((gpu, framework, version, dtype, rows_m, n, k, latency, power, limit))
    inputs = ("gpu", "framework", "framework_version", "dtype", "m", "n", "k")
    names = (*inputs, "latency_ms", "power_w", "power_limit_w")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def write(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Write columns to a Parquet or CSV file, by its suffix."""
    table = pa.table(dict(columns))
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        pyarrow.csv.write_csv(table, path)
    return path


def rows(columns: Mapping[str, Sequence[Any]], chosen: Sequence[int]) -> dict[str, list[Any]]:
    return {name: [column[row] for row in chosen] for name, column in columns.items()}
