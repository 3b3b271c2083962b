"""Any endpoint, in proportion to its weight; the failed are avoided."""

from __future__ import annotations

from collections import Counter

import pytest

from sidewinder_sidecar.upstream.balance.random import RandomBalancer
from tests.support.memory import endpoints


@pytest.mark.parametrize("weights", [(1,), (1, 1, 1, 1), (5, 3, 2)], ids=str)
def test_chi_square_of_the_shares(monkeypatch, weights):
    """0.1 % of right balancers would be above 16.3 with three degrees of freedom: the seed makes it always or never."""
    from random import Random

    monkeypatch.setattr("sidewinder_sidecar.upstream.balance.random.random", Random(7).random)
    made = endpoints(*weights)
    balancer = RandomBalancer(made)
    counts = Counter(balancer.pick() for _ in range(20_000))
    expected = [20_000 * weight / sum(weights) for weight in weights]
    assert sum((counts[one] - mean) ** 2 / mean for one, mean in zip(made, expected, strict=True)) < 16.3


def test_the_failed_come_only_when_there_is_no_other():
    made = endpoints(1, 1, 1)
    balancer = RandomBalancer(made)
    assert all(balancer.pick(made[:2]) is made[2] for _ in range(50))
    assert balancer.pick(made) in made
    assert repr(balancer) == "<Random of 3>"
