"""The engine decides as a person would, rule by rule; and its verdicts are kept within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters.authorize.addresses import Ranges, read
from sidewinder_sidecar.filters.authorize.engine import MOST_CALLERS, Engine, speaks_http
from sidewinder_sidecar.snapshot.authorization import (
    AccessRule,
    AuthorizationSpec,
    FromSpec,
    PathCondition,
    ToSpec,
    WhenSpec,
)
from tests.support import access
from tests.support.access import Asked, account, section
from tests.support.examples import examples


def ranges(cidrs: tuple[str, ...]) -> Ranges:
    reading = read(cidrs)
    while True:
        try:
            next(reading)
        except StopIteration as done:
            found: Ranges = done.value
            return found


LISTS = {name: ranges(cidrs) for name, cidrs in access.LISTS.items()}


def engine(*sections: AuthorizationSpec, port: int = 9080) -> Engine:
    return Engine(sections, port, access.TRUST_DOMAIN, LISTS)


def verdict(made: Engine, asked: Asked) -> access.Found:
    found = made.judge(asked.call()) if asked.method else made.judge_connection(asked.of_peer())
    return access.Found(found.allowed, found.decision)


@examples(400)
@given(access.sections, st.lists(access.requests, min_size=1, max_size=8))
def test_decides_as_a_person_would(sections: tuple[AuthorizationSpec, ...], requests: list[Asked]) -> None:
    engines = {port: engine(*sections, port=port) for port in {asked.port for asked in requests}}
    for asked in [*requests, *requests]:  # the second time from what is kept
        assert verdict(engines[asked.port], asked) == access.decide(sections, asked, access.LISTS), asked


ALLOW_A = AccessRule(name="a", sources=(FromSpec(service_accounts=("shop/a",)),))
DENY_ADMIN = AccessRule(name="admin", action="Deny", targets=(ToSpec(paths=(PathCondition("/admin"),)),))
A, B = account("shop/a"), account("shop/b")

CASES = [
    ("a deny anywhere wins", (section(ALLOW_A), section(DENY_ADMIN, policy="shop/other")), Asked(A, path="/admin/x"),
     False, "shop/other/admin"),
    ("an allow of any level lets pass", (section(policy="x/mesh", default_action="Deny"), section(ALLOW_A)),
     Asked(A), True, "shop/policy/a"),
    ("nothing matches and nothing is said", (section(ALLOW_A),), Asked(B), False, "shop/policy/defaultAction"),
    ("the most specific default counts", (section(policy="x/mesh", default_action="Deny"),
     section(policy="shop/ns", default_action="Allow")), Asked(B), True, "shop/ns/defaultAction"),
    ("who says nothing leaves the default", (section(policy="x/mesh", default_action="Allow"), section(ALLOW_A)),
     Asked(B), True, "x/mesh/defaultAction"),
    ("a deny before an allow of the same section", (section(ALLOW_A, DENY_ADMIN),), Asked(A, path="/admin"), False,
     "shop/policy/admin"),
    ("audit lets pass and tells the rule", (section(ALLOW_A, DENY_ADMIN, audit=True),), Asked(A, path="/admin"), True,
     "audit:shop/policy/admin"),
    ("audit tells the default", (section(ALLOW_A, audit=True),), Asked(B), True, "audit:shop/policy/defaultAction"),
    ("audit has nothing to tell", (section(ALLOW_A, audit=True),), Asked(A), True, ""),
    ("audit never opens", (section(default_action="Deny"), section(ALLOW_A, audit=True, policy="shop/trial")), Asked(A),
     False, "shop/policy/defaultAction"),
    ("an enforced allow saves from an audited default",
     (section(ALLOW_A), section(policy="shop/trial", audit=True, default_action="Deny")), Asked(A), True,
     "shop/policy/a"),
]  # fmt: skip


@pytest.mark.parametrize(("sections", "asked", "allowed", "decision"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_sections_combine(sections: tuple[AuthorizationSpec, ...], asked: Asked, allowed: bool, decision: str) -> None:
    assert verdict(engine(*sections), asked) == (allowed, decision)
    assert access.decide(sections, asked, access.LISTS) == (allowed, decision)


HTTP = [
    ("methods", ToSpec(methods=("GET",))),
    ("paths", ToSpec(paths=(PathCondition("/"),))),
    ("hosts", ToSpec(hosts=("shop.example",))),
    ("not methods", ToSpec(not_methods=("GET",))),
    ("not paths", ToSpec(not_paths=(PathCondition("/a"),))),
    ("not hosts", ToSpec(not_hosts=("shop.example",))),
]


@pytest.mark.parametrize("target", [each[1] for each in HTTP], ids=[each[0] for each in HTTP])
def test_a_connection_has_no_http(target: ToSpec) -> None:
    connection = Asked(A, method="")
    allow = AccessRule(name="r", targets=(target,))
    deny = AccessRule(name="r", action="Deny", targets=(target,))
    assert speaks_http(target)
    assert not verdict(engine(section(allow)), connection).allowed
    assert not verdict(engine(section(deny, default_action="Allow")), connection).allowed


def test_conditions_are_http_too() -> None:
    when = (WhenSpec(claim="groups", values=("staff",)),)
    assert not verdict(engine(section(AccessRule(name="r", conditions=when))), Asked(A, method="")).allowed
    deny = AccessRule(name="r", action="Deny", conditions=when)
    assert not verdict(engine(section(deny, default_action="Allow")), Asked(A, method="")).allowed


def test_ports_alone_hold_of_connections() -> None:
    rule = AccessRule(name="r", sources=(FromSpec(namespaces=("shop",)),), targets=(ToSpec(ports=(9080,)),))
    assert verdict(engine(section(rule)), Asked(A, method="")).allowed
    assert not verdict(engine(section(rule), port=9090), Asked(A, method="")).allowed


def test_callers_are_kept_within_a_bound() -> None:
    made = engine(section(AccessRule(name="r", sources=(FromSpec(cidrs=("10.0.0.0/8",)),))))
    for number in range(MOST_CALLERS + 10):
        asked = Asked(client=f"10.0.{number >> 8}.{number & 255}")
        assert verdict(made, asked).allowed
    assert 0 < int(repr(made).split(", ")[1].split()[0]) <= MOST_CALLERS


def test_repr() -> None:
    assert repr(engine(section(ALLOW_A, DENY_ADMIN))) == "<Engine 2 entries, 0 callers>"
