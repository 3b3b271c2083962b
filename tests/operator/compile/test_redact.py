"""redact: names in lower case, once; what several levels hide adds up."""

from __future__ import annotations

from sidewinder_operator.compile.redact import ROW, build, spec
from sidewinder_operator.mesh.redact import MeshRedact
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.redact import Redact
from sidewinder_sidecar.snapshot.policies import RedactSpec


def test_names_are_the_same_in_any_case() -> None:
    meant, faults = build(Redact(headers=("User-Agent", "user-agent"), query_params=("Email",)), Cluster())
    assert meant == MeshRedact(headers=("user-agent",), query=("email",))
    assert faults == ()


def test_levels_add_up() -> None:
    levels = [MeshRedact(query=("email",)), MeshRedact(headers=("user-agent",), query=("name", "email"))]
    assert spec(levels) == RedactSpec(headers=("user-agent",), query=("email", "name"))


def test_nothing_to_hide_is_not_sent() -> None:
    pointers, _ = build(Redact(json_pointers=("/email",)), Cluster())
    assert spec([pointers]) is None
    assert spec([]) is None


def test_it_acts_in_the_serving_proxy_and_protects_nothing() -> None:
    assert not ROW.client
    assert not ROW.written.SECURITY
