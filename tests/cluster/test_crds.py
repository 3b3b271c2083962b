"""crds/ on a real API server: accepted whole, within CEL's budget, and refusing exactly what `read` refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from sidewinder_operator.resources.crd import DEFINITIONS
from sidewinder_operator.resources.read import read
from tests.support.refusals import ACCEPTED, REFUSALS
from tests.support.specimens import Mutation, changed, more, mutations, nodes, specimens

pytestmark = pytest.mark.cluster

CRDS = Path(__file__).parents[2] / "crds"
PLURALS = {of.kind.KIND: of.plural for of in DEFINITIONS}
NAMESPACE = "crds"
OURS = [raw for raw in (*specimens().values(), *more()) if raw["kind"] in PLURALS]

Create = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="module")
def create(cluster: Any) -> Iterator[Create]:
    """Asks the API server to create an object, as a dry run: "" or why not."""
    cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(CRDS))
    cluster.kubectl("create", "namespace", NAMESPACE)
    api = client.CustomObjectsApi(config.new_client_from_config(str(cluster.kubeconfig)))

    def ask(raw: dict[str, Any]) -> str:
        body = {**copy.deepcopy(raw), "metadata": {"name": "tried", "namespace": NAMESPACE}}
        group, version = body["apiVersion"].split("/")
        plural = PLURALS[body["kind"]]
        try:
            api.create_namespaced_custom_object(
                group, version, NAMESPACE, plural, body, dry_run="All", field_validation="Strict"
            )
        except ApiException as refusal:
            if refusal.status not in (400, 422):
                raise
            return str(json.loads(refusal.body)["message"])
        return ""

    yield ask
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    cluster.kubectl("delete", "-f", str(CRDS))


def test_what_read_accepts_is_accepted(create: Create) -> None:
    assert {json.dumps(raw): create(raw) for raw in (*OURS, *ACCEPTED) if create(raw)} == {}


def test_every_broken_field_is_refused_and_named(create: Create) -> None:
    wrong: list[str] = []
    for mutation in (mutation for raw in OURS for mutation in mutations(raw)):
        if mutation.field.startswith("spec") and mutation.what != "null":
            answer = create(mutation.raw)
            if _last(mutation) not in answer:
                wrong.append(f"{mutation.id}: {answer or 'accepted'}")
    assert wrong == []


def _last(mutation: Mutation) -> str:
    """The name that an API server's answer must have in it."""
    return mutation.field.rpartition(".")[2].partition("[")[0]


def test_what_does_not_fit_together_is_refused(create: Create) -> None:
    wrong = [
        refusal.id for refusal in REFUSALS if refusal.cel and refusal.raw["kind"] in PLURALS and not create(refusal.raw)
    ]
    assert wrong == []


# What CEL cannot see, as a capture that nothing defines any more, or what is beyond its budget in a filter's payload.
TOLD_BY_THE_OPERATOR_ALONE = ("capture", "percent or fraction says how many", "one of statusCode and `reset: true`")


def test_nulls_mean_the_same(create: Create) -> None:
    wrong: list[str] = []
    for raw in OURS:
        for node in nodes(raw):
            if node.keys[:1] == ("spec",) and len(node.keys) > 1 and isinstance(node.keys[-1], str):
                nulled = changed(raw, node.keys, None)
                found = read(nulled).problems
                ours = [
                    each for each in found if not any(words in each.message for words in TOLD_BY_THE_OPERATOR_ALONE)
                ]
                if bool(create(nulled)) != bool(ours):
                    wrong.append(f"{node.keys}: {create(nulled)} against {ours}")
    assert wrong == []


def test_columns_and_names(cluster: Any, create: Create) -> None:
    for raw in OURS:
        cluster.kubectl("apply", "--namespace", NAMESPACE, "-f", "-", text=json.dumps(_homed(raw)))
    listed = cluster.kubectl("get", "sidewinder", "--namespace", NAMESPACE)
    for column in ("ACCEPTED", "PROGRAMMED", "ACKNOWLEDGED", "REQUIRED", "AGE"):
        assert column in listed
    for short in ("apir", "apipol", "extw"):
        assert "specimen" in cluster.kubectl("get", short, "--namespace", NAMESPACE)


def _homed(raw: dict[str, Any]) -> dict[str, Any]:
    return changed(raw, ("metadata", "namespace"), NAMESPACE)
