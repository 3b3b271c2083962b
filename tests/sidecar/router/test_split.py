"""Shares are exact in the long run, never further off than the binomial law allows, and do not fall in step."""

from __future__ import annotations

from collections import Counter
from math import exp, lgamma, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.router.route import Share
from sidewinder_sidecar.router.split import LARGEST_DECK, Split
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointsSpec
from sidewinder_sidecar.upstream.backend import Backend

WEIGHTS = [(90, 10), (50, 50), (99, 1), (999, 1), (1, 1, 1), (70, 20, 7, 3), (1_000_000, 333_333, 1)]


def share(name, weight):
    sources = BackendSpec(name=name, endpoints=name), EndpointsSpec(name=name)
    return Share(Backend(name, sources, 0.0), weight)


def shares(*weights):
    return [share(f"v{number}", weight) for number, weight in enumerate(weights)]


def bounds(requests, part, p=1e-6):
    """The lowest and highest count that a binomial draw reaches with probability p/2 on each side."""
    if part <= 0 or part >= 1:
        return requests * part, requests * part

    def chance(count):
        ways = lgamma(requests + 1) - lgamma(count + 1) - lgamma(requests - count + 1)
        return exp(ways + count * log(part) + (requests - count) * log(1 - part))

    low, seen = 0, 0.0
    while (seen := seen + chance(low)) < p / 2:
        low += 1
    high, seen = requests, 0.0
    while (seen := seen + chance(high)) < p / 2:
        high -= 1
    return low, high


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("requests", [10, 100, 1000])
def test_any_stretch_stays_within_the_binomial_law(weights, requests):
    made = shares(*weights)
    split = Split(made)
    limits = [bounds(requests, weight / sum(weights)) for weight in weights]
    for _ in range(30):
        counts = Counter(split.draw() for _ in range(requests))
        for one, (low, high) in zip(made, limits, strict=True):
            assert low <= counts[one] <= high


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_long_run_is_exact(weights):
    made = shares(*weights)
    split = Split(made)
    counts = Counter(split.draw() for _ in range(100_000))
    for one, weight in zip(made, weights, strict=True):
        assert abs(counts[one] - 100_000 * weight / sum(weights)) <= LARGEST_DECK


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any))
def test_every_deck_of_small_weights_is_exact(weights):
    made = shares(*weights)
    split = Split(made)
    total = sum(weights)
    if total <= LARGEST_DECK:
        for _ in range(3):
            counts = Counter(split.draw() for _ in range(total))
            assert [counts[one] for one in made] == weights


def test_no_bursts():
    """Of 90 and 10 the smaller share comes twice in a row at most: the end of one deck and the start of the next."""
    made = shares(90, 10)
    split = Split(made)
    drawn = [split.draw() is made[1] for _ in range(10_000)]
    assert not any(all(drawn[at : at + 3]) for at in range(10_000 - 2))
    gaps = [
        after - before
        for before, after in zip(*[[n for n, hit in enumerate(drawn) if hit][k:] for k in (0, 1)], strict=False)
    ]
    assert max(gaps) <= 19


@pytest.mark.parametrize("period", [2, 5, 10, 89])
def test_requests_in_a_rhythm_see_the_same_shares(period):
    """Every tenth request is a checkout: it must not always meet the new version."""
    made = shares(90, 10)
    split = Split(made)
    drawn = [split.draw() is made[1] for _ in range(period * 2000)]
    low, high = bounds(2000, 0.1)
    assert low <= sum(drawn[::period]) <= high


def test_proxies_do_not_march_in_step():
    def first(_):
        made = shares(50, 50)
        split = Split(made)
        return tuple(split.draw() is made[0] for _ in range(20))

    assert len({first(n) for n in range(50)}) > 40


def test_weight_zero_never_and_nobody_at_all():
    made = shares(0, 1, 0)
    split = Split(made)
    assert all(split.draw() is made[1] for _ in range(1000))
    assert Split(shares(0, 0)).draw() is None
    assert Split([]).draw() is None


def test_an_invalid_share_is_drawn_like_any_other():
    invalid = Share(None, 1, invalid="no such Service")
    split = Split([share("v1", 3), invalid])
    assert Counter(split.draw() is invalid for _ in range(400))[True] == 100
    assert repr(split) == "<Split v1=0.75 invalid=0.25>"
