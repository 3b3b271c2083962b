"""The walk over a table: who is down, who failed, who has enough; and the published bound of the load."""

from __future__ import annotations

from array import array
from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sidewinder_sidecar.snapshot.upstreams import Maglev, RingHash
from sidewinder_sidecar.upstream.balance import prepare
from sidewinder_sidecar.upstream.balance.hashed import KEY_BITS, Bound, drawn, hashed, name_of, typecode
from sidewinder_sidecar.upstream.balance.maglev import MaglevBalancer
from sidewinder_sidecar.upstream.balance.slow_start import luck
from tests.support.examples import examples
from tests.support.memory import endpoints


def table(made, factor=0, ring=True):
    spec = RingHash(balance_factor=factor) if ring else Maglev(table_size=4093, balance_factor=factor)
    steps = prepare(spec, made, [one.weight for one in made], None)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            done.value.admit(made)
            return done.value


def straight(made, places, factor=0):
    """Key n is place n."""
    one = MaglevBalancer(Maglev(balance_factor=factor), made, [1] * len(made), array("H", places))
    one.admit(made)
    return one


def test_the_walk_goes_to_the_next_place_that_will_do():
    made = endpoints(1, 1, 1)
    balancer = straight(made, [0, 0, 1, 2])
    assert balancer.pick((), 0) is made[0]
    assert balancer.pick([made[0]], 0) is made[1]
    assert balancer.pick(made[:2], 0) is made[2]
    assert balancer.pick(made[1:], 3) is made[0]  # round the end
    assert balancer.pick(made, 0) in made
    balancer.admit([made[0], made[2]])
    assert balancer.pick((), 2) is made[2]
    assert balancer.pick([made[2]], 2) is made[0]


def test_a_request_without_a_key_may_go_anywhere():
    made = endpoints(1, 1, 1)
    balancer = table(made)
    assert {balancer.pick() for _ in range(200)} == set(made)


def test_where_nobody_near_is_up_it_is_one_of_those_who_are():
    made = endpoints(*[1] * 301)
    balancer = straight(made, range(301))
    balancer.admit([made[299], made[300]])
    assert {balancer.pick((), key) for key in range(40)} == {made[299], made[300]}
    assert balancer.pick([made[300]], 0) is made[299]


def test_who_has_enough_passes_keys_on_and_gets_them_back():
    made = endpoints(1, 1)
    balancer = straight(made, [0, 1], factor=125)
    made[0].active = 3
    assert balancer.pick((), 0) is made[1]
    made[0].active = 0
    assert balancer.pick((), 0) is made[0]
    made[0].active = made[1].active = 9
    assert balancer.pick([made[1]], 0) is made[0]  # nobody else: better too much than nothing


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "maglev"])
@pytest.mark.parametrize("factor", [110, 125, 200])
def test_the_load_is_bounded(ring, factor):
    """Mirrokni and others 2018: nobody has more than ⌈c·m/n⌉, though half of the requests have the same key."""
    made = endpoints(*[1] * 20)
    balancer = table(made, factor, ring)
    for number in range(2000):
        key = hashed(b"hot") if number % 2 else hashed(b"%d" % number)
        balancer.pick((), key).active += 1
        assert (
            max(one.active for one in made) <= ceil(factor / 100 * (number + 1) / 20) + 1
        )  # 1: counts are of a moment ago
    unbound = table(endpoints(*[1] * 20), 0, ring)
    for number in range(2000):
        unbound.pick((), hashed(b"hot") if number % 2 else hashed(b"%d" % number)).active += 1
    assert max(one.active for one in unbound._endpoints) > 1000


def test_the_bound_follows_the_weights():
    made = endpoints(3, 1)
    bound = Bound(125, made)
    made[0].active, made[1].active = 9, 3
    bound.count()
    assert [bound.admits(one) for one in made] == [True, True]  # 13 of 13 × 1.25: 12.2 and 4.1
    made[0].active, made[1].active = 12, 4
    bound = Bound(125, made)
    assert [bound.admits(one) for one in made] == [True, True]
    made[1].active = 8
    bound = Bound(125, made)
    assert [bound.admits(one) for one in made] == [True, False]


KEYS = [hashed(b"user-%d" % number) for number in range(4000)]


def picked(balancer):
    return [balancer.pick((), key) for key in KEYS]


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "maglev"])
def test_levels_get_their_shares_and_only_the_keys_between_move(ring):
    """Envoy's own way with priorities: a key's level is a draw of its own, so that a share that shrinks sheds keys."""
    made = endpoints(*[1] * 12)
    near, far = made[:4], made[4:]
    balancer = table(made, 0, ring)
    balancer.admit(made, [(near, 1.0)])
    before = picked(balancer)
    assert set(before) == set(near)
    for one, count in Counter(before).items():  # as even as the algorithm is, though two thirds were stepped over
        assert count / len(KEYS) == pytest.approx(0.25, rel=0.35), one
    for share in (0.9, 0.7, 0.2):
        balancer.admit(made, [(near, share), (far, 1 - share)])
        after = picked(balancer)
        assert sum(one in near for one in after) / len(KEYS) == pytest.approx(share, abs=0.03)
        assert all(new is old or (old in near and new in far) for old, new in zip(before, after, strict=True))
        before = after
    balancer.admit(made, [(near, 1.0)])
    assert set(picked(balancer)) == set(near)


