"""Who may weaken security, on a real API server: each security section asks for a right of its own, in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sidewinder_operator.resources.policy import SECTIONS as ALL
from tests.cluster.bed.waiting import BedError, until
from tests.cluster.support.chart import render
from tests.cluster.support.cluster import Cluster

pytestmark = pytest.mark.cluster

SHOP = "shop-of-security"
KINDS = ("CustomResourceDefinition", "ClusterRole", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
KEYS = {"name": "keys", "type": "APIKey", "apiKey": {"secretRef": {"name": "keys"}}}
SECTIONS: dict[str, tuple[Any, Any]] = {  # as it is, and weaker
    "mtls": ({"mode": "Strict"}, {"mode": "Permissive"}),
    "authentication": (
        {"credentials": "Required", "providers": [KEYS]},
        {"credentials": "Optional", "providers": [KEYS]},
    ),
    "authorization": ({"defaultAction": "Deny"}, {"defaultAction": "Allow"}),
}
RIGHT = "you need the verb update on apipolicies/security"


def test_every_security_section_is_tried_here() -> None:
    assert set(SECTIONS) == {name for name, section in ALL.items() if section.SECURITY}


@pytest.fixture(scope="module")
def shop(cluster: Cluster) -> Iterator[str]:
    """A namespace with an editor and an owner, where the policy is in force."""
    documents = [each for each in yaml.safe_load_all(render("--skip-tests")) if each and each["kind"] in KINDS]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}}
    try:
        cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all([space, *documents]))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=sidewinder")
        for name, role in (("editor", "edit"), ("owner", "admin")):
            cluster.kubectl("create", "rolebinding", name, f"--clusterrole={role}", f"--user={name}", "-n", SHOP)
        probe = policy("probe", mtls={"mode": "Strict"})
        until(  # seconds, mostly; once it was more than a minute
            "the policy is in force, and roles are aggregated", lambda: RIGHT in apply(cluster, "editor", probe), 180
        )
        yield SHOP
    finally:
        cluster.kubectl("delete", "namespace", SHOP, "--ignore-not-found", "--timeout=60s")
        cluster.kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", text=yaml.safe_dump_all(documents))


def policy(name: str, **sections: Any) -> dict[str, Any]:
    spec = {"targetRefs": [{"kind": "Namespace"}], **sections}
    return {"apiVersion": "sidewinder.dev/v1alpha1", "kind": "ApiPolicy", "metadata": {"name": name}, "spec": spec}


def apply(cluster: Cluster, user: str, body: dict[str, Any], verb: str = "apply") -> str:
    """What the API server says, good or bad."""
    try:
        return cluster.kubectl(verb, "-n", SHOP, f"--as={user}", "-f", "-", text=json.dumps(body))
    except BedError as no:
        return str(no)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_made_changed_moved_and_removed_only_with_the_right(
    cluster: Cluster, shop: str, section: str
) -> None:
    strong, weak = SECTIONS[section]
    name = f"guarded-{section}"
    other = {"loadBalancing": {"type": "RoundRobin"}}
    guarded = policy(name, **{section: strong}, **other)
    assert RIGHT in apply(cluster, "editor", guarded), "made"
    assert "created" in apply(cluster, "owner", guarded)
    moved = policy(name, **{section: strong}, **other)
    moved["spec"]["targetRefs"] = [{"kind": "Service", "name": "one"}]
    for what, body in {
        "changed": policy(name, **{section: weak}, **other),
        "removed": policy(name, **other),
        "moved": moved,
    }.items():
        assert RIGHT in apply(cluster, "editor", body, "replace"), what
    assert RIGHT in apply(cluster, "editor", guarded, "delete"), "deleted"
    touched = policy(name, **{section: strong}, loadBalancing={"type": "LeastRequest"})
    assert "replaced" in apply(cluster, "editor", touched, "replace"), "what is no security is the editor's"
    assert "replaced" in apply(cluster, "owner", policy(name, **{section: weak}, **other), "replace")
    assert "deleted" in apply(cluster, "owner", guarded, "delete")


def test_what_is_no_security_section_asks_for_nothing(cluster: Cluster, shop: str) -> None:
    pages = policy("pages", cors={"allowOrigins": ["https://shop.example"]})
    assert "created" in apply(cluster, "editor", pages)
    assert "deleted" in apply(cluster, "editor", pages, "delete")


def test_a_collection_cannot_be_deleted_around_it(cluster: Cluster, shop: str) -> None:
    assert "created" in apply(cluster, "owner", policy("kept", mtls={"mode": "Strict"}))
    with pytest.raises(BedError, match="apipolicies/security"):
        cluster.kubectl("delete", "apipolicies", "--all", "-n", SHOP, "--as=editor")
    assert "kept" in cluster.kubectl("get", "apipolicies", "-n", SHOP, "-o", "name")
