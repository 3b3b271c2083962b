"""A claim by its name or by its path, and what it holds."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_sidecar.claims import find, texts

CLAIMS = {
    "sub": "alice",
    "realm_access": {"roles": ["admin"], "deep": {"er": 1}},
    "https://shop.example/roles": ["a"],
    "a.b": "itself",
    "a": {"b": "path"},
    "null": None,
}

NAMES = {
    "a name": ("sub", "alice"),
    "a path": ("realm_access.roles", ["admin"]),
    "a longer path": ("realm_access.deep.er", 1),
    "a URL": ("https://shop.example/roles", ["a"]),
    "itself before the path": ("a.b", "itself"),
    "not there": ("group", None),
    "beyond a list": ("realm_access.roles.0", None),
    "beyond text": ("sub.x", None),
    "null": ("null", None),
}


@pytest.mark.parametrize(("name", "value"), NAMES.values(), ids=NAMES)
def test_a_claim_is_found(name: str, value: Any) -> None:
    assert find(CLAIMS, name) == value


HELD = {
    "text": ("a", ("a",)),
    "a list": (["a", 1, True, None, {"b": 1}, ["c"]], ("a", "1", "true")),
    "a number": (1.5, ("1.5",)),
    "null": (None, ()),
    "an object": ({"a": 1}, ()),
}


@pytest.mark.parametrize(("value", "held"), HELD.values(), ids=HELD)
def test_what_a_claim_holds(value: Any, held: tuple[str, ...]) -> None:
    assert texts(value) == held
