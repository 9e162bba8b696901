"""Each form of a question says the same; the protocol's are read with perfcast's own codec."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from perfcast.features.tasks import GEMM
from perfcast.serving.bench.peers.requests import FORMS, Sent, http_bytes
from perfcast.serving.bench.questions import answered_questions
from perfcast.serving.oip.answer import Writer
from perfcast.serving.oip.inputs import make_reader
from perfcast.serving.oip.plan import Plan, make_plan
from perfcast.serving.predictor import GemmPredictor
from perfcast.serving.scalars import ScalarFeeds

Columns = dict[str, np.ndarray[Any, np.dtype[Any]]]


def questions(gemm: GemmPredictor, rows: int) -> Columns:
    return answered_questions(gemm, np.random.default_rng(7), rows)


def split(sent: Sent) -> tuple[dict[str, Any], int]:
    """The JSON of a request, and where its binary data begins."""
    size = int(sent.headers.get("inference-header-content-length", len(sent.body)))
    return orjson.loads(sent.body[:size]), size


def planned(gemm: GemmPredictor, sent: Sent) -> tuple[Plan, int]:
    request, size = split(sent)
    names = gemm.session.output_names
    return make_plan(request, task=GEMM, outputs=names, max_rows=10_000), size


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("form", ["binary", "tensors"])
def test_the_protocols_codec_reads_what_was_meant(
    gemm: GemmPredictor, form: str, rows: int
) -> None:
    columns = questions(gemm, rows)
    sent = FORMS[form].write(columns)
    plan, size = planned(gemm, sent)
    assert plan.rows == rows
    assert len(sent.body) - size == plan.binary_bytes
    assert all(wanted.binary == (form == "binary") for wanted in plan.outputs)
    read = make_reader(plan, GEMM, ScalarFeeds(GEMM))(sent.body, size)
    assert read.keys() == columns.keys()
    for name, values in columns.items():
        assert read[name].tolist() == values.tolist()


@pytest.mark.parametrize("form", ["binary", "tensors"])
def test_the_protocols_answers_are_read(gemm: GemmPredictor, form: str) -> None:
    columns = questions(gemm, 3)
    plan, _ = planned(gemm, FORMS[form].write(columns))
    outputs = gemm.session.run(columns)
    answer = Writer(plan, name="gemm", version="1", sentences=())(outputs)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    found = FORMS[form].read(headers, answer.body)
    assert found.keys() == outputs.keys()
    for name, values in outputs.items():
        np.testing.assert_array_equal(found[name], values)


def test_bytes_beyond_the_outputs_are_noticed() -> None:
    head = orjson.dumps({"outputs": []})
    headers = {"inference-header-content-length": str(len(head))}
    with pytest.raises(ValueError, match="3 bytes follow"):
        FORMS["binary"].read(headers, head + b"abc")


def test_plain_json_forms(gemm: GemmPredictor) -> None:
    columns = questions(gemm, 2)
    names = list(columns)
    rows = [{name: columns[name].tolist()[at] for name in names} for at in range(2)]
    assert orjson.loads(FORMS["row"].write(columns).body) == rows[0]
    assert orjson.loads(FORMS["rows"].write(columns).body) == {"rows": rows}
    lists = {name: columns[name].tolist() for name in names}
    assert orjson.loads(FORMS["columns"].write(columns).body) == lists


def test_words_in_answers_are_left_out() -> None:
    rows = orjson.dumps({"rows": [{"power_w": 1.5, "status": "in_domain", "reasons": []}]})
    assert {name: list(v) for name, v in FORMS["rows"].read({}, rows).items()} == {"power_w": [1.5]}
    row = orjson.dumps({"power_w": 1.5, "reasons": 3})
    assert {name: list(v) for name, v in FORMS["row"].read({}, row).items()} == {
        "power_w": [1.5],
        "reasons": [3],
    }


def test_a_whole_request() -> None:
    sent = Sent(body=b"{}", headers={"content-type": "application/json"})
    assert http_bytes("POST", "/a", 81, sent) == (
        b"POST /a HTTP/1.1\r\nhost: 127.0.0.1:81\r\ncontent-type: application/json\r\n"
        b"content-length: 2\r\n\r\n{}"
    )
    assert http_bytes("GET", "/b", 80, None) == b"GET /b HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n"
