"""The three ways in which levels meet, and the chains of scopes that they meet along."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from sidewinder_operator.compile.sections import (
    Applied,
    Attachments,
    Row,
    Scope,
    read_spec,
    route_chain,
    service_chain,
)
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.load_balancing import LoadBalancing
from sidewinder_operator.resources.meta import ObjectMeta
from sidewinder_operator.resources.policy import ApiPolicy, ApiPolicySpec, TargetRef
from sidewinder_operator.resources.section import Section

CHAIN = (*service_chain("shop", "web", "http"), *route_chain("shop", "web", "all"))


class Replacing(Section, frozen=True, kw_only=True):
    SIDE: ClassVar = "Client"
    TARGETS: ClassVar = frozenset[str]()


class Adding(Replacing, frozen=True, kw_only=True):
    MERGING: ClassVar = "Add"


class Least(Replacing, frozen=True, kw_only=True):
    MERGING: ClassVar = "Minimum"


def _row(kind: type[Section]) -> Row:
    return Row("x", kind, lambda _: None, lambda written, *_: (written, ()), min)


def _attached(*levels: tuple[Scope, Any]) -> Attachments:
    return Attachments({"x": {scope: (_applied(value),) for scope, value in levels}})


def _applied(value: Any) -> Applied:
    return Applied(value, Origin(Reference("ApiPolicy", "shop", str(value))))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Replacing, [2]), (Adding, [3, 1, 2]), (Least, [1, 1, 1])],
    ids=["Replace", "Add", "Minimum"],
)
def test_levels_meet_from_least_to_most_specific(kind: type[Section], expected: list[int]) -> None:
    attached = _attached((CHAIN[5], 2), (CHAIN[0], 3), (CHAIN[2], 1), (Scope("Service", "shop", "other"), 9))
    assert [applied.value for applied in attached.effective(_row(kind), CHAIN)] == expected


@pytest.mark.parametrize("kind", [Replacing, Adding, Least])
def test_where_nothing_is_attached_nothing_holds(kind: type[Section]) -> None:
    assert _attached().effective(_row(kind), CHAIN) == ()


def test_one_level_alone_is_its_own_minimum() -> None:
    assert [each.value for each in _attached((CHAIN[0], 3)).effective(_row(Least), CHAIN)] == [3]


def test_the_chain_goes_from_the_mesh_to_the_rule() -> None:
    assert [str(scope) for scope in CHAIN] == [
        "Mesh",
        "Namespace shop",
        "Service shop/web",
        "Service shop/web (http)",
        "ApiRoute shop/web",
        "ApiRoute shop/web (all)",
    ]


def test_a_port_without_a_name_has_no_level_of_its_own() -> None:
    assert service_chain("shop", "web", "") == CHAIN[:3]


def test_any_on_asks_for_exactly_one_scope() -> None:
    attached = _attached((CHAIN[4], 1))
    assert attached.any_on([_row(Replacing)], CHAIN[4])
    assert not attached.any_on([_row(Replacing)], CHAIN[5])


def test_a_section_is_found_in_spec_by_its_name() -> None:
    target = TargetRef(kind="Namespace")
    written = LoadBalancing(type="RoundRobin")
    policy = ApiPolicy(metadata=ObjectMeta(name="a"), spec=ApiPolicySpec(target_refs=(target,), load_balancing=written))
    assert read_spec("loadBalancing")(policy) is written
    assert read_spec("retryConstraint")(policy) is None
