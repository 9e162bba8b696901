"""The protocol's routes: answers equal to the Python API's, refusals in its form, never a 500."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfcast.errors import BundleError
from perfcast.serving.oip.app import OpenInference
from perfcast.serving.predictor import GemmPredictor
from perfcast.serving.registry import Registry
from perfcast.settings import Settings
from tests.conftest import MAX_BODY_BYTES, MAX_ROWS
from tests.serving.oip.asking import INFER, QUESTION, Question, Reply, ask, request
from tests.standin import BEYOND, UNSUPPORTED_DTYPE, questions
from tests.strategies import json_bad_categories, json_bad_integers

WITHHELD: dict[str, list[Any]] = {
    "gpu": ["h200_sxm", "a30"], "dtype": ["fp8", "nvfp4"], "m": [1, 1], "n": [64, 64],
    "k": [64, 64],
}  # fmt: skip


def check_equal(reply: Reply, gemm: GemmPredictor, question: Question) -> None:
    """The reply holds what the model says, to the last bit."""
    assert reply.status == 200, reply.body
    assert "NaN" not in reply.body[:200].decode("latin-1")
    expected = gemm.session.run(gemm.task.require_valid(question))
    found = reply.columns()
    assert list(found) == [name for name in expected if name in found]
    for name, values in found.items():
        np.testing.assert_array_equal(values.ravel(), expected[name])


@pytest.mark.parametrize("binary", [False, True, ["m", "gpu"], ["k"]])
@pytest.mark.parametrize("wanted", [False, True])
def test_answers_are_the_models(
    app: OpenInference, gemm: GemmPredictor, binary: Any, wanted: bool
) -> None:
    body, size = request(binary=binary, parameters={"binary_data_output": wanted}, id="7")
    reply = ask(app, body, size)
    check_equal(reply, gemm, QUESTION)
    assert reply.json["model_name"] == "gemm"
    assert reply.json["model_version"] == "standin"
    assert reply.json["id"] == "7"
    assert list(reply.columns()) == list(gemm.session.output_names)
    assert ("inference-header-content-length" in reply.headers) is wanted


@pytest.mark.parametrize("rows", [1, 2, 300, MAX_ROWS])
@pytest.mark.parametrize("binary", [False, True])
def test_every_length(app: OpenInference, gemm: GemmPredictor, rows: int, binary: bool) -> None:
    question = questions(rows, seed=rows)
    body, size = request(
        question, binary=binary, parameters={"binary_data_output": binary, "withheld": "nan"}
    )
    check_equal(ask(app, body, size), gemm, question)
    check_equal(ask(app, body, size), gemm, question)  # and again, from what it remembers


def test_the_same_header_with_other_data_gets_another_answer(
    app: OpenInference, gemm: GemmPredictor
) -> None:
    for m in (1, 77, 4096):
        question = {**{name: values[:1] for name, values in QUESTION.items()}, "m": [m]}
        body, size = request(question, binary=True, parameters={"binary_data_output": True})
        check_equal(ask(app, body, size), gemm, question)


def test_the_newest_or_the_named_version_answers(app: OpenInference) -> None:
    body, _ = request()
    named = ask(app, body, path="/v2/models/gemm/versions/standin/infer")
    assert named.body == ask(app, body).body
    other = ask(app, body, path="/v2/models/gemm/versions/standing/infer")
    assert (other.status, "did you mean 'standin'" in other.error) == (404, True)


def test_chosen_outputs_come_in_the_order_and_form_that_was_asked_for(
    app: OpenInference, gemm: GemmPredictor
) -> None:
    wanted = [
        {"name": "tflops", "parameters": {"binary_data": True}},
        {"name": "latency_ms"},
        {"name": "reasons", "parameters": {"binary_data": True}},
    ]
    reply = ask(app, request(outputs=wanted)[0])
    found = reply.columns()
    assert list(found) == ["tflops", "latency_ms", "reasons"]
    assert ["data" in output for output in reply.json["outputs"]] == [False, True, False]
    expected = gemm.session.run(gemm.task.require_valid(QUESTION))
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


def test_columns_in_columns(app: OpenInference, gemm: GemmPredictor) -> None:
    """Shapes [N, 1], flat or nested, are answered in kind; mixed with [N] they are [N]."""
    request_ = json.loads(request()[0])
    for at, each in enumerate(request_["inputs"]):
        each["shape"] = [3, 1]
        if at % 2:
            each["data"] = [[value] for value in each["data"]]
    reply = ask(app, json.dumps(request_).encode())
    assert all(output["shape"] == [3, 1] for output in reply.json["outputs"])
    check_equal(reply, gemm, QUESTION)
    request_["inputs"][0]["shape"] = [3]
    reply = ask(app, json.dumps(request_).encode())
    assert all(output["shape"] == [3] for output in reply.json["outputs"])


@pytest.mark.parametrize("datatype", ["INT32", "UINT16", "UINT64"])
def test_every_whole_number_type_is_taken(
    app: OpenInference, gemm: GemmPredictor, datatype: str
) -> None:
    body, size = request(binary=True)
    assert size is not None
    head = json.loads(body[:size])
    data, at = b"", size
    for each in head["inputs"]:
        length = each["parameters"]["binary_data_size"]
        part = body[at : at + length]
        at += length
        if each["datatype"] == "INT64":
            each["datatype"] = datatype
            part = np.frombuffer(part, "<i8").astype(datatype.lower()).tobytes()
            each["parameters"]["binary_data_size"] = len(part)
        data += part
    text = json.dumps(head).encode()
    check_equal(ask(app, text + data, len(text)), gemm, QUESTION)


def test_withheld_answers_are_refused_with_their_reasons(app: OpenInference) -> None:
    for binary in (False, True):
        body, size = request(WITHHELD, binary=binary)
        reply = ask(app, body, size)
        assert reply.status == 422
        assert f"row 1, latency_ms: no answer ({UNSUPPORTED_DTYPE}" in reply.error
        assert "{'withheld': 'nan'}" in reply.error


def test_one_withheld_row_is_refused_as_many_are(app: OpenInference) -> None:
    one = {name: values[1:] for name, values in WITHHELD.items()}
    body, size = request(one, binary=True, parameters={"binary_data_output": True})
    assert "row 0, latency_ms" in ask(app, body, size).error
    many = {name: values[1:] * 50 for name, values in WITHHELD.items()}
    error = ask(app, request(many)[0]).error
    assert "row 3, latency_ms" in error
    assert "row 4" not in error
    assert "of which there are 50" in error


def test_withheld_answers_are_nan_or_null_for_those_who_ask(
    app: OpenInference, gemm: GemmPredictor
) -> None:
    body, size = request(
        WITHHELD, binary=True, parameters={"withheld": "nan", "binary_data_output": True}
    )
    reply = ask(app, body, size)
    check_equal(reply, gemm, WITHHELD)
    assert np.isnan(reply.columns()["latency_ms"]).tolist() == [False, True]
    reply = ask(app, request(WITHHELD, parameters={"withheld": "nan"})[0])
    check_equal(reply, gemm, WITHHELD)
    assert reply.json["outputs"][1]["data"][1] is None


def test_only_wanted_outputs_must_be_there(app: OpenInference) -> None:
    """Power was never measured on this GPU, latency was."""
    question = {**{name: values[:1] for name, values in WITHHELD.items()}, "gpu": ["l40s"]}
    assert ask(app, request(question, outputs=[{"name": "latency_ms"}])[0]).status == 200
    assert "power_w" in ask(app, request(question)[0]).error
    status = ask(app, request(question, outputs=[{"name": "power_w_status"}])[0])
    assert status.columns()["power_w_status"].tolist() == [2]


def test_extrapolated_rows_are_answered(app: OpenInference) -> None:
    question = {**{name: values[:1] for name, values in WITHHELD.items()}, "n": [70_000]}
    found = ask(app, request(question)[0]).columns()
    metadata = ask(app, path="/v2/models/gemm", method="GET").json["parameters"]
    assert metadata[f"status_{found['latency_ms_status'][0]}"] == "extrapolated"
    bits = int(found["reasons"][0])
    assert [metadata[f"reason_{bit}"] for bit in range(8) if bits >> bit & 1] == [BEYOND]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 300])
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("m", 0, "must be a whole number from 1 to 16777216, not 0"),
        ("m", -1, "not -1"),
        ("gpu", "h200", "unknown value 'h200'; did you mean 'h200_sxm'"),
        ("gpu", "", "missing; it is required"),
        ("dtype", "fp8\x00", "unknown value"),
        ("framework", "vlm", "did you mean 'vllm'"),
        ("framework_version", "\n", "printable"),
    ],
)
def test_bad_values_are_named_by_row_and_field(
    app: OpenInference, gemm: GemmPredictor, binary: bool, rows: int, name: str, value: Any,
    reason: str,
) -> None:  # fmt: skip
    """In the words of every other door."""
    question = {column: [values[0]] * rows for column, values in QUESTION.items()}
    question[name] = [*question.get(name, [""] * rows)[:-1], value]
    body, size = request(question, binary=binary)
    reply = ask(app, body, size)
    assert reply.status == 422
    assert reply.error.startswith(f"row {rows - 1}, {name}: ")
    assert reason in reply.error
    _, problems = gemm.task.validate(question)
    assert reply.error == "; ".join(map(str, problems))


json_requests = st.dictionaries(
    st.sampled_from((*QUESTION, "framework_version")),
    st.lists(st.one_of(json_bad_integers, json_bad_categories), min_size=1, max_size=3),
    min_size=1,
)


@settings(deadline=None)
@given(json_requests)
def test_json_of_bad_values_is_refused(app: OpenInference, columns: dict[str, list[Any]]) -> None:
    tensors = [
        {
            "name": name,
            "shape": [len(values)],
            "datatype": "INT64" if name in "mnk" else "BYTES",
            "data": values,
        }
        for name, values in columns.items()
    ]
    reply = ask(app, json.dumps({"inputs": tensors}).encode())
    assert reply.status in (400, 422)
    assert reply.error


def edit(**changes: Any) -> bytes:
    """A good request's JSON with the first input changed (key by key; None takes a key away)."""
    head = json.loads(request()[0])
    first = {**head["inputs"][0], **changes}
    head["inputs"][0] = {key: value for key, value in first.items() if value is not None}
    return json.dumps(head).encode()


