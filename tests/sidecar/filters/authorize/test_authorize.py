"""The filter: what it answers, counts and notes; lists that outlive a plan; ports that nobody declared."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sidewinder_sidecar.filters.authorize import KEPT, Authorizer, build, prepare
from sidewinder_sidecar.filters.context import Context as FilterContext
from sidewinder_sidecar.snapshot.authorization import (
    AccessRule,
    AddressesSpec,
    AuthorizationSpec,
    FromSpec,
    PathCondition,
    ToSpec,
)
from sidewinder_sidecar.snapshot.policies import PolicySpec
from tests.support.access import Asked, Context, account, section
from tests.support.memory import backend, listener, service
from tests.support.redirected import Redirected

CART = account("shop/cart")
ALLOW = AccessRule(name="cart", sources=(FromSpec(service_accounts=("shop/cart",)),))
ADMIN = AccessRule(name="admin", action="Deny", targets=(ToSpec(paths=(PathCondition("/admin"),)),))


def made(context: Context, *sections: AuthorizationSpec, port: int = 9080) -> Authorizer:
    return build(sections, cast("FilterContext", context), port)


def test_an_allowed_request_passes_and_is_counted() -> None:
    context, call = Context(), Asked(CART).call()
    assert made(context, section(ALLOW)).apply(call) is None
    assert call.decision == "shop/policy/cart"
    assert context.counted == [("authorization", "Allow", "shop/policy")]


def test_a_refused_request_is_told_why_in_the_log_alone() -> None:
    context, call = Context(), Asked(CART, path="/admin/users").call()
    reply = made(context, section(ALLOW), section(ADMIN, policy="shop/admins")).apply(call)
    assert reply is not None
    assert (reply.status, reply.error) == (403, "denied")
    assert "shop/admins" not in reply.detail
    assert call.decision == reply.decision == "shop/admins/admin"
    assert context.counted == [("authorization", "Deny", "shop/admins")]


def test_audit_is_noted_and_passes() -> None:
    context, call = Context(), Asked().call()
    assert made(context, section(ALLOW, audit=True)).apply(call) is None
    assert call.decision == "audit:shop/policy/defaultAction"
    assert context.counted == [("authorization", "Audit", "shop/policy")]


def test_what_strict_mtls_would_do_stays_noted() -> None:
    call = Asked(CART).call()
    call.decision = "audit:shop/strict/mtls"
    assert made(Context(), section(ALLOW)).apply(call) is None
    assert call.decision == "audit:shop/strict/mtls"
    call = Asked().call()
    call.decision = "audit:shop/strict/mtls"
    assert made(Context(), section(ALLOW)).apply(call) is not None
    assert call.decision == "shop/policy/defaultAction"


def test_who_was_not_asked_leaves_no_trace() -> None:
    context, call = Context(), Asked(CART).call()
    assert made(context, section(ALLOW, audit=True)).apply(call) is None
    assert (call.decision, context.counted) == ("", [])


def test_the_client_behind_trusted_hops_counts() -> None:
    rule = AccessRule(name="office", sources=(FromSpec(cidrs=("203.0.113.0/24",)),))
    call = Asked(client="10.0.0.1", peer="10.0.0.1").call()
    call.attributes = {"client": "203.0.113.9"}
    assert made(Context(), section(rule)).apply(call) is None
    call.attributes = {"client": ""}  # `unknown`
    assert made(Context(), section(rule)).apply(call) is not None


def test_a_connection_that_passes_is_told_as_well() -> None:
    peer = Asked().of_peer()
    assert made(Context(), section(ALLOW, audit=True)).admit(peer, 9080) is None
    assert peer.decision == "audit:shop/policy/defaultAction"


def test_a_connection_is_judged_by_who_calls() -> None:
    context = Context()
    authorizer = made(context, section(ALLOW))
    assert authorizer.admit(Asked(CART).of_peer(), 9080) is None
    reply = authorizer.admit(Asked().of_peer(), 9080)
    assert reply is not None
    assert reply.decision == "shop/policy/defaultAction"
    assert [action for _, action, _ in context.counted] == ["Allow", "Deny"]


PORTS = AccessRule(name="metrics", targets=(ToSpec(ports=(9090,)),))


@pytest.mark.parametrize(("port", "allowed"), [(9090, True), (9080, False)])
def test_a_port_that_nobody_declared_is_the_one_that_was_called(port: int, allowed: bool) -> None:
    authorizer = made(Context(), section(PORTS), port=0)
    assert (authorizer.apply(Asked(port=port).call()) is None) is allowed
    assert (authorizer.admit(Asked().of_peer(), port) is None) is allowed


def test_an_engine_for_each_port_that_a_rule_names_and_no_more() -> None:
    authorizer = made(Context(), section(PORTS), port=0)
    for port in range(1, 3000):
        authorizer.judge_connection(Asked().of_peer(), port)
    assert authorizer.judge_connection(Asked().of_peer(), 9090).allowed
    assert len(authorizer._engines) == 2


def addresses(name: str, *cidrs: str) -> dict[str, AddressesSpec]:
    return {name: AddressesSpec(name=name, cidrs=cidrs)}


LISTED = AccessRule(name="listed", action="Deny", sources=(FromSpec(cidr_lists=("shop/lists/blocked",)),))


def test_a_list_of_a_config_map() -> None:
    context = Context(addresses("shop/lists/blocked", "192.0.2.0/24", "2001:db8::/32"))
    authorizer = made(context, section(LISTED, default_action="Allow"))
    assert authorizer.judge(Asked(client="192.0.2.7").call()).rule == "listed"
    assert authorizer.judge(Asked(client="2001:db8::1").call()).rule == "listed"
    assert authorizer.judge(Asked(client="198.51.100.1").call()).allowed


def test_a_list_is_read_again_only_when_it_changed() -> None:
    context = Context(addresses("shop/lists/blocked", "192.0.2.0/24"))
    filters = cast("FilterContext", context)
    kept: Any = lambda: context.memory[KEPT].get("shop/lists/blocked")  # noqa: E731 (asked several times)
    assert [*prepare(filters)] != []
    first = kept()
    context.addresses = addresses("shop/lists/blocked", "192.0.2.0/24")  # the next snapshot, the same content
    assert [*prepare(filters)] == []
    assert kept() is first
    context.addresses = addresses("shop/lists/blocked", "198.51.100.0/24")
    assert [*prepare(filters)] != []
    assert kept() is not first
    context.addresses = {}
    assert [*prepare(filters)] == []
    assert kept() is None


def test_a_list_that_is_none_is_refused() -> None:
    context = Context(addresses("shop/lists/blocked", "ten"))
    assert [*prepare(cast("FilterContext", context))] == []
    with pytest.raises(ValueError, match="'ten' is no CIDR"):
        made(context, section(LISTED))


def test_repr() -> None:
    text = repr(made(Context(), section(ALLOW), section(ADMIN, policy="shop/admins")))
    assert text == "<Authorizer of shop/policy, shop/admins :9080 <Engine 2 entries, 0 callers>>"


def test_lists_of_others_are_not_held() -> None:
    """A guard is taken over from plan to plan: what it holds lives as long as it does."""
    context = Context({**addresses("shop/lists/blocked", "192.0.2.0/24"), **addresses("shop/lists/big", "10.0.0.0/8")})
    assert list(made(context, section(LISTED))._lists) == ["shop/lists/blocked"]


# The same through listener, guard and exchange.

CLUSTER = "10.96.0.7"
NEAR = FromSpec(peer_cidrs=("10.1.0.0/24",))
QUERY = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def mesh(*rules: AccessRule, undeclared: bool = False) -> Redirected:
    """A redirected port, guarded by these: declared, or one of those that nobody declared."""
    policy = PolicySpec(name="p", authorization=(section(*rules),))
    door = listener(transparent=True, pass_through=True, policy="p" if undeclared else "")
    if undeclared:
        return Redirected(door, policy)
    return Redirected(door, service(backend="v1", addresses=(CLUSTER,), policy="p"), *backend("v1"), policy)


def query(found: Redirected, to: tuple[str, int], peer: str) -> tuple[int, str, str]:
    """What is not HTTP: how often the way up was tried, error and decision."""
    transport = found.arrive(*to, peer)
    found.say(transport, QUERY)
    transport.settle()
    transport.lose()
    return found.scene.attempts, found.told[-1].error, found.told[-1].decision


def test_a_relayed_connection_of_who_may_not() -> None:
    rule = AccessRule(name="near", sources=(NEAR,))
    assert query(mesh(rule), (CLUSTER, 9080), "10.2.0.5") == (0, "denied", "shop/policy/defaultAction")
    attempts, error, _ = query(mesh(rule), (CLUSTER, 9080), "10.1.0.5")
    assert attempts == 1
    assert error != "denied"


def test_a_relayed_connection_to_a_port_that_nobody_declared() -> None:
    rule = AccessRule(name="metrics", targets=(ToSpec(ports=(9090,)),))
    assert query(mesh(rule, undeclared=True), ("10.1.0.9", 5432), "10.1.0.5")[1:] == (
        "denied",
        "shop/policy/defaultAction",
    )
    assert query(mesh(rule, undeclared=True), ("10.1.0.9", 9090), "10.1.0.5")[0] == 1


def test_an_allow_that_asks_for_http_lets_no_connection_in() -> None:
    rule = AccessRule(name="near", sources=(NEAR,), targets=(ToSpec(methods=("GET",)),))
    assert query(mesh(rule), (CLUSTER, 9080), "10.1.0.5")[1] == "denied"
    found = mesh(rule)
    transport = found.arrive(CLUSTER, 9080, "10.1.0.5")
    found.say(transport, b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
    assert found.scene.attempts == 1, "the same rule lets the request pass"
    transport = found.arrive(CLUSTER, 9080, "10.2.0.5")
    found.say(transport, b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
    assert transport.sent.startswith(b"HTTP/1.1 403 ")
    assert found.scene.attempts == 1
