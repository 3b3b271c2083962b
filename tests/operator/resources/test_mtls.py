"""mtls: which modes and ports may be written, and what it may be attached to."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_operator.resources.policy import SECTIONS
from sidewinder_operator.resources.read import Reading, read


def reading(section: dict[str, Any], kind: str = "Service", name: str | None = "reviews") -> Reading:
    target = {"kind": kind} if name is None else {"kind": kind, "name": name}
    return read({
        "apiVersion": "sidewinder.dev/v1alpha1",
        "kind": "ApiPolicy",
        "metadata": {"name": "p", "namespace": "bookinfo"},
        "spec": {"targetRefs": [target], "mtls": section},
    })  # fmt: skip


def test_it_is_a_security_section_of_the_server() -> None:
    section = SECTIONS["mtls"]
    assert (section.SIDE, section.MERGING, section.SECURITY, section.HTTP) == ("Server", "Replace", True, False)


@pytest.mark.parametrize("mode", ["Permissive", "Audit", "Strict"])
@pytest.mark.parametrize(("kind", "name"), [("Mesh", None), ("Namespace", None), ("Service", "reviews")])
def test_a_good_one(mode: str, kind: str, name: str | None) -> None:
    found = reading({"mode": mode, "exceptPorts": [9090]}, kind, name)
    assert found.problems == []
    assert found.found is not None


@pytest.mark.parametrize(
    ("section", "field"),
    [
        pytest.param({}, "spec.mtls.mode", id="no-mode"),
        pytest.param({"mode": "strict"}, "spec.mtls.mode", id="wrong-case"),
        pytest.param({"mode": "Strict", "exceptPorts": [0]}, "spec.mtls.exceptPorts[0]", id="port-zero"),
        pytest.param({"mode": "Strict", "exceptPorts": [65536]}, "spec.mtls.exceptPorts[0]", id="no-port"),
        pytest.param({"mode": "Strict", "exceptPorts": ["http"]}, "spec.mtls.exceptPorts[0]", id="a-name"),
        pytest.param({"mode": "Strict", "exceptPorts": list(range(1, 66))}, "spec.mtls.exceptPorts", id="too-many"),
        pytest.param({"mode": "Strict", "ports": [1]}, "spec.mtls.ports", id="unknown"),
    ],
)
def test_a_bad_one_is_refused_by_its_field(section: dict[str, Any], field: str) -> None:
    assert [problem.field for problem in reading(section).problems] == [field]


def test_a_route_cannot_have_it() -> None:
    told = [problem.message for problem in reading({"mode": "Strict"}, "ApiRoute").problems]
    assert any("mtls may be attached to Mesh, Namespace, Service" in message for message in told), told
