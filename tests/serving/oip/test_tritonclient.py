"""A client that others wrote, as it is installed, against the service with the model that ships."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import perfcast
from perfcast.serving.predictor import GemmPredictor
from perfcast.settings import Settings
from tests.service import running

# its author's dependencies warn when they are imported, which is not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

QUESTION: dict[str, list[Any]] = {
    "gpu": ["h200_sxm", "b200_sxm", "l40s", "h200_sxm"],
    "framework": ["vllm", "trtllm", "vllm", "sglang"],
    "dtype": ["fp8", "nvfp4", "fp8", "bfloat16"],
    "m": [1, 64, 4096, 333],
    "n": [4096, 2048, 8192, 1000],
    "k": [4096, 7168, 1024, 512],
}


@pytest.fixture(scope="module")
def gemm() -> GemmPredictor:
    return perfcast.load("gemm")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    from tritonclient import http

    with running(Settings(management_token="secret")) as address:
        opened = http.InferenceServerClient(address.removeprefix("http://"))
        yield opened
        opened.close()


def inputs(question: Mapping[str, Any] = QUESTION, *, binary: bool = True) -> list[Any]:
    from tritonclient import http

    found = []
    for name, values in question.items():
        whole = name in ("m", "n", "k")
        array = np.array(values, dtype=np.int64 if whole else object)
        found.append(http.InferInput(name, list(array.shape), "INT64" if whole else "BYTES"))
        found[-1].set_data_from_numpy(array, binary_data=binary)
    return found


def outputs(*names: str, binary: bool = True) -> list[Any]:
    from tritonclient import http

    return [http.InferRequestedOutput(name, binary_data=binary) for name in names]


def refusal(client: Any, *args: Any, **options: Any) -> tuple[str, str]:
    """Status and message of an inference that is refused."""
    from tritonclient.utils import InferenceServerException

    with pytest.raises(InferenceServerException) as caught:
        client.infer(*args, **options)
    return str(caught.value.status()), str(caught.value.message())


@pytest.fixture(scope="module")
def expected(gemm: GemmPredictor) -> dict[str, NDArray[Any]]:
    return gemm.session.run(gemm.task.require_valid(QUESTION))


def test_liveness_and_readiness(client: Any, gemm: GemmPredictor) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("gemm")
    assert client.is_model_ready("gemm", gemm.bundle.version)
    assert not client.is_model_ready("gemm", "1")
    assert not client.is_model_ready("gem")


def test_metadata(client: Any, gemm: GemmPredictor) -> None:
    server = client.get_server_metadata()
    assert (server["name"], server["version"]) == ("perfcast", perfcast.__version__)
    model = client.get_model_metadata("gemm")
    assert model["versions"] == [gemm.bundle.version]
    assert [t["name"] for t in model["inputs"]] == list(gemm.task.input_names)
    assert [t["name"] for t in model["outputs"]] == list(gemm.session.output_names)
    assert client.get_model_metadata("gemm", gemm.bundle.version) == model
    config = client.get_model_config("gemm")
    assert [t["data_type"] for t in config["input"]] == ["TYPE_STRING"] * 4 + ["TYPE_INT64"] * 3
    token = {"authorization": "Bearer secret"}
    assert client.get_model_repository_index(headers=token) == [
        {"name": "gemm", "version": gemm.bundle.version, "state": "READY"}
    ]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("wanted_binary", [False, True])
def test_answers_equal_the_python_apis(
    client: Any, gemm: GemmPredictor, binary: bool, wanted_binary: bool
) -> None:
    names = ("latency_ms", "latency_ms_low", "latency_ms_high", "power_w", "energy_mj", "tflops")
    wanted = outputs(*names, "latency_ms_status", binary=wanted_binary)
    result = client.infer("gemm", inputs(binary=binary), outputs=wanted, request_id="some id")
    assert result.get_response()["id"] == "some id"
    columns = gemm.predict_columns(QUESTION).columns()
    for name in names:
        found = result.as_numpy(name)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, columns[name].astype(np.float32))
    assert result.as_numpy("power_w_status") is None
    assert result.as_numpy("latency_ms_status").tolist() == [0] * 4


def test_all_outputs_by_default(client: Any, expected: Mapping[str, NDArray[Any]]) -> None:
    result = client.infer("gemm", inputs())
    for name, values in expected.items():
        np.testing.assert_array_equal(result.as_numpy(name), values)


def test_any_form_of_columns(client: Any, expected: Mapping[str, NDArray[Any]]) -> None:
    question = {name: [[value] for value in values] for name, values in QUESTION.items()}
    for binary in (False, True):
        found = client.infer("gemm", inputs(question, binary=binary)).as_numpy("latency_ms")
        np.testing.assert_array_equal(found[:, 0], expected["latency_ms"])
    without = {name: values[:1] for name, values in QUESTION.items() if name != "framework"}
    assert client.infer("gemm", inputs(without)).as_numpy("latency_ms").shape == (1,)


def test_versions(client: Any, gemm: GemmPredictor, expected: Mapping[str, NDArray[Any]]) -> None:
    result = client.infer("gemm", inputs(), model_version=gemm.bundle.version)
    assert result.get_response()["model_version"] == gemm.bundle.version
    np.testing.assert_array_equal(result.as_numpy("tflops"), expected["tflops"])
    status, message = refusal(client, "gemm", inputs(), model_version="1")
    assert (status, "no version '1'" in message) == ("404", True)


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_compression(client: Any, expected: Mapping[str, NDArray[Any]], packing: str) -> None:
    question = {name: values * 100 for name, values in QUESTION.items()}
    result = client.infer(
        "gemm",
        inputs(question),
        request_compression_algorithm=packing,
        response_compression_algorithm=packing,
    )
    found = result.as_numpy("latency_ms")
    np.testing.assert_array_equal(found, np.tile(expected["latency_ms"], 100))


def test_errors(client: Any) -> None:
    bad = {**QUESTION, "gpu": ["h200", *QUESTION["gpu"][1:]]}
    status, message = refusal(client, "gemm", inputs(bad))
    assert status == "422"
    assert message.startswith("row 0, gpu: unknown value 'h200'; did you mean 'h200_sxm'")
    status, message = refusal(client, "gemm", inputs(), outputs=outputs("latency"))
    assert (status, "did you mean 'latency_ms'" in message) == ("422", True)
    without = {name: values for name, values in QUESTION.items() if name != "k"}
    assert refusal(client, "gemm", inputs(without)) == ("422", "k: missing; it is required")
    assert refusal(client, "gem", inputs())[0] == "404"


def test_withheld_answers(client: Any, gemm: GemmPredictor) -> None:
    question = {**QUESTION, "n": [4096, 2048, 2**24, 1000]}
    assert np.isnan(gemm.predict_columns(question)["latency_ms"].value).tolist() == [0, 0, 1, 0]
    status, message = refusal(client, "gemm", inputs(question))
    assert (status, "row 2, latency_ms: no answer" in message) == ("422", True)
    for binary in (False, True):
        result = client.infer(
            "gemm",
            inputs(question),
            outputs=outputs("latency_ms", "latency_ms_status", binary=binary),
            parameters={"withheld": "nan"},
        )
        assert result.as_numpy("latency_ms_status").tolist() == [0, 0, 2, 0]
        values = json.loads(json.dumps(result.as_numpy("latency_ms").tolist()))
        assert [value != value for value in values] == [False, False, True, False]  # noqa: PLR0124


def test_many_rows_asynchronously(client: Any, gemm: GemmPredictor) -> None:
    rng = np.random.default_rng(0)
    rows = 5_000
    question: dict[str, Any] = {
        "gpu": rng.choice(["h200_sxm", "b200_sxm", "h100_sxm"], rows).tolist(),
        "dtype": rng.choice(["fp8", "bfloat16"], rows).tolist(),
        **{name: rng.integers(1, 8192, rows) for name in ("m", "n", "k")},
    }
    asked = [client.async_infer("gemm", inputs(question)) for _ in range(2)]
    expected = gemm.predict_columns(question)["latency_ms"].value.astype(np.float32)
    for each in asked:
        np.testing.assert_array_equal(each.get_result().as_numpy("latency_ms"), expected)
