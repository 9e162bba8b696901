"""Broken requests by the million, put to the protocol's parser and the task's validation.

`python -m perfcast.serving.bench.fuzz_oip --cases 1000000` takes good requests and breaks them: in
their bytes, in the values of their JSON, in what the headers say of them. Each must be understood
or refused with a status of the client's; anything else is a crash, and is printed.
"""

from __future__ import annotations

import argparse
import copy
import random
import re
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from perfcast.errors import PerfcastError
from perfcast.serving.oip.body import inflated
from perfcast.serving.oip.model import Model
from perfcast.serving.oip.strings import write_strings
from perfcast.serving.predictor import Predictor, load
from perfcast.settings import Settings
from perfcast.task import Task

__all__ = ["Case", "Found", "cases", "fuzz", "main"]

_ODD_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2, 3, 255, 2**31, 2**32 - 1, 2**53, 2**63 - 1, -(2**63), 2**64 - 1,
    0.5, 1e308, -0.0, 1e-320, "", "x", "\x00", "\U0001f600", "nan", "INT64", "BYTES", "FP32",
    "UINT8", [], [1], [0], [-1], [2**40], [1, 1], [3, 1], [[1]], [None], {}, {"name": "m"},
    {"binary_data_size": 8}, {"binary_data_size": -8}, {"binary_data_size": 2**62},
    {"binary_data": True}, {"withheld": "nan"}, {"shared_memory_region": "r"}, "x" * 300,
)  # fmt: skip
_ODD_BYTES: Final = (
    b"\x00", b"\x00\x00\x00", b"\x01\x00\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80",
    b"\xff", b"{", b"}",
    b"[", b"]", b",", b":", b'"', b"\\u0000", b"\\ud800", b"NaN", b"1e999", b"-",
    b"[" * 50, b'{"a":' * 30, b"null", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b" " * 40,
)  # fmt: skip
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+")
_ODD_LENGTHS: Final = (-(2**40), -2, -1, 1, 2, 7, 2**40)
_ROWS: Final = (1, 1, 1, 2, 3, 40, 300)


@dataclass(frozen=True, slots=True)
class Case:
    """A request: its body as it arrives, how it is packed, and how much is said to be JSON."""

    body: bytes
    json_bytes: int
    encoding: str = "identity"


@dataclass(slots=True)
class Found:
    """What became of all cases. `statuses` counts refusals, 200 what was understood.

    `slowest_ms` is of processor time, which a busy machine does not lengthen; `took_s` is not.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """Refusals by what they say, without the values that they quote: how deep the cases reach."""
    crashes: list[tuple[Case, str]] = field(default_factory=list)
    slowest_ms: float = 0.0
    took_s: float = 0.0


def fuzz(predictor: Predictor, count: int, *, seed: int = 0, settings: Settings) -> Found:
    """Put `count` broken requests to `predictor`, which runs none of them."""
    found = Found()
    model = Model(predictor, settings)
    begin = time.perf_counter()
    for case in cases(predictor.task, predictor.session.output_names, count, seed):
        start = time.process_time()
        try:
            status, kind = _answered(model, case, settings)
            found.statuses[status] += 1
            if kind:
                found.kinds[kind] += 1
        except Exception as error:
            found.crashes.append((case, f"{type(error).__name__}: {error}"))
        found.slowest_ms = max(found.slowest_ms, (time.process_time() - start) * 1e3)
    found.took_s = time.perf_counter() - begin
    return found


def _answered(model: Model, case: Case, settings: Settings) -> tuple[int, str]:
    """How the service would answer, 200 for a request that may go to the model, and why not.

    Raises `AssertionError` if inputs that no model takes would go there.
    """
    try:
        body = inflated(case.body, case.encoding, settings.max_body_bytes)
        if not 0 <= case.json_bytes <= len(body):
            return 400, "the length of the JSON is none"
        feeds, _ = model.understand(body, case.json_bytes)
    except PerfcastError as error:
        if error.http_status >= 500 or not str(error):
            raise
        return error.http_status, _QUOTED.sub("_", str(error)[:200]).partition(";")[0]
    lengths = {len(values) for values in feeds.values()}
    assert feeds.keys() == set(model.task.input_names), feeds.keys()
    assert len(lengths) == 1 and 1 <= lengths.pop() <= settings.max_rows
    for column in model.task.inputs:
        values = feeds[column.name]
        if column.kind == "integer":
            assert values.dtype == np.int64 and values.flags.aligned
            assert values.min() >= column.minimum and values.max() <= column.maximum
        else:
            words = set(values.tolist())
            assert all(type(word) is str and word.encode() is not None for word in words)
            assert column.kind == "text" or words <= {*column.allowed, ""}
    return 200, ""


def cases(task: Task, outputs: tuple[str, ...], count: int, seed: int = 0) -> Iterator[Case]:
    """`count` requests, most of them broken, the same for the same `seed`."""
    rng = random.Random(seed)
    good = [_good(task, outputs, rng) for _ in range(64)]
    for at in range(count):
        head, data = rng.choice(good)
        if at % 256 == 0:
            good[rng.randrange(len(good))] = _good(task, outputs, rng)
        if rng.random() < 0.4:
            head = _broken_value(head, rng)
        text = orjson.dumps(head)
        if data and rng.random() < 0.4:
            data = _broken_data(data, rng)
        body = text + data
        if rng.random() < 0.4:
            body = _broken_bytes(body, rng)
        size = len(text) if data else len(body)
        if rng.random() < 0.1:
            size += rng.choice(_ODD_LENGTHS)
        yield _packed(body, size, rng)


def _good(task: Task, outputs: tuple[str, ...], rng: random.Random) -> tuple[dict[str, Any], bytes]:
    """A request that can be answered: its JSON and the bytes that follow it."""
    rows = rng.choice(_ROWS)
    tensors, data = [], []
    style = rng.random()
    for column in task.inputs:
        if not column.required and rng.random() < 0.5:
            continue
        values: list[Any] = []
        for _ in range(rows):
            if column.kind == "integer":
                values.append(rng.randint(1, 9_000))
            else:
                values.append(rng.choice(column.allowed or (str(column.example), "")))
        whole = column.kind == "integer"
        tensor: dict[str, Any] = {
            "name": column.name,
            "shape": [rows] if rng.random() < 0.9 else [rows, 1],
            "datatype": "INT64" if whole else "BYTES",
        }
        if style < 0.6 or (style < 0.8 and rng.random() < 0.5):
            data.append(struct.pack(f"<{rows}q", *values) if whole else write_strings(values))
            tensor["parameters"] = {"binary_data_size": len(data[-1])}
        else:
            tensor["data"] = values
        tensors.append(tensor)
    head: dict[str, Any] = {"inputs": tensors}
    if rng.random() < 0.5:
        head["parameters"] = {"binary_data_output": True, "withheld": "nan"}
    if rng.random() < 0.3:
        wanted = rng.sample(outputs, 3)
        head["outputs"] = [{"name": n, "parameters": {"binary_data": True}} for n in wanted]
    if rng.random() < 0.3:
        head["id"] = "a request"
    return head, b"".join(data)


def _broken_value(head: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """`head` with a value, or a few, replaced, doubled or taken away somewhere in it."""
    head = copy.deepcopy(head)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        node: Any = head
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
                node = node[key]
                continue
            _change(node, key, rng)
            break
    return head


def _change(node: Any, key: Any, rng: random.Random) -> None:
    what = rng.random()
    if what < 0.6:
        node[key] = copy.deepcopy(rng.choice(_ODD_VALUES))
    elif what < 0.75:
        del node[key]
    elif isinstance(node, list):
        node.insert(key, copy.deepcopy(node[key]))
    elif what < 0.9:
        node[key + rng.choice(("s", "_", "\x00"))] = node.pop(key)
    else:
        node[rng.choice(("data", "parameters", "shape", "id", "outputs"))] = copy.deepcopy(
            rng.choice(_ODD_VALUES)
        )


def _broken_data(data: bytes, rng: random.Random) -> bytes:
    """`data` with other bytes in some places, and as long as it was."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        odd = rng.choice(_ODD_BYTES) if rng.random() < 0.5 else bytes([rng.randrange(256)])
        at = rng.randrange(len(raw))
        raw[at : at + len(odd)] = odd[: len(raw) - at]
    return bytes(raw)


