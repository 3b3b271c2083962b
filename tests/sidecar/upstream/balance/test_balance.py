"""Who may be picked at all, and by which algorithm."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.snapshot.upstreams import LeastRequest, RoundRobin
from sidewinder_sidecar.upstream.balance import BALANCERS, balancer
from tests.support.memory import endpoints


@pytest.mark.parametrize("spec", [RoundRobin(), LeastRequest()])
def test_only_ready_endpoints_with_a_weight(spec):
    made = endpoints(1, 0, 1)
    made[0].ready = False
    made_of = balancer(spec, made)
    assert type(made_of) is BALANCERS[type(spec)]
    assert all(made_of.pick() is made[2] for _ in range(20))
    assert balancer(spec, made[:2]) is None
    assert balancer(spec, []) is None
