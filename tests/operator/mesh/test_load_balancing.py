"""loadBalancing, as meant, names exactly the algorithms that a policy can write and a sidecar can do."""

from __future__ import annotations

from typing import get_args

import msgspec

from sidewinder_operator.mesh.load_balancing import Algorithm
from sidewinder_operator.resources.load_balancing import LoadBalancing
from sidewinder_sidecar.snapshot.upstreams import Balancing


def test_the_algorithms_are_the_same_at_every_stage() -> None:
    (written,) = (field for field in msgspec.inspect.type_info(LoadBalancing).fields if field.name == "type")
    assert isinstance(written.type, msgspec.inspect.Metadata | msgspec.inspect.LiteralType)
    literal = written.type.type if isinstance(written.type, msgspec.inspect.Metadata) else written.type
    assert set(literal.values) == set(get_args(Algorithm))
    assert {member.__struct_config__.tag for member in get_args(Balancing)} == set(get_args(Algorithm))
