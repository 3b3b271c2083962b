"""The chart as a render: the same twice, in step with the CRDs and the operator, and strict about its values."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from helm import reference
from sidewinder_operator import settings as operator_settings
from sidewinder_operator.authority.webhooks import CONFIGURATIONS
from sidewinder_operator.inject import options, patch
from sidewinder_operator.main.process import LEASE
from tests.cluster.support.chart import CHART, render

ROOT = Path(__file__).parents[2]
CRDS = sorted(path.name for path in (ROOT / "crds").glob("*.yaml"))


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(render()) if document]


def the(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in documents if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return found


def test_the_charts_crds_are_the_projects() -> None:
    there = {path.name: path.read_text() for path in (CHART / "files/crds").iterdir()}
    assert there == {name: (ROOT / "crds" / name).read_text() for name in CRDS}, "run `make chart`"


def test_the_page_of_values_is_in_step() -> None:
    assert (ROOT / "docs/reference/chart.md").read_text() == reference.page(), "run `make chart`"


def test_the_defaults_fit_the_schema_and_every_value_is_documented() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema())
    jsonschema.validate(values, schema())

    def walk(part: dict[str, Any], given: Any, path: str) -> None:
        assert part.get("description"), path
        if "properties" in part:
            assert part["additionalProperties"] is False, path
            for name, inner in part["properties"].items():
                walk(inner, (given or {}).get(name), f"{path}.{name}")
                assert "resources" in path or name in given, f"{path}.{name} has no default"

    for name, part in schema()["properties"].items():
        if name != "global":
            walk(part, values[name], name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("operator.replica", 2),
        ("operator.replicas", 0),
        ("proxy.drainSeconds", "25"),
        ("proxy.logLevel", "trace"),
        ("proxy.resources.limits.memory", "64MB"),
        ("proxy.excludeInboundPorts", [0]),
        ("clusterDomain", "Cluster.Local"),
        ("images.registry", "https://registry.example.org"),
        ("injection.timeoutSeconds", 31),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: object) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    part = values
    *parents, last = path.split(".")
    for name in parents:
        part = part[name]
    part[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema())


@pytest.mark.cluster
def test_helm_refuses_it_too() -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        render("--set", "operator.replica=3")
    assert "additional properties 'replica' not allowed" in refused.value.stderr


@pytest.mark.cluster
def test_it_renders_the_same_twice() -> None:
    assert render("--set", "operator.podLabels.a=b") == render("--set", "operator.podLabels.a=b")


@pytest.mark.cluster
def test_crds_are_upgraded_with_the_chart_and_survive_it(documents: list[dict[str, Any]]) -> None:
    for name in CRDS:
        original = yaml.safe_load((ROOT / "crds" / name).read_text())
        found = the(documents, "CustomResourceDefinition", original["metadata"]["name"])
        assert found["metadata"]["annotations"].pop("helm.sh/resource-policy") == "keep"
        original["metadata"].setdefault("annotations", {})
        assert found == original
    assert "CustomResourceDefinition" not in render("--set", "crds.install=false")


@pytest.mark.cluster
def test_the_operator_understands_what_the_chart_tells_it(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    config = the(documents, "ConfigMap", "sidewinder-injection")["data"]["injection.json"]
    (tmp_path / "injection.json").write_text(config)
    found = options.load(str(tmp_path / "injection.json"))
    assert found.system_namespaces == options.Options(image="x").system_namespaces
    (container,) = the(documents, "Deployment", "sidewinder-operator")["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", "sidewinder-system") for each in container["env"]}
    read = operator_settings.read(environment | {"SIDEWINDER_API_SERVER": "https://127.0.0.1:1"})
    assert read.injection == "/etc/sidewinder/injection.json"


@pytest.mark.cluster
def test_another_value_for_pods_is_another_rollout() -> None:
    def checksum(*words: str) -> str:
        documents = [document for document in yaml.safe_load_all(render(*words)) if document]
        template = the(documents, "Deployment", "sidewinder-operator")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/injection"])

    assert checksum() == checksum() != checksum("--set", "proxy.drainSeconds=20")


@pytest.mark.cluster
def test_the_webhooks_say_what_the_injector_does(documents: list[dict[str, Any]]) -> None:
    (webhook,) = the(documents, "MutatingWebhookConfiguration", "sidewinder-injection")["webhooks"]
    assert webhook["failurePolicy"] == "Fail"
    assert "caBundle" not in webhook["clientConfig"]
    _, excluded = webhook["namespaceSelector"]["matchExpressions"]
    assert tuple(excluded["values"]) == options.Options(image="x").system_namespaces
    own = the(documents, "Deployment", "sidewinder-operator")["spec"]["template"]
    own = {"metadata": own["metadata"], "spec": own["spec"]}
    assert patch.passed_over(own, patch.Namespace("elsewhere", {}), options.Options(image="x"))
    paths = {
        f"{'mutating' if 'injection' in name else 'validating'}webhookconfigurations/{name}"
        for name in ("sidewinder-injection", "sidewinder-validation")
    }
    assert {"/".join(path.split("/")[-2:]) for path in CONFIGURATIONS} == paths


@pytest.mark.cluster
def test_nobody_may_do_everything(documents: list[dict[str, Any]]) -> None:
    rules = [
        rule
        for each in documents
        if each["kind"] in ("Role", "ClusterRole") and "operator" in each["metadata"]["name"]
        for rule in each["rules"]
    ]
    assert not any("*" in rule[part] for rule in rules for part in ("apiGroups", "resources", "verbs"))
    read = the(documents, "ClusterRole", "sidewinder-operator-read")["rules"]
    writing = {verb for rule in read for verb in rule["verbs"]} - {"get", "list", "watch"}
    assert writing == {"create"}, "of TokenReviews, which keep nothing"
    (leases,) = [rule for rule in rules if rule["resources"] == ["leases"] and "update" in rule["verbs"]]
    assert leases["resourceNames"] == [LEASE]
    secrets = [rule for rule in rules if rule["resources"] == ["secrets"] and rule["verbs"] != ["create"]]
    assert all(rule["resourceNames"] == ["sidewinder-ca"] for rule in secrets)
    (named,) = the(documents, "ClusterRole", "sidewinder-operator-named")["rules"]
    assert named == {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"]}


@pytest.mark.cluster
def test_what_policies_name_can_be_kept_to_some_namespaces() -> None:
    def bindings(*words: str) -> list[tuple[str, str]]:
        documents = [document for document in yaml.safe_load_all(render(*words)) if document]
        return [
            (each["kind"], each["metadata"].get("namespace", ""))
            for each in documents
            if each.get("roleRef", {}).get("name") == "sidewinder-operator-named"
        ]

    assert bindings() == [("ClusterRoleBinding", "")]
    only = bindings("--set", "policySecrets.namespaces={shop,lab}")
    assert only == [("RoleBinding", "shop"), ("RoleBinding", "lab")]


@pytest.mark.cluster
def test_the_operator_passes_pod_security_restricted(documents: list[dict[str, Any]]) -> None:
    for spec in (
        the(documents, "Deployment", "sidewinder-operator")["spec"]["template"]["spec"],
        the(documents, "Pod", "sidewinder-test")["spec"],
    ):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]
