"""cluster: objects by kind and key, sorted whatever order they came in."""

from __future__ import annotations

import random

import msgspec
import pytest

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import FIELDS, KINDS, Cluster, gather
from sidewinder_operator.resources.read import read
from tests.support.specimens import changed, specimens

OBJECTS = [
    found
    for raw in specimens().values()
    for name in ("c", "a", "b")
    if (found := read(changed(raw, ("metadata", "name"), name)).found) is not None
]


def test_every_kind_has_its_place() -> None:
    assert set(FIELDS.values()) | {"broken", "keys"} == set(Cluster.__struct_fields__), "keys are fetched, not written"
    assert set(FIELDS) == set(KINDS.values())


@pytest.mark.parametrize("seed", range(3))
def test_order_means_nothing(seed: int) -> None:
    shuffled = random.Random(seed).sample(OBJECTS, len(OBJECTS))
    cluster = gather(shuffled, [Reference("Service", "a", "b")])
    assert cluster == gather(OBJECTS, {Reference("Service", "a", "b")})
    for name in FIELDS.values():
        keys = list(getattr(cluster, name))
        assert [key[1] for key in keys] == ["a", "b", "c"]


def test_a_cluster_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Cluster().routes = {}  # type: ignore[misc]
    assert msgspec.structs.asdict(Cluster())["broken"] == frozenset()