@pytest.mark.parametrize("ring", [True, False], ids=["ring", "maglev"])
def test_within_a_level_only_the_keys_of_who_is_down_move(ring):
    made = endpoints(*[1] * 12)
    balancer = table(made, 0, ring)
    balancer.admit(made, [(made[:6], 1.0)])
    before = picked(balancer)
    balancer.admit(made[1:], [(made[1:6], 1.0)])
    after = picked(balancer)
    assert {old for old, new in zip(before, after, strict=True) if new is not old} == {made[0]}
    assert set(after) == set(made[1:6])


def test_a_retry_leaves_its_level_only_when_all_of_it_has_failed():
    made = endpoints(1, 1, 1, 1)
    balancer = table(made)
    balancer.admit(made, [(made[:2], 1.0)])
    assert {balancer.pick(made[:1], key) for key in KEYS[:50]} == {made[1]}
    assert {balancer.pick(made[:2], key) for key in KEYS[:50]} <= set(made[2:])
    assert balancer.pick(made, KEYS[0]) in made


def test_each_level_has_a_bound_of_its_own():
    """The mean over everybody would call a zone full that has all of the load, as it should."""
    made = endpoints(*[1] * 10)
    balancer = table(made, 125)
    balancer.admit(made, [(made[:2], 1.0)])
    for number in range(200):
        balancer.pick((), hashed(b"hot")).active += 1
        assert max(one.active for one in made) <= ceil(1.25 * (number + 1) / 2) + 1
    assert all(not one.active for one in made[2:])


def test_a_small_zone_far_from_a_key_is_found_all_the_same():
    made = endpoints(*[1] * 400)
    balancer = straight(made, range(400))
    balancer.admit(made, [(made[398:], 1.0)])
    assert {balancer.pick((), key) for key in range(140)} == set(made[398:])
    assert balancer.pick([made[399]], 0) is made[398]


def test_a_level_is_drawn_evenly_and_apart_from_slow_start():
    """Two draws of one key that went together would give a new endpoint the wrong part of a level's keys."""
    cells = Counter((int(drawn(key) * 4), int(luck(key) * 4)) for key in KEYS)
    mean = len(KEYS) / 16
    assert sum((cells[one, other] - mean) ** 2 / mean for one in range(4) for other in range(4)) < 37.7  # 15 degrees


TWENTY = endpoints(*[1] * 20)
TABLES = {True: table(TWENTY, 0, True), False: table(TWENTY, 0, False)}


@given(ring=st.booleans(), down=st.sets(st.integers(0, 19), max_size=19))
@examples(60)
def test_only_the_keys_of_who_is_down_move(ring, down):
    made, balancer = TWENTY, TABLES[ring]
    keys = [hashed(b"%d" % number) for number in range(300)]
    balancer.admit(made)
    before = [balancer.pick((), key) for key in keys]
    up = [one for number, one in enumerate(made) if number not in down]
    balancer.admit(up)
    for key, old in zip(keys, before, strict=True):
        new = balancer.pick((), key)
        assert new in up
        assert new is old or old not in up


class Coming(RuleBasedStateMachine):
    """However endpoints come and go, a table is the same for the same ones: in this proxy and in every other."""

    def __init__(self):
        super().__init__()
        self.all = endpoints(*[1] * 12)
        self.there = {0}
        self.known = None

    @rule(number=st.integers(0, 11))
    def turn(self, number):
        if self.there != {number}:
            self.there ^= {number}

    @invariant()
    def same_as_a_new_one(self):
        made = [self.all[number] for number in sorted(self.there)]
        spec = RingHash(min_size=64, max_size=1024)
        for known in (self.known, None):
            steps = prepare(spec, made, [1] * len(made), known)
            try:
                while True:
                    next(steps)
            except StopIteration as done:
                if known is not None:
                    self.known = done.value
                other = done.value
        self.known = self.known or other
        keys = [hashed(b"%d" % number) for number in range(50)]
        self.known.admit(made)
        other.admit(made)
        assert [self.known.pick((), key) for key in keys] == [other.pick((), key) for key in keys]


TestComing = Coming.TestCase
TestComing.settings = examples(15, stateful_step_count=12)


def test_keys_are_the_same_everywhere_and_even():
    assert (
        hashed(b"alice") == 350909964076010920
    )  # another number would move all keys of all meshes with the next release
    counts = Counter(hashed(b"%d" % number) >> KEY_BITS - 3 for number in range(8000))
    assert set(counts) == set(range(8))
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 24.3  # chi-square, 7 degrees, 0.1 %


def test_names_and_widths():
    assert name_of(endpoints(1)[0]) == b"0 10.0.0.0 1"
    assert [typecode(65_536), typecode(65_537)] == ["H", "I"]
