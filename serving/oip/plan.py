"""What a request's JSON says: which tensors come, in which form, and which are wanted.

Clients repeat themselves: the header of the next binary request is usually the same to the byte.
So understanding one is kept apart from reading its data, and a `Plan` can serve many requests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perfcast.errors import InvalidInput, MalformedRequest, Problem, TooLarge, nearest
from perfcast.task import Task, shown

__all__ = ["INTEGERS", "Plan", "Tensor", "Wanted", "make_plan"]

INTEGERS: Final[Mapping[str, str]] = {
    "INT64": "q", "INT32": "i", "INT16": "h", "INT8": "b",
    "UINT64": "Q", "UINT32": "I", "UINT16": "H", "UINT8": "B",
}  # fmt: skip
"""The protocol's whole-number types, each with its letter in `struct` and, after "<", in numpy."""

_REQUEST = ("id", "parameters", "inputs", "outputs")
_INPUT = ("name", "shape", "datatype", "parameters", "data")
_OUTPUT = ("name", "parameters")
_FOREIGN = ("shared_memory_region", "classification")
"""Tensor parameters that would change the meaning of the data: refused, where others are left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input: `size` bytes at `offset` of what follows the JSON, or `data` from within it."""

    name: str
    datatype: str
    offset: int = 0
    size: int = 0
    data: list[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One output, and whether it goes out as bytes."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request understood. `rows` is N; `nested` says that every shape was [N, 1].

    `binary_bytes` must follow the JSON. `keep_withheld`: answer withheld values with NaN or null.
    """

    id: str | None
    rows: int
    nested: bool
    inputs: tuple[Tensor, ...]
    outputs: tuple[Wanted, ...]
    binary_bytes: int
    keep_withheld: bool

    @property
    def repeatable(self) -> bool:
        """Whether all data follows the JSON, so that the plan may serve other requests as well."""
        return all(tensor.data is None for tensor in self.inputs)


def make_plan(
    request: Mapping[str, Any], *, task: Task, outputs: Sequence[str], max_rows: int
) -> Plan:
    """Understand `request`, which asks a model of `task` that has these `outputs`.

    Raises `MalformedRequest` for what breaks the protocol, `InvalidInput` for tensors the model
    does not have or cannot use, `TooLarge` for more than `max_rows` rows.
    """
    _check_keys("the request", request, _REQUEST)
    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise MalformedRequest("id: must be a string")
    parameters = _parameters("the request", request)
    given = _objects("inputs", request.get("inputs"))
    shapes = [_shape(each) for each in given]
    inputs, binary_bytes = _inputs(task, given, shapes)
    rows = _rows(given, shapes, max_rows)
    for tensor, count in zip(inputs, shapes, strict=True):
        _check_size(tensor, count[0])
    return Plan(
        id=request_id,
        rows=rows,
        nested=all(len(shape) == 2 for shape in shapes),
        inputs=inputs,
        outputs=_outputs(request.get("outputs"), outputs, _binary_by_default(parameters)),
        binary_bytes=binary_bytes,
        keep_withheld=_keep_withheld(parameters),
    )


def _inputs(
    task: Task, given: Sequence[Mapping[str, Any]], shapes: Sequence[Sequence[int]]
) -> tuple[tuple[Tensor, ...], int]:
    """The input tensors and how many bytes of data follow the JSON."""
    names = [each["name"] for each in given]
    if len(set(names)) < len(names):
        raise MalformedRequest("inputs: two of them have one name")
    task.check_names(names)
    tensors: list[Tensor] = []
    problems: list[Problem] = []
    offset = 0
    for each, shape in zip(given, shapes, strict=True):
        name, datatype = each["name"], each.get("datatype")
        if not isinstance(datatype, str):
            raise MalformedRequest(f"input {name}: datatype must be a string")
        accepted = tuple(INTEGERS) if task.input(name).kind == "integer" else ("BYTES",)
        if datatype not in accepted:
            reason = f"datatype must be {accepted[0]}, not {shown(datatype)}"
            problems.append(Problem(name, reason))
        size = _parameters(f"input {name}", each).get("binary_data_size")
        data = each.get("data")
        if (size is None) == (data is None):
            raise MalformedRequest(f"input {name}: give either data or binary_data_size")
        if size is None:
            if not isinstance(data, list):
                raise MalformedRequest(f"input {name}: data must be an array")
            flat = _flat(name, data) if len(shape) == 2 else data
            tensors.append(Tensor(name=name, datatype=datatype, data=flat))
            continue
        if type(size) is not int or size < 0:
            raise MalformedRequest(f"input {name}: binary_data_size must be a number of bytes")
        tensors.append(Tensor(name=name, datatype=datatype, offset=offset, size=size))
        offset += size
    if problems:
        raise InvalidInput(problems)
    return tuple(tensors), offset


def _flat(name: str, data: list[Any]) -> list[Any]:
    """The elements of a tensor [N, 1], which may be written as [[a], [b]] or as [a, b]."""
    if not any(isinstance(item, list) for item in data):
        return data
    if not all(isinstance(item, list) and len(item) == 1 for item in data):
        raise MalformedRequest(f"input {name}: data does not fit its shape")
    return [item[0] for item in data]


def _shape(tensor: Mapping[str, Any]) -> list[int]:
    name, shape = tensor["name"], tensor.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise MalformedRequest(f"input {name}: shape must be an array of sizes")
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        sizes = ", ".join(map(shown, shape[:4])) + (", ..." if len(shape) > 4 else "")
        reason = f"shape must be [N] or [N, 1], not [{sizes}]"
        raise InvalidInput([Problem(name, reason)])
    return shape


def _rows(
    given: Sequence[Mapping[str, Any]], shapes: Sequence[Sequence[int]], max_rows: int
) -> int:
    counts = {each["name"]: shape[0] for each, shape in zip(given, shapes, strict=True)}
    rows = max(counts.values())
    if rows > max_rows:
        raise TooLarge(f"{shown(rows)} rows, more than {max_rows} in one request")
    if len(set(counts.values())) > 1:
        detail = ", ".join(f"{name}: {count}" for name, count in counts.items())
        raise InvalidInput([Problem("inputs", f"lengths differ ({detail})")])
    if not rows:
        raise InvalidInput([Problem("inputs", "must hold at least one row")])
    return rows


def _check_size(tensor: Tensor, rows: int) -> None:
    """Compare what comes with what the shape says. Raises `MalformedRequest`."""
    if tensor.data is not None:
        if len(tensor.data) != rows:
            raise MalformedRequest(
                f"input {tensor.name}: {len(tensor.data)} elements, the shape says {rows}"
            )
    elif tensor.datatype == "BYTES":
        if tensor.size < 4 * rows:
            raise MalformedRequest(
                f"input {tensor.name}: {tensor.size} bytes cannot hold {rows} strings"
            )
    else:
        expected = rows * int(tensor.datatype.lstrip("UINT")) // 8
        if tensor.size != expected:
            raise MalformedRequest(
                f"input {tensor.name}: {shown(tensor.size)} bytes, the shape says {expected}"
            )


def _outputs(given: Any, names: Sequence[str], binary: bool) -> tuple[Wanted, ...]:
    if given is None or given == []:
        return tuple(Wanted(name=name, binary=binary) for name in names)
    wanted: dict[str, Wanted] = {}
    problems: list[Problem] = []
    for each in _objects("outputs", given):
        name = each["name"]
        if name not in names:
            problems.append(Problem(name, f"no such output; {nearest(name, names)}"))
            continue
        if name in wanted:
            raise MalformedRequest(f"outputs: {name} is there twice")
        chosen = _parameters(f"output {name}", each).get("binary_data", binary)
        if not isinstance(chosen, bool):
            raise MalformedRequest(f"output {name}: binary_data must be true or false")
        wanted[name] = Wanted(name=name, binary=chosen)
    if problems:
        raise InvalidInput(problems)
    return tuple(wanted.values())


def _binary_by_default(parameters: Mapping[str, Any]) -> bool:
    chosen = parameters.get("binary_data_output", False)
    if not isinstance(chosen, bool):
        raise MalformedRequest("binary_data_output: must be true or false")
    return chosen


def _keep_withheld(parameters: Mapping[str, Any]) -> bool:
    chosen = parameters.get("withheld", "refuse")
    if chosen not in ("refuse", "nan"):
        raise InvalidInput([Problem("withheld", f"must be 'refuse' or 'nan', not {shown(chosen)}")])
    return bool(chosen == "nan")


def _objects(what: str, value: Any) -> list[Mapping[str, Any]]:
    """The list of named tensors under the key `what`."""
    if not isinstance(value, list) or not value:
        raise MalformedRequest(f"{what}: must be an array of tensors")
    if len(value) > 100:
        raise MalformedRequest(f"{what}: {len(value)} tensors, more than any model has")
    for each in value:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise MalformedRequest(f"{what}: every tensor must be an object with a name")
        if len(each["name"]) > 100:
            raise MalformedRequest(f"{what}: a name of {len(each['name'])} characters")
        known = _INPUT if what == "inputs" else _OUTPUT
        _check_keys(f"{what[:-1]} {each['name']}", each, known)
    return value


def _parameters(where: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a tensor or request; those that nobody here knows are left alone."""
    parameters = value.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise MalformedRequest(f"{where}: parameters must be an object")
    for name in _FOREIGN:
        if name in parameters:
            raise MalformedRequest(f"{where}: {name} is not offered here")
    return parameters


def _check_keys(where: str, value: Mapping[str, Any], known: Collection[str]) -> None:
    for key in value:
        if key not in known:
            raise MalformedRequest(f"{where}: unknown key {shown(key)}; {nearest(key, known)}")
