"""From a finished GEMM fit to its bundle: tables, the exported model, the gate, and the card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfcast.features.hardware import GPUS
from perfcast.features.tasks import GEMM
from perfcast.predictors.assemble import blend, directory, facts_row, transfer_offsets
from perfcast.predictors.campaign import Campaign, Deployment
from perfcast.predictors.export import run_onnx, to_onnx, verify
from perfcast.predictors.gemm import COLUMNS, REASONS, GemmTables
from perfcast.predictors.intervals import worst_offsets
from perfcast.predictors.lattice import Lattice
from perfcast.predictors.stand_in import allowance, allowances, stand_ins
from perfcast.training.dataset import DataSet
from perfcast.training.gemm import Fit, Options, newest_positions, transfer_errors

__all__ = ["card_of", "deployments_of", "gate_rows", "tables_of"]

_POWER_HEADROOM = 1.02
"""Sensors were seen up to 2 % above the board's limit."""


def tables_of(fit: Fit, options: Options) -> GemmTables:
    """The tables of the shipped model."""
    campaign, axes = fit.campaign, fit.campaign.axes
    measured = len(campaign.deployments)
    deployments = deployments_of(fit)
    newest = {
        (d.gpu, d.framework, d.dtype): d
        for d in (
            *(campaign.deployments[g] for g in newest_positions(campaign.deployments)),
            *fit.unmeasured,
        )
    }
    found = directory(
        deployments,
        measured=measured,
        powered=set(fit.power.deployments),
        frameworks=GEMM.input("framework").allowed,
        dtypes=GEMM.input("dtype").allowed,
        newest=newest,
    )
    log_ratio = np.concatenate([blend(fit.log_ratio, fit.error), fit.unmeasured_log_ratio])
    offsets = np.concatenate([fit.offsets, _transferred_offsets(fit, options)])
    log_power, power_offsets = _power(fit, options)
    everything = _overall_range(campaign)
    pairs = stand_ins(campaign, fit.log_floor + fit.log_ratio, fit.left_out_offsets)
    other_versions = allowances(campaign, pairs, options.coverage)
    facts = [
        facts_row(
            deployment,
            fit.constants[g] if g < measured else fit.unmeasured_constants[g - measured],
            _range(campaign, g) if g < measured else everything,
            between_nodes=fit.between_nodes[g] if g < measured else np.ones(3),
            per_octave=float(fit.per_octave[g]) if g < measured else 1.0,
            other_version=allowance(other_versions, deployment),
            power_limit_w=GPUS[deployment.gpu].tdp_w * _POWER_HEADROOM,
        )
        for g, deployment in enumerate(deployments)
    ]
    return GemmTables(
        directory=found,
        axes=axes,
        coarse_m=axes.m[fit.coarse],
        known_m=np.concatenate(
            [
                np.isfinite(campaign.values).any(axis=(1, 2)),
                np.ones((len(fit.unmeasured), len(axes.m)), dtype=bool),
            ]
        ),
        facts=np.stack(facts),
        log_ratio=Lattice.pack(log_ratio, np.float16),
        log_power=Lattice.pack(log_power, np.uint8),
        offsets=Lattice.pack(
            np.log(np.stack([offsets, power_offsets], axis=-2)), np.uint8, further=2
        ),
    )


def _transferred_offsets(fit: Fit, options: Options) -> NDArray[np.float64]:
    """Offsets [unmeasured, N, K, C, 2], one pair for each dtype."""
    by_dtype = transfer_offsets(
        transfer_errors(fit, {d.gpu for d in fit.campaign.deployments}), options.coverage
    )
    pairs = np.array([by_dtype.get(d.dtype, by_dtype[""]) for d in fit.unmeasured]).reshape(-1, 2)
    shape = (len(fit.unmeasured), *fit.offsets.shape[1:])
    return np.broadcast_to(pairs[:, None, None, None, :], shape)


