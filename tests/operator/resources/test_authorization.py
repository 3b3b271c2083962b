"""authorization: what may be written, and what is said of anything else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from sidewinder_operator.resources.authorization import Authorization, From
from sidewinder_operator.resources.policy import SECTIONS
from sidewinder_operator.resources.read import Reading, read


def reading(section: dict[str, Any], kind: str = "Service") -> Reading:
    return read({
        "apiVersion": "sidewinder.dev/v1alpha1",
        "kind": "ApiPolicy",
        "metadata": {"name": "p", "namespace": "bookinfo"},
        "spec": {"targetRefs": [{"kind": kind, "name": "reviews"}], "authorization": section},
    })  # fmt: skip


def rule(**fields: Any) -> dict[str, Any]:
    return {"rules": [{"name": "r", "action": "Allow", **fields}]}


def test_it_adds_up_and_fails_closed_in_the_serving_proxy() -> None:
    section = SECTIONS["authorization"]
    assert (section.SIDE, section.MERGING, section.SECURITY, section.HTTP) == ("Server", "Add", True, True)


EVERYTHING = """
mode: Audit
defaultAction: Deny
pathNormalization: Merge
rules:
- name: all-of-it
  action: Deny
  from:
  - serviceAccounts: [bookinfo/productpage]
    namespaces: [bookinfo]
    spiffeIds: ["spiffe://cluster.local/ns/bookinfo/*", "spiffe://other.org/db", "spiffe://a.b/*"]
    cidrs: [203.0.113.0/24, "2001:db8::/32", 192.0.2.7]
    cidrsFrom: [{configMapRef: {name: lists}, key: office.txt}]
    peerCIDRs: [10.0.0.0/8]
    peerCIDRsFrom: [{configMapRef: {name: lists}, key: balancers}]
    notServiceAccounts: [bookinfo/ratings]
    notNamespaces: [default]
    notSpiffeIds: ["spiffe://cluster.local/ns/evil/*"]
    notCIDRs: [203.0.113.128/25]
    notCIDRsFrom: [{configMapRef: {name: lists}, key: blocked.txt}]
    notPeerCIDRs: [10.1.0.0/16]
    notPeerCIDRsFrom: [{configMapRef: {name: lists}, key: blocked.txt}]
  to:
  - methods: [GET]
    paths: [{type: PathPrefix, value: /reviews}, {type: Exact, value: /}]
    hosts: [reviews, "*.example"]
    ports: [9080]
    notMethods: [POST]
    notPaths: [{type: Exact, value: /reviews/secret}]
    notHosts: [old.example]
    notPorts: [9090]
  when:
  - {claim: groups, operator: In, values: [members]}
  - {claim: realm_access.roles, operator: NotIn, values: [banned]}
  - {header: X-Tenant, operator: Exists}
  - {header: x-debug, operator: NotExists}
"""


def test_everything_that_can_be_written() -> None:
    found = reading(yaml.safe_load(EVERYTHING))
    assert found.problems == []


def test_defaults() -> None:
    found = msgspec.convert({"defaultAction": "Deny"}, Authorization)
    assert (found.mode, found.path_normalization, found.rules) == ("Enforce", None, ())


WRONG = [
    ("nothing", {}, "spec.authorization", "authorization needs rules or a defaultAction"),
    ("no rules", {"rules": []}, "spec.authorization", "needs rules or a defaultAction"),
    ("a rule for everything", rule(), "spec.authorization.rules[0]", "is defaultAction"),
    ("no action", {"rules": [{"name": "r", "to": [{"ports": [80]}]}]}, "spec.authorization.rules[0].action",
     "required"),
    ("an empty from", rule(**{"from": []}), "spec.authorization.rules[0].from", "1 at least"),
    ("from nobody in particular", rule(**{"from": [{}]}), "spec.authorization.rules[0].from[0]", "take everybody"),
    ("to nothing in particular", rule(to=[{}]), "spec.authorization.rules[0].to[0]", "take everybody"),
    ("an empty list", rule(**{"from": [{"cidrs": []}]}), "spec.authorization.rules[0].from[0].cidrs", "1 at least"),
    ("an account without its namespace", rule(**{"from": [{"serviceAccounts": ["cart"]}]}),
     "spec.authorization.rules[0].from[0].serviceAccounts[0]", "a namespace and a name such as"),
    ("a wildcard in the middle", rule(**{"from": [{"spiffeIds": ["spiffe://a/*/b"]}]}),
     "spec.authorization.rules[0].from[0].spiffeIds[0]", "a SPIFFE ID such as"),
    ("a wildcard in the trust domain", rule(**{"from": [{"spiffeIds": ["spiffe://a*"]}]}),
     "spec.authorization.rules[0].from[0].spiffeIds[0]", "a SPIFFE ID such as"),
    ("host bits", rule(**{"from": [{"peerCIDRs": ["10.1.2.3/8"]}]}),
     "spec.authorization.rules[0].from[0].peerCIDRs[0]", "has host bits: write 10.0.0.0/8"),
    ("a regular expression", rule(to=[{"paths": [{"type": "RegularExpression", "value": "/.*"}]}]),
     "spec.authorization.rules[0].to[0].paths[0].type", "not one of Exact, PathPrefix"),
    ("twice the same name", {"rules": [{"name": "r", "action": "Deny", "to": [{"ports": [1]}]}] * 2},
     "spec.authorization.rules[1].name", "twice"),
    ("a word of another product", rule(source=[{"cidrs": ["10.0.0.0/8"]}]), "spec.authorization.rules[0].source",
     "unknown field"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "field", "message"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_what_is_wrong_is_told(section: dict[str, Any], field: str, message: str) -> None:
    found = reading(section)
    assert found.refused
    assert any(each.field == field and message in each.message for each in found.problems), found.problems
    assert {each.section for each in found.problems} == {"authorization"}


def test_not_on_a_backend() -> None:
    assert reading({"defaultAction": "Deny"}, "Backend").refused


def test_whether_a_rule_asks_for_the_path() -> None:
    def asks(to: dict[str, Any]) -> bool:
        return msgspec.convert(rule(to=[{"ports": [80]}, to]), Authorization).judges_paths()

    assert asks({"paths": [{"type": "Exact", "value": "/a"}]})
    assert asks({"notPaths": [{"type": "Exact", "value": "/a"}]})
    assert not asks({"methods": ["GET"]})


def test_the_lists_that_a_source_names_have_their_place() -> None:
    ref = {"configMapRef": {"name": "lists"}, "key": "a"}
    found = msgspec.convert({"cidrsFrom": [ref], "notPeerCIDRsFrom": [ref, {**ref, "key": "b"}]}, From)
    assert [(field, each.key) for field, each in found.lists()] == [
        ("cidrsFrom[0]", "a"), ("notPeerCIDRsFrom[0]", "a"), ("notPeerCIDRsFrom[1]", "b"),
    ]  # fmt: skip
