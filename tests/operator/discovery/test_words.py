"""What was said of endpoints holds for a moment after its stream has ended. Timers are driven by hand."""

from __future__ import annotations

from collections.abc import Callable

from sidewinder_operator.discovery.words import WORD_SECONDS, Words
from sidewinder_sidecar.discovery.stream import LONGEST_PAUSE


class Timers:
    """What is to come later."""

    def __init__(self) -> None:
        self.waiting: list[Timer] = []

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        assert seconds == WORD_SECONDS
        self.waiting.append(timer := Timer(self, call))
        return timer

    def ring(self) -> None:
        for timer in [*self.waiting]:
            self.waiting.remove(timer)
            timer.call()


class Timer:
    def __init__(self, timers: Timers, call: Callable[[], None]) -> None:
        self.timers = timers
        self.call = call

    def cancel(self) -> None:
        if self in self.timers.waiting:
            self.timers.waiting.remove(self)


def words() -> tuple[Words, Timers, list[int]]:
    timers, told = Timers(), list[int]()
    return Words(lambda: told.append(1), timers.later), timers, told


def test_a_word_holds_until_its_time_is_over() -> None:
    said, timers, told = words()
    said.hold("a", {"x": False})
    assert (said.held(), told) == ({"a": {"x": False}}, [])
    timers.ring()
    assert (said.held(), told) == ({}, [1])


def test_who_is_here_again_speaks_for_himself() -> None:
    said, timers, told = words()
    said.hold("a", {"x": False})
    assert said.drop("a") == {"x": False}
    assert (said.drop("a"), said.held(), timers.waiting) == ({}, {}, [])
    said.hold("a", {"x": True})
    said.hold("a", {"x": False})
    assert (len(timers.waiting), said.held()["a"]) == (1, {"x": False})
    assert told == []


def test_who_said_nothing_costs_nothing() -> None:
    said, timers, _ = words()
    said.hold("a", {})
    assert (said.held(), timers.waiting) == ({}, [])


def test_who_is_no_more_is_not_remembered() -> None:
    said, timers, told = words()
    said.hold("a", {"x": False})
    said.hold("b", {"x": True})
    said.keep({"b": None})
    assert (list(said.held()), len(timers.waiting), told) == (["b"], 1, [])
    assert repr(said) == "<Words of 1>"


def test_a_proxy_is_back_in_time() -> None:
    assert WORD_SECONDS >= 1.5 * LONGEST_PAUSE, "its pause, a handshake, and its turn to be listened to"
