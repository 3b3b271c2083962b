"""Bytes of answers to copies: so many a second for all of them, in turns, whoever reads them."""

from __future__ import annotations

from sidewinder_sidecar.filters.mirror import pace
from sidewinder_sidecar.filters.mirror.pace import AT_ONCE, BURST, RATE, Pace
from sidewinder_sidecar.means import Means
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import Clock

PIECE = 262_144  # what one read brings


class Reader:
    """One that always has more to read."""

    def __init__(self, made: Pace) -> None:
        self.pace = made
        self.size = 0
        self.held = False

    def go_on(self) -> None:
        self.held = False

    def read(self) -> None:
        self.size += PIECE
        self.held = not self.pace.read(PIECE, self)


def scene() -> tuple[Clock, Wheel, Pace]:
    clock = Clock()
    wheel = Wheel(clock, clock.later)
    return clock, wheel, Pace(wheel)


def test_small_answers_are_not_held_and_arm_nothing() -> None:
    clock, wheel, made = scene()
    for _ in range(10_000):
        assert made.read(1_000, Reader(made))
        clock.advance(0.001)
    assert len(wheel) == 0


def test_however_many_read_so_much_comes_a_second_and_each_has_its_turn() -> None:
    clock, wheel, made = scene()
    readers = [Reader(made) for _ in range(64)]
    for _ in range(1_000):  # ten seconds
        for one in readers:
            if not one.held:
                one.read()
        clock.advance(0.01)
    read = sum(one.size for one in readers)
    assert 9 * RATE < read < 10 * RATE + BURST + len(readers) * PIECE
    assert min(one.size for one in readers) > 4 * PIECE, "which is a whole answer"
    clock.advance(60.0)
    assert (len(wheel), any(one.held for one in readers)) == (0, False), "all go on, and then nothing waits"


def test_few_go_on_at_once() -> None:
    clock, _, made = scene()
    readers = [Reader(made) for _ in range(20)]
    made.read(int(BURST), readers[0])
    for one in readers:
        one.read()
    clock.advance(20 * PIECE / RATE + 0.02)
    assert sum(not one.held for one in readers) in (AT_ONCE, 2 * AT_ONCE)


def test_one_for_the_process() -> None:
    _, wheel, _ = scene()
    means = Means()
    assert pace.of(means, wheel) is pace.of(means, wheel)
    assert repr(pace.of(means, wheel)) == f"<Pace {BURST:.0f} bytes, 0 held>"