def _power(fit: Fit, options: Options) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log power [D, N, K, M] and its offsets [D, N, K, C, 2] for every deployment."""
    log_power = fit.log_power.copy()
    pair = worst_offsets(list(fit.power_transfer_errors.values()), options.coverage)
    shape = (len(log_power), *fit.offsets.shape[1:])
    offsets = np.broadcast_to(np.array(pair), shape).copy()
    blended = blend(fit.power_full, fit.power_error)
    for position, deployment in enumerate(fit.power.deployments):
        g = fit.campaign.deployments.index(deployment)
        log_power[g], offsets[g] = blended[position], fit.power_offsets[position]
    return log_power, offsets


def _range(campaign: Campaign, g: int) -> tuple[float, ...]:
    """Smallest and largest measured m, n and k of one deployment."""
    seen = np.isfinite(campaign.values[g])
    bounds: list[float] = []
    for name, others in (("m", (0, 1)), ("n", (1, 2)), ("k", (0, 2))):
        nodes = getattr(campaign.axes, name)[seen.any(axis=others)]
        bounds += [float(nodes[0]), float(nodes[-1])]
    return tuple(bounds)


def _overall_range(campaign: Campaign) -> tuple[float, ...]:
    ranges = np.array([_range(campaign, g) for g in range(len(campaign.deployments))])
    return tuple(float(np.median(ranges[:, column])) for column in range(ranges.shape[1]))


def gate_rows(tables: GemmTables, seed: int = 0, rows: int = 20_000) -> dict[str, NDArray[Any]]:
    """Questions for the parity gate: random ones, every threshold and its neighbours, extremes."""
    random = np.random.default_rng(seed)
    names = tables.directory.names
    sizes = {}
    for axis in "mnk":
        nodes = getattr(tables.axes, axis).astype(np.int64)
        edges = np.concatenate([nodes - 1, nodes, nodes + 1, [1, 2**24]])
        wide = np.exp(random.uniform(0.0, np.log(2.0**24), rows)).astype(np.int64)
        near = np.exp(random.uniform(0.0, np.log(70_000.0), rows)).astype(np.int64)
        pool = np.concatenate([random.choice(edges, rows), wide, near, near])
        sizes[axis] = np.clip(random.permutation(pool), 1, 2**24)
    count = len(sizes["m"])
    words = {
        name: np.array([*known, "?"], dtype=object)[random.integers(0, len(known) + 1, count)]
        for name, known in names.items()
    }
    # most versions make no sense for most frameworks: let half the rows ask for the default
    words["framework_version"][random.random(count) < 0.5] = ""
    return {**words, **sizes}


def card_of(
    fit: Fit,
    data: DataSet,
    tables: GemmTables,
    *,
    options: Options,
    provenance: Mapping[str, Any],
    reports: Mapping[str, Any],
) -> tuple[bytes, dict[str, Any]]:
    """`(model, card)`: the exported model, past the gate, and its card without the hash.

    Raises `ExportMismatch` if the export does not agree.
    """
    model = to_onnx(tables)
    largest = verify(tables, model, gate_rows(tables, options.seed))
    single = gate_rows(tables, options.seed + 1, rows=4)
    for row in range(len(single["m"])):
        verify(tables, model, {name: values[row : row + 1] for name, values in single.items()})
    now = datetime.now(UTC)
    powered = set(fit.power.deployments)
    card = {
        "task": GEMM.name,
        "version": f"{now:%Y.%m.%d}-{hashlib.sha256(model).hexdigest()[:8]}",
        "created": now.isoformat(timespec="seconds"),
        "title": GEMM.title,
        "coverage": options.coverage,
        "reasons": list(REASONS),
        "deployments": [
            {**d._asdict(), "power_measured": d in powered} for d in fit.campaign.deployments
        ],
        "estimated_deployments": [d._asdict() for d in fit.unmeasured],
        "data": {"rows": len(data), "sha256": data.fingerprint(), **provenance},
        "method": {
            "layers": "calibrated roofline floor x kriging over (n, k) sites x boosted trees, "
            "evaluated at the nodes of a grid; read by log-linear interpolation",
            "split": f"sites: {options.folds} folds of whole (n, k) pairs, every figure left out",
            "intervals": "conformalised quantile regression, one factor per deployment",
            "options": {name: getattr(options, name) for name in Options.__slots__},
        },
        "support": {
            "/".join(d): _support(tables, g) for g, d in enumerate(fit.campaign.deployments)
        },
        "parity": {"largest_relative_difference": largest, "rows": len(gate_rows(tables)["m"])},
        "metrics": dict(reports),
        "self_test": _self_test(model),
    }
    return model, card


def _support(tables: GemmTables, g: int) -> dict[str, Any]:
    fact = dict(zip(COLUMNS, tables.facts[g], strict=True))
    ranges = ("min_m", "max_m", "min_n", "max_n", "min_k", "max_k")
    return {
        **{name: int(fact[name]) for name in ranges},
        "wider_between_nodes": {name: round(float(fact[f"between_{name}"]), 3) for name in "nkm"},
        "wider_per_octave_beyond": round(float(fact["per_octave"]), 3),
        "log_allowance_other_version": round(float(fact["other_version"]), 3),
    }


def _self_test(model: bytes) -> dict[str, Any]:
    """A few questions with the model's own answers, asked again wherever the bundle is opened."""
    rows = [
        ("h200_sxm", "vllm", "", "fp8", 4096, 4096, 8192),
        ("b200_sxm", "trtllm", "", "nvfp4", 100, 11008, 4096),
        ("a100_sxm", "", "", "bfloat16", 1, 4096, 4096),
        ("l4", "vllm", "", "bfloat16", 512, 2048, 2048),
        ("h200_sxm", "sglang", "", "fp8_block", 8192, 70000, 7168),
        ("a100_sxm", "", "", "fp8", 16, 4096, 4096),
    ]
    names = GEMM.input_names
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    typed = {
        name: np.array(values, dtype=np.int64 if name in "mnk" else object)
        for name, values in columns.items()
    }
    answers = run_onnx(model, typed)
    outputs = {
        name: [None if np.isnan(v) else float(v) for v in values.astype(np.float64)]
        for name, values in answers.items()
    }
    return {"inputs": columns, "outputs": outputs}


def deployments_of(fit: Fit) -> tuple[Deployment, ...]:
    """Every deployment with a row in the tables, measured ones first."""
    return (*fit.campaign.deployments, *fit.unmeasured)
