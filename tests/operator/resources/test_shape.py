"""shape: a value is walked along its type; `test_read` proves it for every field, this for the walk itself."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sidewinder_operator.resources.core import ConfigMap, ServicePort
from sidewinder_operator.resources.load_balancing import LoadBalancing
from sidewinder_operator.resources.meta import ObjectMeta
from sidewinder_operator.resources.policy import TargetRef
from sidewinder_operator.resources.route import ApiRouteSpec, BackendRef, RouteRule
from sidewinder_operator.resources.shape import MOST, Enough, Fault, Faults, examine, nearest


def faults(raw: Any, kind: type[Any]) -> list[Fault]:
    """Everything wrong with the shape of `raw`."""
    found = Faults()
    examine(raw, kind, found)
    return list(found)


def test_nulls_are_taken_out() -> None:
    found = Faults()
    assert examine({"name": "a", "port": 1, "weight": None, "filters": None}, BackendRef, found) == {
        "name": "a",
        "port": 1,
    }
    assert found == []


def test_a_null_in_a_list_is_wrong() -> None:
    (fault,) = faults({"name": "a", "port": 1, "filters": [None]}, BackendRef)
    assert (fault.field, fault.reason) == ("filters[0]", "WrongType")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "0 is not a port number from 1 to 65535"),
        ("", "must not be empty: text"),
        (True, "true is not a port number from 1 to 65535"),
        (None, None),
        (8080, None),
        ("http", None),
    ],
)
def test_of_a_port_by_number_or_name_the_fitting_half_speaks(value: Any, message: str | None) -> None:
    told = [fault.message for fault in faults({"port": 80, "targetPort": value}, ServicePort)]
    assert told == ([] if message is None else [message])


def test_what_is_not_built_is_told_once_and_by_name() -> None:
    assert faults({"kind": "Gateway", "name": "a"}, TargetRef) == [
        Fault("kind", "NotBuilt", "kind Gateway is not built yet")
    ]
    assert faults({"name": "a", "rollout": {}}, RouteRule) == [
        Fault("rollout", "NotBuilt", "rollout is not built yet: take it out"),
    ]


def test_the_nearest_name() -> None:
    known = ["backendRefs", "matches", "name"]
    assert nearest("backendrefs", known) == "; did you mean `backendRefs`?"
    assert nearest("mathces", known) == "; did you mean `matches`?"
    assert nearest("zzzzzz", known) == "; known are backendRefs, matches, name"
    assert nearest("zzzzzz", []) == "; nothing can stand here"


def test_an_endless_name_costs_nothing() -> None:
    began = time.process_time()
    (fault,) = faults({"type": "RoundRobin", "x" * 1_000_000: 1}, LoadBalancing)
    assert len(fault.message) < 200
    assert time.process_time() - began < 1


def test_enough_is_enough() -> None:
    found = Faults()
    with pytest.raises(Enough):
        examine({"rules": [{"name": 7, "nam": 1}] * 1000}, ApiRouteSpec, found)
    assert len(found) == MOST


@pytest.mark.parametrize(
    ("value", "shown"),
    [("a", '"a"'), (7, "7"), (True, "true"), ([1], "a list"), ({}, "a mapping"), ("x" * 100, '"' + "x" * 56 + "…")],
)
def test_values_are_shown_as_written_and_shortened(value: Any, shown: str) -> None:
    assert Faults().shown(value) == shown
    assert Faults(secret=True).shown(value) == "what is written"


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (ObjectMeta, {"name": "shop", "annotations": {"note": "a\ud800b"}}),
        (ObjectMeta, {"name": "shop", "annotations": {"\udfff": "note"}}),
        (ConfigMap, {"metadata": {"name": "shop"}, "binaryData": {"logo": "\ud800"}}),
        (ServicePort, {"port": 80, "protocol": "\ud800"}),
        (LoadBalancing, {"type": "RoundRobin", "\ud800": 1}),
    ],
    ids=["value", "key", "bytes", "literal", "field"],
)
def test_half_a_character_is_told_and_what_is_told_can_be_written(kind: Any, raw: dict[str, Any]) -> None:
    faults = Faults()
    examine(raw, kind, faults)
    assert faults
    for fault in faults:
        assert str(fault).encode()