def _broken_bytes(body: bytes, rng: random.Random) -> bytes:
    """`body` with a few bytes changed, put in, taken out, moved or repeated."""
    raw = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(6):
            case 0 if at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(raw):
                raw[at] = rng.randrange(256)
            case 2:
                raw[at:at] = rng.choice(_ODD_BYTES)
            case 3:
                del raw[at : at + rng.choice((1, 1, 2, 4, 8, 64))]
            case 4:
                odd = rng.choice(_ODD_BYTES)
                raw[at : at + len(odd)] = odd
            case _:
                other = rng.randrange(len(raw) + 1)
                raw[at:at] = raw[other : other + rng.choice((1, 4, 8, 32))]
    return bytes(raw)


def _packed(body: bytes, size: int, rng: random.Random) -> Case:
    """The case that `body` is, in one of sixteen packed, and of those some badly."""
    if rng.random() > 1 / 16:
        return Case(body, size)
    window = rng.choice((zlib.MAX_WBITS, zlib.MAX_WBITS + 16))
    packer = zlib.compressobj(1, zlib.DEFLATED, window)
    packed = packer.compress(body) + packer.flush()
    if rng.random() < 0.5:
        packed = _broken_bytes(packed, rng)
    return Case(packed, size, rng.choice(("gzip", "deflate", "deflate", "br")))


def main(arguments: list[str] | None = None, say: Callable[[str], object] | None = None) -> int:
    """The command. Returns 1 if anything crashed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", default="gemm")
    parser.add_argument("--models-dir", type=Path, default=None)
    chosen = parser.parse_args(arguments)
    say = sys.stdout.write if say is None else say
    predictor = load(chosen.task, models_dir=chosen.models_dir)
    found = fuzz(predictor, chosen.cases, seed=chosen.seed, settings=Settings())
    for case, what in found.crashes[:20]:
        say(f"CRASH {what}\n  {case!r}\n")
    told = ", ".join(f"{status}: {count:,}" for status, count in sorted(found.statuses.items()))
    say(
        f"{chosen.cases:,} requests in {found.took_s:.0f} s, "
        f"the slowest {found.slowest_ms:.1f} ms\n"
        f"by status {told}\n"
        f"{len(found.kinds)} kinds of refusals\n"
        f"{len(found.crashes)} crashes\n"
    )
    return 1 if found.crashes else 0


if __name__ == "__main__":
    sys.exit(main())
