"""loadBalancing: two types, and none by default."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.resources.load_balancing import LoadBalancing


@pytest.mark.parametrize("name", ["RoundRobin", "LeastRequest"])
def test_types(name: str) -> None:
    assert msgspec.convert({"type": name}, LoadBalancing).type == name


def test_a_type_is_required() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({}, LoadBalancing)