BIG = 2**70
REFUSED: list[tuple[bytes, int, str]] = [
    (b"", 400, "not valid JSON"),
    (b"{", 400, "not valid JSON"),
    (b"[]", 400, "must be a JSON object"),
    (b"null", 400, "must be a JSON object"),
    (b"\xff", 400, "not valid JSON"),
    (b'{"inputs":[{"name":"\\ud800"}]}', 400, "not valid JSON"),
    (b'{"inputs":' + b"[" * 60_000, 400, "not valid JSON"),
    (b'{"inputs":' + b"[" * 1000 + b"]" * 1000 + b"}", 400, "inputs"),
    (b'{"inputs":[' + b"[]," * 150_000 + b"[]]}", 413, "arrays and objects"),
    (b"{}", 400, "inputs: must be an array of tensors"),
    (b'{"inputs":[]}', 400, "inputs: must be an array of tensors"),
    (b'{"inputs":{}}', 400, "inputs: must be an array of tensors"),
    (b'{"inputs":[1]}', 400, "object with a name"),
    (b'{"inputs":[{}]}', 400, "object with a name"),
    (json.dumps({"inputs": [{"name": "m"}] * 101}).encode(), 400, "101 tensors"),
    (request(id=7)[0], 400, "id: must be a string"),
    (request(parameters=[])[0], 400, "parameters must be an object"),
    (request(parameters={"binary_data_output": 1})[0], 400, "binary_data_output"),
    (request(parameters={"withheld": "null"})[0], 422, "withheld: must be 'refuse' or 'nan'"),
    (request(parameters={"withheld": ["nan"]})[0], 422, "withheld: must be"),
    (request(output=[])[0], 400, "unknown key 'output'; did you mean 'outputs'"),
    (request(outputs=3)[0], 400, "outputs: must be an array"),
    (request(outputs=[{"name": "latency"}])[0], 422, "did you mean 'latency_ms'"),
    (request(outputs=[{"name": "tflops"}] * 2)[0], 400, "there twice"),
    (
        request(outputs=[{"name": "tflops", "parameters": {"binary_data": 1}}])[0],
        400,
        "true or false",
    ),
    (
        request(outputs=[{"name": "tflops", "parameters": {"classification": 1}}])[0],
        400,
        "classification is not offered",
    ),
    (edit(name="x" * 101), 400, "101 characters"),
    (edit(name="gpus"), 422, "gpus: unknown column; did you mean 'gpu'"),
    (edit(name="m"), 400, "two of them have one name"),
    (edit(shape=None), 400, "shape must be an array of sizes"),
    (edit(shape=[]), 422, "shape must be [N] or [N, 1], not []"),
    (edit(shape=[1, 3]), 422, "not [1, 3]"),
    (edit(shape=[3, 1, 1]), 422, "not [3, 1, 1]"),
    (edit(shape=["3"]), 400, "array of sizes"),
    (edit(shape=[3.0]), 400, "array of sizes"),
    (edit(shape=[True]), 400, "array of sizes"),
    (edit(shape=[-1]), 400, "array of sizes"),
    (edit(shape=[2**63]), 413, "rows, more than"),
    (edit(shape=[4]), 422, "lengths differ"),
    (edit(data=[1, 2]), 400, "2 elements, the shape says 3"),
    (edit(data={}), 400, "data must be an array"),
    (edit(data=None), 400, "either data or binary_data_size"),
    (edit(parameters={"binary_data_size": 3}), 400, "either data or binary_data_size"),
    (edit(parameters={"shared_memory_region": "x"}), 400, "shared_memory_region is not offered"),
    (edit(data=None, parameters={"binary_data_size": -1}), 400, "a number of bytes"),
    (edit(data=None, parameters={"binary_data_size": 1.5}), 400, "a number of bytes"),
    (edit(data=None, parameters={"binary_data_size": 8}), 400, "cannot hold 3 strings"),
    (edit(data=None, parameters={"binary_data_size": 30}), 400, "speaks of 30"),
    (edit(data=None, parameters={"binary_data_size": 2**64 - 1}), 400, "speaks of 1844"),
    (edit(datatype="FP32"), 422, "datatype must be BYTES, not 'FP32'"),
    (edit(datatype=None), 400, "datatype must be a string"),
    (edit(dtype="BYTES"), 400, "unknown key 'dtype'; did you mean 'datatype'"),
    (edit(shape=[3, 1], data=[["h200_sxm"], [], []]), 400, "does not fit its shape"),
    (edit(data=[["h200_sxm"]] * 3), 422, "row 0, gpu: must be a string, not list"),
]


