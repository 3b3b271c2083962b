"""workload: defaults of a LocalProcess, and who selects it."""

from __future__ import annotations

from sidewinder_operator.resources.read import read
from sidewinder_operator.resources.workload import ExternalWorkload, LocalProcess
from tests.support.specimens import specimens

SMALL = {
    "apiVersion": "sidewinder.dev/v1alpha1",
    "kind": "LocalProcess",
    "metadata": {"name": "a"},
    "spec": {"command": ["true"]},
}


def test_a_command_is_enough() -> None:
    found = read(SMALL).found
    assert isinstance(found, LocalProcess)
    assert (found.spec.replicas, found.spec.service_account, found.spec.port_name) == (1, "default", "http")
    assert found.spec.readiness.type == "TCP"
    assert found.metadata.labels == {}


def test_labels_stand_in_the_metadata() -> None:
    found = read(specimens()["ExternalWorkload"]).found
    assert isinstance(found, ExternalWorkload)
    assert found.metadata.labels == {"app": "reviews"}
    assert found.spec.addresses == ("192.0.2.7", "2001:db8::7")
    (problem,) = read({**SMALL, "spec": {"command": ["true"], "labels": {"app": "a"}}}).problems
    assert problem.message == "labels belong into metadata.labels"
