"""What else must hold: claims as tokens have them, headers as callers send them, one time too often or hidden."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_sidecar.filters.authorize.conditions import MOST_MEMBERS, Conditions
from sidewinder_sidecar.snapshot.authorization import WhenSpec
from tests.support.calls import call

Rows = tuple[tuple[bytes, bytes], ...]


def met(spec: WhenSpec, allows: bool, rows: Rows = (), claims: Any = None) -> bool:
    conditions = Conditions()
    conditions.add(1, (spec,), allows)
    conditions.seal(0b11)
    made = call(b"/", *rows)
    made.attributes = None if claims is None else {"claims": claims}
    found = conditions.tables[0].entries(made)
    assert found & 0b10, "an entry that does not ask is not spoken against"
    return bool(found & 1)


IN, NOT_IN = WhenSpec(claim="groups", values=("staff",)), WhenSpec(claim="groups", operator="NotIn", values=("staff",))
ROLES = WhenSpec(claim="realm_access.roles", values=("admin",))
URL = WhenSpec(claim="https://shop.example/groups", values=("staff",))
# spec, claims, of an Allow, of a Deny
CLAIMS: list[tuple[str, WhenSpec, Any, bool, bool]] = [
    ("text", IN, {"groups": "staff"}, True, True),
    ("other text", IN, {"groups": "staffing"}, False, False),
    ("a member", IN, {"groups": ["users", "staff"]}, True, True),
    ("no member", IN, {"groups": []}, False, False),
    ("no claim", IN, {}, False, False),
    ("nobody", IN, None, False, False),
    ("null", IN, {"groups": None}, False, False),
    ("an object", IN, {"groups": {"staff": 1}}, False, False),
    ("not in", NOT_IN, {"groups": ["users"]}, True, True),
    ("not in, but", NOT_IN, {"groups": ["users", "staff"]}, False, False),
    ("not in, no claim", NOT_IN, {}, False, True),
    ("not in, nobody", NOT_IN, None, False, True),
    ("nested", ROLES, {"realm_access": {"roles": ["admin"]}}, True, True),
    ("nested in nothing", ROLES, {"realm_access": "roles"}, False, False),
    ("a name with dots", URL, {"https://shop.example/groups": ["staff"]}, True, True),
    ("a number", WhenSpec(claim="level", values=("3",)), {"level": 3}, True, True),
    ("a truth", WhenSpec(claim="email_verified", values=("true",)), {"email_verified": True}, True, True),
    ("a word of scope", WhenSpec(claim="scope", values=("read",)), {"scope": "openid read"}, True, True),
    ("no word of scope", WhenSpec(claim="scope", values=("read",)), {"scope": "openid reader"}, False, False),
    ("words of another claim", IN, {"groups": "users staff"}, False, False),
    ("half a surrogate pair", IN, {"groups": "\ud800"}, False, False),
    ("there", WhenSpec(claim="sub", operator="Exists"), {"sub": ""}, True, True),
    ("not there", WhenSpec(claim="sub", operator="NotExists"), {"sub": "x"}, False, False),
    ("nobody is not there", WhenSpec(claim="sub", operator="NotExists"), None, True, True),
]


@pytest.mark.parametrize(("spec", "claims", "allow", "deny"), [each[1:] for each in CLAIMS],
                         ids=[each[0] for each in CLAIMS])  # fmt: skip
def test_claims(spec: WhenSpec, claims: Any, allow: bool, deny: bool) -> None:
    assert met(spec, True, claims=claims) is allow
    assert met(spec, False, claims=claims) is deny


ADMIN = WhenSpec(header="x-role", values=("admin",))
NOT_ADMIN = WhenSpec(header="x-role", operator="NotIn", values=("admin",))
X = b"X-Role"
HEADERS: list[tuple[str, WhenSpec, Rows, bool, bool]] = [
    ("in", ADMIN, ((X, b"admin"),), True, True),
    ("another", ADMIN, ((X, b"user"),), False, False),
    ("none", ADMIN, (), False, False),
    ("twice the same", ADMIN, ((X, b"admin"), (X, b"admin")), True, True),
    ("first of two", ADMIN, ((X, b"admin"), (X, b"user")), False, True),
    ("last of two", ADMIN, ((X, b"user"), (X, b"admin")), False, True),
    ("within a list", ADMIN, ((X, b"user, admin"),), False, True),
    ("within a list that is too long to be searched", ADMIN, ((X, b"user," * MOST_MEMBERS),), False, True),
    ("in a long list", ADMIN, ((X, b"user," * (MOST_MEMBERS - 2) + b" admin"),), False, True),
    ("not in a long list", ADMIN, ((X, b"user," * (MOST_MEMBERS - 1)),), False, False),
    ("in capitals", ADMIN, ((X, b"ADMIN"),), False, False),
    ("not in", NOT_ADMIN, ((X, b"user"),), True, True),
    ("not in, but one", NOT_ADMIN, ((X, b"user"), (X, b"admin")), False, True),
    ("not in, but all", NOT_ADMIN, ((X, b"admin"),), False, False),
    ("not in, none", NOT_ADMIN, (), False, True),
    ("not in, but within a list", NOT_ADMIN, ((X, b"user, admin"),), False, True),
    ("not in, but a list that is too long", NOT_ADMIN, ((X, b"user," * MOST_MEMBERS),), False, True),
    ("there", WhenSpec(header="x-role", operator="Exists"), ((X, b""),), True, True),
    ("not there", WhenSpec(header="x-role", operator="NotExists"), ((X, b""),), False, False),
    ("rightly not there", WhenSpec(header="x-role", operator="NotExists"), (), True, True),
    ("beyond ASCII", WhenSpec(header="x-role", values=("ä",)), ((X, "ä".encode()),), True, True),
]


@pytest.mark.parametrize(("spec", "rows", "allow", "deny"), [each[1:] for each in HEADERS],
                         ids=[each[0] for each in HEADERS])  # fmt: skip
def test_headers(spec: WhenSpec, rows: Rows, allow: bool, deny: bool) -> None:
    assert met(spec, True, rows) is allow
    assert met(spec, False, rows) is deny


def test_two_conditions_on_one_name_must_both_hold() -> None:
    conditions = Conditions()
    conditions.add(1, (IN, WhenSpec(claim="groups", values=("leads",)), NOT_IN), True)
    conditions.add(2, (IN,), True)
    conditions.seal(0b11)
    assert len(conditions.tables) == 3
    made = call(b"/")
    made.attributes = {"claims": {"groups": ["staff", "leads"]}}
    held = 0b11
    for table in conditions.tables:
        held &= table.entries(made)
    assert held == 0b10