@pytest.mark.parametrize(("body", "status", "reason"), REFUSED)
def test_refusals(app: OpenInference, body: bytes, status: int, reason: str) -> None:
    reply = ask(app, body)
    assert (reply.status, reason in reply.error) == (status, True), reply.error


def test_rows_are_bounded_whatever_they_say_of_themselves(app: OpenInference) -> None:
    for shape in ([MAX_ROWS + 1], [10**18], [10**18, 1]):
        head = {
            "inputs": [
                {"name": n, "shape": shape, "datatype": "INT64",
                 "parameters": {"binary_data_size": 8}}
                for n in "mnk"
            ]
            + [
                {"name": n, "shape": shape, "datatype": "BYTES", "data": []}
                for n in ("gpu", "dtype")
            ]
        }  # fmt: skip
        reply = ask(app, json.dumps(head).encode())
        assert reply.status == 413
        assert str(MAX_ROWS) in reply.error
    empty = {name: values[:0] for name, values in QUESTION.items()}
    assert "at least one row" in ask(app, request(empty)[0]).error


@pytest.mark.parametrize(
    ("change", "shift", "reason"),
    [
        (lambda data: data + b"\0", 0, "bytes follow the JSON"),
        (lambda data: data[:-1], 0, "bytes follow the JSON"),
        (lambda data: data, -1, "not valid JSON"),
        (lambda data: data, 1, "not valid JSON"),
        (lambda data: data, -(10**6), "the body has"),
        (lambda data: data, 10**6, "the body has"),
        (lambda data: data, 10**20, "the body has"),
        (lambda data: b"\xff" * len(data), 0, "input gpu"),
        (lambda data: bytes(len(data)), 0, "input gpu"),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_broken_binary_bodies_are_refused(
    app: OpenInference, rows: int, change: Callable[[bytes], bytes], shift: int, reason: str
) -> None:
    body, size = request({name: values[:rows] for name, values in QUESTION.items()}, binary=True)
    assert size is not None
    reply = ask(app, body[:size] + change(body[size:]), size + shift)
    assert (reply.status, reason in reply.error) == (400, True), reply.error


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_requests_and_answers(
    app: OpenInference, gemm: GemmPredictor, encoding: str
) -> None:
    question = questions(500)
    body, size = request(
        question, binary=True, parameters={"binary_data_output": True, "withheld": "nan"}
    )
    packed = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    reply = ask(app, packed, size, headers={"content-encoding": encoding}, chunk=1000)
    check_equal(reply, gemm, question)
    assert "content-encoding" not in reply.headers
    small = ask(app, body, size, headers={"accept-encoding": encoding})
    assert small.headers["content-encoding"] == encoding
    unpack = gzip.decompress if encoding == "gzip" else zlib.decompress
    assert unpack(small.body) == reply.body
    for offered in ("gzip, deflate", "br", "identity", "*"):
        plain = ask(app, body, size, headers={"accept-encoding": offered})
        assert plain.body == reply.body


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_is_refused(app: OpenInference, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    for size in (MAX_BODY_BYTES + 1, 100 * MAX_BODY_BYTES):
        reply = ask(app, pack(bytes(size)), headers={"content-encoding": encoding})
        assert (reply.status, "unpacked" in reply.error) == (413, True)
    body, _ = request()
    exact = pack(body + b" " * (MAX_BODY_BYTES - len(body)))
    assert ask(app, exact, headers={"content-encoding": encoding}).status == 200


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (b"x", "br", "only gzip, deflate and identity"),
        (b"x" * 9, "gzip", "not gzip data"),
        (b"", "deflate", "not one whole stream"),
        (gzip.compress(b"{}")[:-1], "gzip", "not one whole stream"),
        (gzip.compress(b"{}") + b"{}", "gzip", "not one whole stream"),
        (gzip.compress(b"{}") * 2, "gzip", "not one whole stream"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(
    app: OpenInference, body: bytes, encoding: str, reason: str
) -> None:
    reply = ask(app, body, headers={"content-encoding": encoding})
    assert (reply.status, reason in reply.error) == (400, True), reply.error


def test_a_large_body_is_refused(app: OpenInference) -> None:
    body, _ = request()
    assert ask(app, body + b" " * (MAX_BODY_BYTES - len(body)), chunk=65_536).status == 200
    assert ask(app, b" " * (MAX_BODY_BYTES + 1), chunk=65_536).status == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 200),
        ("HEAD", "/v2", 200),
        ("GET", "/v2/health/live", 200),
        ("HEAD", "/v2/health/ready", 200),
        ("GET", "/v2/models/gemm/ready", 200),
        ("GET", "/v2/models/gemm/versions/standin", 200),
        ("GET", "/v2/models/gemm/versions/standin/config", 200),
        ("POST", "/v2/repository/index", 200),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/gemm", 405),
        ("GET", INFER, 405),
        ("GET", "/v2/repository/index", 405),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/gemm/stats", 404),
        ("GET", "/v2/models/gemm/versions", 404),
        ("POST", "/v2/repository/models/gemm/load", 404),
        ("GET", "/v2/models/gem", 404),
        ("POST", "/v2/models/gem/infer", 404),
        ("POST", "/v2/models/gemm/versions//infer", 404),
        ("POST", "/v2/models/../infer", 404),
        ("GET", "/v2/" + "a/" * 5000, 404),
    ],
)
def test_paths(app: OpenInference, method: str, path: str, status: int) -> None:
    reply = ask(app, request()[0], method=method, path=path)
    assert reply.status == status
    assert (status == 200) is ("error" not in reply.json)
    assert reply.headers.get("allow") == (
        None if status != 405 else "POST" if method == "GET" else "GET, HEAD"
    )


def test_metadata(app: OpenInference, gemm: GemmPredictor) -> None:
    found = ask(app, path="/v2/models/gemm", method="GET").json
    assert (found["name"], found["versions"]) == ("gemm", ["standin"])
    types = {"category": "BYTES", "text": "BYTES", "integer": "INT64"}
    assert [(t["name"], t["datatype"], t["shape"]) for t in found["inputs"]] == [
        (column.name, types[column.kind], [-1]) for column in gemm.task.inputs
    ]
    assert [t["name"] for t in found["outputs"]] == list(gemm.session.output_names)
    plain = [found["parameters"], *(t["parameters"] for t in found["inputs"] + found["outputs"])]
    assert all(type(v) in (str, int, float, bool) for each in plain for v in each.values())
    (m,) = (t["parameters"] for t in found["inputs"] if t["name"] == "m")
    assert (m["minimum"], m["maximum"], m["optional"]) == (1, 2**24, False)
    assert "withheld" in found["parameters"]


def test_without_models_or_while_stopping_nothing_is_ready(models_dir: Path) -> None:
    empty = OpenInference(Registry(), Settings())
    registry = Registry()
    registry.load_all(models_dir)
    stopping = OpenInference(registry, Settings(), ready=lambda: False)
    for app in (empty, stopping):
        for path in ("/v2/health/ready", "/v2/models/gemm/ready"):
            assert ask(app, path=path, method="GET").status == 503
        assert ask(app, path="/v2/health/live", method="GET").status == 200
    assert "no model is loaded" in ask(empty, request()[0]).error
    assert ask(stopping, request()[0]).status == 200  # what was accepted is answered


def test_a_model_that_fails_says_nothing_of_the_inside(
    app: OpenInference, gemm: GemmPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (BundleError("/secret/path"), RuntimeError("/secret/path")):

        def fail(self: Any, columns: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(type(gemm.session), "run", fail)
        reply = ask(app, request()[0])
        assert (reply.status, reply.error) == (500, "internal error")


def test_a_client_that_leaves_does_no_harm(app: OpenInference) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": INFER, "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 422


VALID = [request(binary=binary) for binary in (False, True, ("m", "gpu"))]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(VALID),
    st.lists(
        st.tuples(st.integers(0, 10**6), st.binary(max_size=5), st.integers(0, 5)), max_size=6
    ),
    st.one_of(st.none(), st.integers(-5, 5)),
)
def test_no_body_whatever_is_an_error_of_ours(
    app: OpenInference,
    valid: tuple[bytes, int | None],
    edits: list[tuple[int, bytes, int]],
    shift: int | None,
) -> None:
    body, size = valid
    for place, put, cut in edits:
        at = place % (len(body) + 1)
        body = body[:at] + put + body[at + cut :]
    if size is not None and shift is not None:
        size += shift
    reply = ask(app, body, size)
    assert reply.status in (200, 400, 413, 422)
