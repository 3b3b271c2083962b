"""loadBalancing, as meant, names exactly the algorithms that a policy can write and a sidecar can do."""

from __future__ import annotations

from typing import get_args

import msgspec

from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.resources.load_balancing import HashKey, LoadBalancing
from sidewinder_sidecar.snapshot.upstreams import Balancing, LeastRequest
from sidewinder_sidecar.snapshot.upstreams import HashKey as SentKey


def types(kind: type) -> set[str | int]:
    """What `type` may be."""
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)
    (written,) = (field for field in described.fields if field.name == "type")
    literal = written.type.type if isinstance(written.type, msgspec.inspect.Metadata) else written.type
    assert isinstance(literal, msgspec.inspect.LiteralType)
    return set(literal.values)


def test_the_algorithms_are_the_same_at_every_stage() -> None:
    assert {member.__struct_config__.tag for member in get_args(Balancing)} == types(LoadBalancing)


def test_the_hash_keys_are_the_same_at_every_stage() -> None:
    assert {member.__struct_config__.tag for member in get_args(SentKey)} == types(HashKey)


def test_what_nobody_writes_is_off() -> None:
    meant = MeshLoadBalancing(balancing=LeastRequest())
    assert (meant.slow_start, meant.subset, meant.locality) == (0.0, {}, None)
