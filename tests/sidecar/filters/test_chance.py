"""A share is exact over every block, and its places cannot be foreseen."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters.chance import Chance


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 2**32), st.integers(1, 8))
def test_every_block_has_exactly_its_share(numerator, denominator, seed, blocks):
    numerator = min(numerator, denominator)
    chance = Chance(numerator, denominator, Random(seed).random)
    drawn = [chance.drawn() for _ in range(blocks * denominator)]
    for start in range(0, len(drawn), denominator):
        assert sum(drawn[start : start + denominator]) == numerator


@pytest.mark.parametrize(
    ("numerator", "denominator", "count"),
    [(5, 100, 5_000), (1, 1000, 100), (0, 100, 0), (100, 100, 100_000), (333, 1000, 33_300)],
    ids=["5 %", "1 of 1000", "none", "all", "not reducible"],
)
def test_a_hundred_thousand_requests_have_it_to_the_last_one(numerator, denominator, count):
    chance = Chance(numerator, denominator, Random(7).random)
    assert sum(chance.drawn() for _ in range(100_000)) == count


def test_places_are_spread_over_the_whole_block():
    seen = set()
    for seed in range(400):
        chance = Chance(1, 10, Random(seed).random)
        seen.add([chance.drawn() for _ in range(10)].index(True))
    assert seen == set(range(10))


@pytest.mark.parametrize(("numerator", "denominator"), [(2, 1), (-1, 2), (0, 0), (1, -1)])
def test_what_is_no_share_is_refused(numerator, denominator):
    with pytest.raises(ValueError, match="is no share"):
        Chance(numerator, denominator)
