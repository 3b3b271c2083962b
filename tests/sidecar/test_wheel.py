"""The wheel tells everybody at their time: never earlier, one turn later at most, and rests when it is empty."""

from __future__ import annotations

import logging

from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.wheel import SLOTS_PER_SECOND, Wheel
from tests.support.memory import Clock

TURN = 1 / SLOTS_PER_SECOND


class Entry:
    def __init__(self, then=None) -> None:
        self.told = []
        self.then = then

    def on_time(self, now):
        self.told.append(now)
        if self.then is not None:
            self.then(now)


def wheel():
    clock = Clock()
    return Wheel(clock, clock.later), clock


@given(st.lists(st.floats(-1, 20), max_size=20))
def test_everybody_is_told_once_in_time(delays):
    turning, clock = wheel()
    begun = clock.now
    entries = [(Entry(), delay) for delay in delays]
    for entry, delay in entries:
        turning.at(begun + delay, entry)
    clock.advance(25)
    for entry, delay in entries:
        [told] = entry.told
        assert begun + delay <= told <= begun + max(delay, 0) + 2 * TURN + 1e-6
    assert len(turning) == 0


def test_it_rests_when_nobody_waits():
    turning, clock = wheel()
    clock.advance(5)
    assert clock.armed == 0
    turning.at(clock.now + 0.1, Entry())
    assert clock.armed == 1
    clock.advance(1)
    assert clock.armed == 0


def test_who_is_discarded_is_not_told():
    turning, clock = wheel()
    entry, other = Entry(), Entry()
    slot = turning.at(clock.now + 1, entry)
    turning.at(clock.now + 1, other)
    slot.discard(entry)
    clock.advance(2)
    assert (entry.told, len(other.told)) == ([], 1)


def test_an_entry_may_discard_another_of_its_slot_and_come_again():
    turning, clock = wheel()
    entries = []
    slot = None

    def first_wins(now):
        for entry in entries:
            slot.discard(entry)

    entries.extend(Entry(first_wins) for _ in range(5))
    for entry in entries:
        slot = turning.at(clock.now + 1, entry)
    again = Entry()
    again.then = lambda now: turning.at(now + 1, again) if len(again.told) < 3 else None
    turning.at(clock.now + 1, again)
    clock.advance(10)
    assert sum(len(entry.told) for entry in entries) == 1
    assert len(again.told) == 3


def test_a_bug_of_one_entry_harms_no_other(caplog):
    turning, clock = wheel()
    entries = [Entry(), Entry(lambda now: 1 / 0), Entry()]
    for entry in entries:
        turning.at(clock.now + 1, entry)
    with caplog.at_level(logging.ERROR):
        clock.advance(2)
    assert [len(entry.told) for entry in entries] == [1, 1, 1]
    assert len(caplog.records) == 1


def test_a_loop_that_stood_still_catches_up_at_once():
    turning, clock = wheel()
    entries = [Entry() for _ in range(100)]
    for number, entry in enumerate(entries):
        turning.at(clock.now + number / 10, entry)
    clock.now += 3600
    clock.advance(0)
    assert all(len(entry.told) == 1 for entry in entries)
    assert repr(turning) == "<Wheel 0 waiting>"
