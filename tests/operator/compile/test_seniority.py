"""Who comes first."""

from __future__ import annotations

import itertools

from sidewinder_operator.compile.seniority import origin, seniority
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.core import Service
from sidewinder_operator.resources.meta import ObjectMeta


def _service(name: str, namespace: str = "shop", time: str = "") -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace=namespace, creation_timestamp=time, uid="u", generation=3))


def test_age_then_namespace_then_name() -> None:
    expected = [
        _service("z", time="2026-01-01T00:00:00Z"),
        _service("z", "a", time="2026-02-01T00:00:00Z"),
        _service("a", "b", time="2026-02-01T00:00:00Z"),
        _service("b", "b", time="2026-02-01T00:00:00Z"),
    ]
    for order in itertools.permutations(expected):
        assert sorted(order, key=seniority) == expected


def test_an_origin_names_object_and_generation() -> None:
    assert origin(_service("web")) == Origin(Reference("Service", "shop", "web"), "u", 3)
    assert origin(_service("web"), stale=True).stale
