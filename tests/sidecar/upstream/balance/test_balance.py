"""Who may be picked at all, by which algorithm, and what is built in steps."""

from __future__ import annotations

import itertools

import pytest

from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    LeastRequest,
    LocalitySpec,
    Maglev,
    PeakEWMA,
    Random,
    RingHash,
    RoundRobin,
)
from sidewinder_sidecar.upstream.balance import BALANCERS, balancer, prepare
from sidewinder_sidecar.upstream.balance.hashed import hashed
from tests.support.memory import endpoints

SIMPLE = [RoundRobin(), LeastRequest(), Random(), PeakEWMA()]
HASHES = [RingHash(), Maglev(table_size=251)]


def spec(balancing, **more):
    return BackendSpec(name="v1", endpoints="v1", balancing=balancing, **more)


def whole(steps):
    """What a generator returns, and in how many steps."""
    count = 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as done:
            return done.value, count


def table(balancing, made, known=None):
    return whole(prepare(balancing, made, [one.weight for one in made], known))[0]


@pytest.mark.parametrize("balancing", SIMPLE, ids=repr)
def test_the_simple_ones_know_only_who_is_usable(balancing):
    made = endpoints(1, 1, 1)
    of = balancer(spec(balancing), made[2:], made, "", None)
    assert type(of) is BALANCERS[type(balancing)]
    assert all(of.pick() is made[2] for _ in range(20))
    assert balancer(spec(balancing), [], made, "", None) is None
    assert table(balancing, made) is None


@pytest.mark.parametrize("balancing", HASHES, ids=repr)
def test_a_hash_keeps_its_table_over_changes_of_who_is_usable(balancing):
    made = endpoints(1, 1, 1)
    known = table(balancing, made)
    keys = [hashed(b"%d" % number) for number in range(200)]
    before = [balancer(spec(balancing), made, made, "", known).pick((), key) for key in keys]
    assert set(before) == set(made)
    without = balancer(spec(balancing), made[1:], made, "", known)
    assert without is known
    after = [without.pick((), key) for key in keys]
    assert all(new is old for new, old in zip(after, before, strict=True) if old is not made[0])
    assert made[0] not in after
    assert [balancer(spec(balancing), made, made, "", known).pick((), key) for key in keys] == before


@pytest.mark.parametrize("balancing", HASHES, ids=repr)
def test_a_table_is_built_anew_only_for_others(balancing):
    made = endpoints(1, 1, 2)
    known = table(balancing, made)
    assert table(balancing, made, known) is known
    assert table(balancing, made[:2], known) is not known
    made[0].weight = 5
    assert table(balancing, made, known) is not known
    assert table(balancing, [], known) is None


@pytest.mark.parametrize("balancing", [RingHash(), Maglev()], ids=repr)
def test_a_long_table_is_built_in_many_steps(balancing):
    made = endpoints(*[1] * 300)
    assert whole(prepare(balancing, made, [1] * 300, None))[1] > 300


@pytest.mark.parametrize("zones", ["aaaaaaaaaa", "aaaaabbbbb"], ids=["one level", "two"])
def test_a_turn_goes_on_over_changes_of_who_is_usable(zones):
    """Built anew before every request, as where some endpoint flaps: each is still as often asked as the next."""
    made = endpoints(*[1] * 10)
    for one, zone in zip(made, zones, strict=True):
        one.zone = zone
    usable = made[2:]  # three fifths of the first zone, where there are two: 84 % go there
    of, counts = None, dict.fromkeys(usable, 0)
    for _ in range(400):
        of = balancer(spec(RoundRobin(), locality=LocalitySpec()), usable, made, "a", None, of)
        counts[of.pick()] += 1
    for zone in set(zones):
        level = [counts[one] for one in usable if one.zone == zone]
        assert max(level) - min(level) <= 1


def test_a_turn_goes_on_at_the_same_part_of_the_circle():
    """One leaves and comes back before every request: nobody is asked twice in a row, as by chance a tenth would be."""
    made = endpoints(*[1] * 10)
    of, picks = None, []
    for number in range(1000):
        of = balancer(spec(RoundRobin()), made if number % 2 else made[:9], made, "", None, of)
        picks.append(of.pick())
    assert sum(one is other for one, other in itertools.pairwise(picks)) < 20
    assert set(picks) == set(made)


def test_locality_is_a_balancer_for_each_level():
    made = endpoints(1, 1)
    made[0].zone, made[1].zone = "a", "b"
    of = balancer(spec(LeastRequest(), locality=LocalitySpec()), made, made, "b", None)
    assert {of.pick() for _ in range(50)} == {made[1]}
    both = balancer(spec(LeastRequest(), locality=LocalitySpec()), made, made, "c", None)
    assert {both.pick() for _ in range(50)} == set(made)


@pytest.mark.parametrize("balancing", HASHES, ids=repr)
def test_locality_is_levels_of_one_table(balancing):
    """Which stands whatever zone the proxy is in: the same key goes to the same endpoint from all of a zone."""
    made = endpoints(*[1] * 6)
    for one, zone in zip(made, "aaabbb", strict=True):
        one.zone = zone
    known = table(balancing, made)
    keys = [hashed(b"%d" % number) for number in range(300)]
    asked = spec(balancing, locality=LocalitySpec())
    near = [balancer(asked, made, made, "a", known).pick((), key) for key in keys]
    assert set(near) == set(made[:3])
    spilt = [balancer(asked, made[2:], made, "a", known).pick((), key) for key in keys]
    assert sum(one is made[2] for one in spilt) / 300 == pytest.approx(1.4 / 3, abs=0.1)
    assert set(spilt) == set(made[2:])
    far = [balancer(asked, made[3:], made, "a", known).pick((), key) for key in keys]
    assert set(far) == set(made[3:])
    assert [balancer(asked, made, made, "a", known).pick((), key) for key in keys] == near
