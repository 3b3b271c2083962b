"""Who calls: what an identity and two addresses are held to mean, above all when they are not there."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters.authorize.sources import Names, Sources, split
from sidewinder_sidecar.snapshot.authorization import FromSpec
from tests.support.access import TRUST_DOMAIN, account

IDENTITIES = [
    ("a service account", "spiffe://cluster.local/ns/shop/sa/cart", ("shop/cart", "shop")),
    ("another trust domain", "spiffe://cluster.local.evil/ns/shop/sa/cart", ("", "")),
    ("a trust domain that ends so", "spiffe://not-cluster.local/ns/shop/sa/cart", ("", "")),
    ("no service account", "spiffe://cluster.local/operator", ("", "")),
    ("more behind it", "spiffe://cluster.local/ns/shop/sa/cart/extra", ("", "")),
    ("less", "spiffe://cluster.local/ns/shop/sa", ("", "")),
    ("an empty name", "spiffe://cluster.local/ns/shop/sa/", ("", "")),
    ("an empty namespace", "spiffe://cluster.local/ns//sa/cart", ("", "")),
    ("another word", "spiffe://cluster.local/ns/shop/user/cart", ("", "")),
    ("nobody", "", ("", "")),
]


@pytest.mark.parametrize(("identity", "expected"), [each[1:] for each in IDENTITIES],
                         ids=[each[0] for each in IDENTITIES])  # fmt: skip
def test_whose_service_account(identity: str, expected: tuple[str, str]) -> None:
    assert split(identity, TRUST_DOMAIN) == expected


def test_without_a_trust_domain_nobody_is_a_service_account() -> None:
    assert split("spiffe:///ns/shop/sa/cart", "") == ("", "")


def met(spec: FromSpec, identity: str = "", client: str = "", peer: str = "", allows: bool = True) -> bool:
    sources = Sources(TRUST_DOMAIN, {})
    sources.add(spec, allows, 1)
    sources.seal()
    return sources.entries(identity, client, peer) == 1


CART, EVIL = account("shop/cart"), account("evil/cart")
# spec, identity, client, peer, of an Allow, of a Deny
CASES = [
    ("the account", FromSpec(service_accounts=("shop/cart",)), CART, "", "", True, True),
    ("another account", FromSpec(service_accounts=("shop/cart",)), EVIL, "", "", False, False),
    ("an account that nobody has", FromSpec(service_accounts=("shop/cart",)), "", "", "", False, False),
    ("all but a namespace", FromSpec(not_namespaces=("evil",)), CART, "", "", True, True),
    ("all but its namespace", FromSpec(not_namespaces=("evil",)), EVIL, "", "", False, False),
    ("all but a namespace, from nobody", FromSpec(not_namespaces=("evil",)), "", "", "", False, True),
    ("all but an ID, from nobody", FromSpec(not_spiffe_ids=("spiffe://x/*",)), "", "", "", False, True),
    ("all but a namespace, from elsewhere", FromSpec(not_namespaces=("evil",)), "spiffe://x/y", "", "", False, True),
    ("an ID with any rest", FromSpec(spiffe_ids=("spiffe://cluster.local/ns/shop/*",)), CART, "", "", True, True),
    ("an ID of another", FromSpec(spiffe_ids=("spiffe://cluster.local/ns/shop/*",)), EVIL, "", "", False, False),
    ("a client", FromSpec(cidrs=("10.0.0.0/8",)), "", "10.1.2.3", "192.0.2.1", True, True),
    ("a client is not the peer", FromSpec(cidrs=("10.0.0.0/8",)), "", "192.0.2.1", "10.1.2.3", False, False),
    ("a peer", FromSpec(peer_cidrs=("10.0.0.0/8",)), "", "192.0.2.1", "10.1.2.3", True, True),
    ("a client that nobody knows", FromSpec(cidrs=("10.0.0.0/8",)), "", "", "10.1.2.3", False, True),
    ("all but some, of whom nobody knows", FromSpec(not_cidrs=("10.0.0.0/8",)), "", "", "10.1.2.3", False, True),
    ("IPv4 behind an IPv6 socket", FromSpec(peer_cidrs=("10.0.0.0/8",)), "", "", "::ffff:10.1.2.3", True, True),
    ("all IPv4 is no IPv6", FromSpec(cidrs=("0.0.0.0/0",)), "", "2001:db8::1", "", False, False),
    ("account and client", FromSpec(service_accounts=("shop/cart",), cidrs=("10.0.0.0/8",)), CART, "10.1.2.3", "", True,
     True),
    ("account, not client", FromSpec(service_accounts=("shop/cart",), cidrs=("10.0.0.0/8",)), CART, "192.0.2.1", "",
     False, False),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "identity", "client", "peer", "allow", "deny"), [each[1:] for each in CASES],
                         ids=[each[0] for each in CASES])  # fmt: skip
def test_what_is_met(spec: FromSpec, identity: str, client: str, peer: str, allow: bool, deny: bool) -> None:
    assert met(spec, identity, client, peer) is allow
    assert met(spec, identity, client, peer, allows=False) is deny


def test_equal_sources_are_judged_once() -> None:
    sources = Sources(TRUST_DOMAIN, {})
    for place in range(3):
        sources.add(FromSpec(namespaces=("shop",)), True, 1 << place)
    sources.seal()
    assert sources.entries(CART, "", "") == 0b111
    assert sources.entries(EVIL, "", "") == 0
    assert not sources.addressed


def test_a_source_that_is_no_cidr_is_refused() -> None:
    sources = Sources(TRUST_DOMAIN, {})
    sources.add(FromSpec(cidrs=("10.0.0.1/8",)), True, 1)
    with pytest.raises(ValueError, match="bits beyond"):
        sources.seal()


def test_names_with_any_rest_of_several_lengths() -> None:
    names = Names()
    names.add(1, ("spiffe://a/*",))
    names.add(2, ("spiffe://a/ns/*",))
    names.add(4, ("spiffe://a/ns/x",))
    assert [names.hit(name) for name in ("spiffe://a/ns/x", "spiffe://a/y", "spiffe://b", "")] == [7, 1, 0, 0]
