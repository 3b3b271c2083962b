"""loadBalancing: each written algorithm has its meaning."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.load_balancing import ROW, build
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.load_balancing import LoadBalancing


@pytest.mark.parametrize("algorithm", ["RoundRobin", "LeastRequest"])
def test_what_is_written_is_meant(algorithm: str) -> None:
    written = LoadBalancing(type=algorithm)  # type: ignore[arg-type]
    assert build(written, Cluster(), "shop") == (MeshLoadBalancing(algorithm=algorithm), ())  # type: ignore[arg-type]


def test_it_acts_in_the_callers_proxy() -> None:
    assert ROW.client
