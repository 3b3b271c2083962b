"""authorization: rules as sent, lists read from ConfigMaps, and what is told when one is missing or broken."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from sidewinder_operator.compile.authorization import ROW, build, spec, strictest
from sidewinder_operator.compile.sections import Built
from sidewinder_operator.mesh.authorization import MeshAuthorization
from sidewinder_operator.resources import Cluster, gather
from sidewinder_operator.resources.authorization import Authorization
from sidewinder_operator.resources.core import ConfigMap
from sidewinder_operator.resources.meta import ObjectMeta
from sidewinder_sidecar.snapshot.authorization import (
    AccessRule,
    AddressesSpec,
    AuthorizationSpec,
    FromSpec,
    PathCondition,
    ToSpec,
    WhenSpec,
)


def built(text: str, cluster: Cluster | None = None) -> Built:
    written = msgspec.convert(yaml.safe_load(text), Authorization)
    return build(written, cluster or Cluster(), "shop")


def lists(**data: str) -> Cluster:
    return gather([ConfigMap(metadata=ObjectMeta(name="lists", namespace="shop"), data=data)])


def test_a_rule_as_sent() -> None:
    meant, faults = built("""
        rules:
        - name: members
          action: Allow
          from: [{serviceAccounts: [shop/cart], cidrs: ["2001:DB8::/32", 192.0.2.7], notPeerCIDRs: [10.0.0.0/8]}]
          to: [{methods: [GET], paths: [{type: Exact, value: /a}], notPorts: [9090]}]
          when: [{claim: groups, values: [members]}, {header: X-Tenant, operator: Exists}]
    """)
    assert faults == ()
    assert meant.rules == (
        AccessRule(
            name="members",
            action="Allow",
            sources=(
                FromSpec(
                    service_accounts=("shop/cart",),
                    cidrs=("2001:db8::/32", "192.0.2.7/32"),
                    not_peer_cidrs=("10.0.0.0/8",),
                ),
            ),
            targets=(ToSpec(methods=("GET",), paths=(PathCondition("/a", "Exact"),), not_ports=(9090,)),),
            conditions=(WhenSpec(claim="groups", values=("members",)), WhenSpec(header="x-tenant", operator="Exists")),
        ),
    )
    assert spec(meant, "shop/policy") == AuthorizationSpec(policy="shop/policy", rules=meant.rules)


def test_every_field_of_a_source_and_a_target_is_sent() -> None:
    """A field that compile forgets would be a condition that nobody asks."""
    data = {"allowed": "10.0.0.0/8"}
    ref = {"configMapRef": {"name": "lists"}, "key": "allowed"}
    names: dict[str, Any] = {"serviceAccounts": ["a/b"], "namespaces": ["a"], "spiffeIds": ["spiffe://a/*"]}
    source: dict[str, Any] = {"cidrs": ["10.0.0.0/8"], "cidrsFrom": [ref], "peerCIDRs": ["10.0.0.0/8"], **names}
    source |= {"peerCIDRsFrom": [ref], "notCIDRs": ["10.0.0.0/8"], "notCIDRsFrom": [ref]}
    source |= {"notPeerCIDRs": ["10.0.0.0/8"], "notPeerCIDRsFrom": [ref]}
    source |= {f"not{name[0].upper()}{name[1:]}": value for name, value in names.items()}
    target: dict[str, Any] = {"methods": ["GET"], "paths": [{"type": "Exact", "value": "/"}], "hosts": ["a"]}
    target["ports"] = [80]
    target |= {f"not{name.capitalize()}": value for name, value in target.items()}
    text = yaml.safe_dump({"rules": [{"name": "r", "action": "Deny", "from": [source], "to": [target]}]})
    meant, faults = built(text, lists(**data))
    assert faults == ()
    (rule,) = meant.rules
    for part in (*rule.sources, *rule.targets):
        assert [field for field in part.__struct_fields__ if not getattr(part, field)] == []


def test_audit_and_the_default() -> None:
    meant, _ = built("{mode: Audit, defaultAction: Deny}")
    assert spec(meant, "a/b") == AuthorizationSpec(policy="a/b", audit=True, default_action="Deny")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{defaultAction: Deny}", "Disabled", id="nobody asks for a path"),
        pytest.param("{rules: [{name: r, action: Deny, to: [{paths: [{type: Exact, value: /a}]}]}]}", "Strict",
                     id="a rule asks"),
        pytest.param("{rules: [{name: r, action: Deny, to: [{notPaths: [{type: Exact, value: /a}]}]}]}", "Strict",
                     id="a rule asks for another"),
        pytest.param("{pathNormalization: Merge, rules: [{name: r, action: Deny, to: "
                     "[{paths: [{type: Exact, value: /a}]}]}]}", "Merge", id="said"),
        pytest.param("{pathNormalization: Strict, defaultAction: Deny}", "Strict", id="said for nothing"),
        pytest.param("{mode: Audit, pathNormalization: Strict, defaultAction: Deny}", "Disabled", id="audit"),
    ],
)  # fmt: skip
def test_how_paths_are_normalised(text: str, expected: str) -> None:
    assert built(text)[0].path_normalization == expected


def test_the_strictest_normalisation_holds() -> None:
    found = [MeshAuthorization(path_normalization=each) for each in ("Merge", "Strict", "Disabled")]
    assert strictest(found) == "Strict"
    assert strictest(found[::2]) == "Merge"
    assert strictest([]) == "Disabled"


BLOCKED = "rules: [{name: r, action: Deny, from: [{cidrsFrom: [{configMapRef: {name: lists}, key: blocked}]}]}]"
FIELD = "rules[0].from[0].cidrsFrom[0]"


def test_a_list() -> None:
    meant, faults = built(BLOCKED, lists(blocked="192.0.2.0/24 # bad\n10.0.0.0/8"))
    assert faults == ()
    assert meant.rules[0].sources[0].cidr_lists == ("shop/lists/blocked",)
    assert meant.lists == (AddressesSpec(name="shop/lists/blocked", cidrs=("10.0.0.0/8", "192.0.2.0/24")),)


def test_a_list_that_is_named_twice_is_sent_once() -> None:
    ref = "{configMapRef: {name: lists}, key: blocked}"
    text = f"rules: [{{name: r, action: Deny, from: [{{cidrsFrom: [{ref}], notPeerCIDRsFrom: [{ref}]}}]}}]"
    assert len(built(text, lists(blocked="10.0.0.0/8"))[0].lists) == 1


def test_a_list_that_is_not_there() -> None:
    meant, (fault,) = built(BLOCKED)
    assert meant is None
    assert fault == (f"{FIELD}.configMapRef.name", "RefNotFound", "there is no ConfigMap shop/lists")


def test_a_key_that_is_not_there() -> None:
    meant, (fault,) = built(BLOCKED, lists(allowed="", banned=""))
    assert meant is None
    assert fault == (f"{FIELD}.key", "RefNotFound", "ConfigMap shop/lists has no blocked: it has allowed, banned")


def test_a_list_with_a_bad_line() -> None:
    meant, (fault,) = built(BLOCKED, lists(blocked="10.0.0.0/8\n10.0.0.1/8\n"))
    assert meant is None
    assert fault.field == f"{FIELD}.key"
    assert fault.message == ("blocked of ConfigMap shop/lists: line 2: '10.0.0.1/8' has host bits: write 10.0.0.0/8")


def test_another_namespace_s_list_is_none() -> None:
    cluster = gather([ConfigMap(metadata=ObjectMeta(name="lists", namespace="other"), data={"blocked": "10.0.0.0/8"})])
    assert built(BLOCKED, cluster)[0] is None


def test_it_acts_where_the_service_is_served() -> None:
    assert not ROW.client
