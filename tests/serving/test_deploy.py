"""What is deployed agrees with what is served: names, ports, probes, metrics, tensors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import onnx
import onnxruntime
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import perfcast
from perfcast.serving.guard import ALLOWED_DOMAINS
from perfcast.settings import Settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "serving" / "deploy"
MANIFESTS = ("deployment", "service", "autoscaler", "disruption")


def manifest(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / f"{name}.yaml").read_text())
    return loaded


def settings_of(names: list[str]) -> set[str]:
    known = {f"PERFCAST_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert set(names) <= known
    return known


# Kubernetes


@pytest.mark.parametrize("name", MANIFESTS)
@pytest.mark.parametrize("version", ["1.29", "1.32"])
def test_manifests_fit_the_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    wrong = manifest("deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.32", strict=True)


def test_every_manifest_is_applied() -> None:
    listed = manifest("kustomization")["resources"]
    assert sorted(listed) == sorted(f"{name}.yaml" for name in MANIFESTS)


def test_manifests_mean_the_same_pods() -> None:
    deployment, service = manifest("deployment"), manifest("service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert manifest("disruption")["spec"]["selector"]["matchLabels"] == labels
    target = manifest("autoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"]  # or every apply would undo the autoscaler


def test_the_pod_has_no_rights_and_bounded_resources() -> None:
    pod = manifest("deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False  # PERFCAST_PORT=tcp://... would end the service
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    for kind in ("requests", "limits"):
        assert set(container["resources"][kind]) == {"cpu", "memory"}
    assert container["image"].endswith(f":{perfcast.__version__}")
    settings_of([each["name"] for each in container["env"]])


def test_probes_ask_what_exists_and_the_end_is_long_enough(client: httpx.Client) -> None:
    pod = manifest("deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"),
                        ("livenessProbe", "/livez")):  # fmt: skip
        asked = container[probe]["httpGet"]
        assert asked["path"] == path
        assert asked["port"] in ports
        assert client.get(path).status_code == 200
    assert manifest("service")["spec"]["ports"][0]["targetPort"] in ports
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    settings = Settings()
    needed = pause + (settings.drain_ms + settings.shutdown_ms) / 1e3
    assert pod["terminationGracePeriodSeconds"] > needed
    annotations = manifest("deployment")["spec"]["template"]["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) in ports.values()
    assert client.get(annotations["prometheus.io/path"]).status_code == 200


# Docker


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [
        (found[0].upper(), found[1])
        for line in lines
        if line and not line.startswith("#")
        for found in [line.split(maxsplit=1)]
    ]


def test_the_image_is_built_in_two_stages_and_runs_without_rights() -> None:
    steps = instructions()
    stages = [rest for name, rest in steps if name == "FROM"]
    assert len(stages) == 2
    last = steps[max(at for at, step in enumerate(steps) if step[0] == "FROM") :]
    (user,) = [rest for name, rest in last if name == "USER"]
    pod = manifest("deployment")["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{pod['runAsUser']}:{pod['runAsGroup']}"  # numbers: names cannot be checked
    copied = [rest for name, rest in last if name == "COPY"]
    assert all(rest.startswith("--from=build ") for rest in copied)
    after = [name for name, _ in last[last.index(("USER", user)) :]]
    assert "RUN" not in after


def test_the_image_starts_the_service_where_the_cluster_expects_it() -> None:
    steps = instructions()
    command = [json.loads(rest) for name, rest in steps if name in {"ENTRYPOINT", "CMD"}]
    assert command == [["perfcast"], ["serve"]]
    variables = dict(
        pair.split("=", 1) for name, rest in steps if name == "ENV" for pair in rest.split()
    )
    settings_of([name for name in variables if name.startswith("PERFCAST_")])
    environ = {name: text for name, text in variables.items() if name.startswith("PERFCAST_")}
    assert Settings.from_env(environ).host == "0.0.0.0"
    (port,) = [rest for name, rest in steps if name == "EXPOSE"]
    pod = manifest("deployment")["spec"]["template"]["spec"]
    assert int(port) == pod["containers"][0]["ports"][0]["containerPort"]
    (check,) = [rest for name, rest in steps if name == "HEALTHCHECK"]
    compile(json.loads(check.partition(" CMD ")[2])[2], "healthcheck", "exec")


def test_the_builder_gets_what_the_package_needs() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    folders = {path.name for path in (ROOT / "perfcast").iterdir() if path.is_symlink()}
    assert folders | {"perfcast", "pyproject.toml", "README.md", "LICENSE", "NOTICE"} == kept


# Prometheus and Grafana


@pytest.fixture(scope="module")
def exported(client: httpx.Client) -> dict[str, set[str]]:
    """Every sample that /metrics really has after some use: name -> its labels."""
    row = {"gpu": "h200_sxm", "dtype": "fp8", "m": 1, "n": 2, "k": 3}
    assert client.post("/v1/gemm/predict", json={"rows": [row]}).status_code == 200
    assert client.get("/v1/models", headers={"x-request-deadline-ms": "x"}).status_code == 422
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> list[str]:
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_the_dashboard_shows_what_is_exported(exported: dict[str, set[str]]) -> None:
    shown = set()
    for expression in expressions():
        names = set(re.findall(r"\bperfcast_\w+", expression))
        assert names <= set(exported), expression
        labels = {"job"} | set[str]().union(*(exported[name] for name in names))
        for group in re.findall(r"by \(([^)]*)\)", expression):
            assert {label.strip() for label in group.split(",")} <= labels, expression
        for selector in re.findall(r"\{([^}]*)\}", expression):
            assert {part.split("=")[0].rstrip("!") for part in selector.split(",")} <= labels
        shown |= names
    families = {re.sub(r"_(bucket|count|sum|total|info)$", "", name) for name in exported}
    hidden = families - {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in shown}
    assert {name for name in hidden if name.startswith("perfcast_")} == {
        "perfcast_build", "perfcast_worker_start_seconds",
    }  # fmt: skip


def test_the_guide_names_every_metric_and_setting(exported: dict[str, set[str]]) -> None:
    guide = (DEPLOY / "README.md").read_text()
    mentioned = set(re.findall(r"PERFCAST_[A-Z_]+", guide))
    settings_of(list(mentioned))
    for name in exported:
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        assert family in guide or f"..._{family.rsplit('_', 1)[-1]}" in guide or (
            f"..._{'_'.join(family.split('_')[2:])}" in guide
        ), name  # fmt: skip


def test_the_scrape_configuration_asks_the_right_pods() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["perfcast", "perfcast-kubernetes"]
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    kept = [rule for rule in jobs[1]["relabel_configs"] if rule.get("action") == "keep"]
    assert kept[0]["regex"] == labels["app.kubernetes.io/name"]


# Triton and KServe


def shipped() -> Path:
    return ROOT / "models" / "gemm" / "model.onnx"


def test_the_shipped_model_needs_standard_operators_only() -> None:
    model = onnx.load(shipped(), load_external_data=False)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    assert set(opsets) <= ALLOWED_DOMAINS
    assert not model.functions
    seen: set[tuple[str, str]] = set()

    def walk(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            seen.add((node.domain, node.op_type))
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    walk(inner)

    walk(model.graph)
    assert seen
    for domain, kind in seen:
        schema = onnx.defs.get_schema(kind, opsets[domain], domain)
        assert not schema.deprecated, kind
        assert schema.support_level == onnx.defs.OpSchema.SupportType.COMMON, kind


def test_tritons_configuration_describes_the_shipped_model() -> None:
    text = (DEPLOY / "triton" / "gemm" / "config.pbtxt").read_text()
    assert re.search(r'^name: "gemm"$', text, re.MULTILINE)
    assert re.search(r"^max_batch_size: 0$", text, re.MULTILINE)
    types = {
        "STRING": "tensor(string)",
        "INT64": "tensor(int64)",
        "FP32": "tensor(float)",
    }
    session = onnxruntime.InferenceSession(shipped(), providers=["CPUExecutionProvider"])
    for kind, tensors in (("input", session.get_inputs()), ("output", session.get_outputs())):
        block = re.search(rf"^{kind} \[\n(.*?)^\]$", text, re.MULTILINE | re.DOTALL)
        assert block is not None
        said = re.findall(
            r'\{ name: "(\w+)", data_type: TYPE_(\w+), dims: \[ (-?\d+) \] \}', block[1]
        )
        assert {name: (types[type_], int(size)) for name, type_, size in said} == {
            tensor.name: (tensor.type, -1) for tensor in tensors
        }
        assert len(said) == len(block[1].strip().splitlines())
        for tensor in tensors:
            assert len(tensor.shape) == 1 and not isinstance(tensor.shape[0], int)
