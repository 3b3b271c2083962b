"""Key sets that may be out of date: said once, waited for a little, and never asked of an issuer by whoever likes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import uvloop

from sidewinder_sidecar.discovery import doubts as module
from sidewinder_sidecar.discovery.doubts import HUSH_SECONDS, MOST_WAITING, WAIT_SECONDS, Doubts
from sidewinder_sidecar.snapshot.authentication import KeysSpec
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import Clock

OLD = KeysSpec(name="idp", jwks="old")
NEW = KeysSpec(name="idp", jwks="new")


class Site:
    """Doubts with a stream that writes down what is said, and time by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.said: list[tuple[str, ...]] = []
        self.told: list[KeysSpec | None] = []
        self.doubts = Doubts(Wheel(self.clock, self.clock.later))
        self.doubts.connect(self.said.append)
        self.apply(OLD)

    def apply(self, *keys: KeysSpec) -> None:
        self.doubts.on_applied({f"keys/{each.name}": each for each in keys})

    def ask(self, keys: KeysSpec = OLD) -> module.Doubt | None:
        return self.doubts.ask(keys, self.told.append)


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def run(test: Callable[[Site], Awaitable[None]]) -> None:
    async def whole() -> None:
        await test(Site())

    uvloop.run(asyncio.wait_for(whole(), 10))


class Large(dict[str, KeysSpec]):
    """A configuration with much else in it."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("it takes 9 ms to go through 40 000 resources")

    values = items = keys = __iter__  # type: ignore[assignment]


def test_what_is_in_force_is_asked_and_not_gone_through() -> None:
    async def test(site: Site) -> None:
        site.ask()
        site.doubts.on_applied(Large({"keys/idp": NEW}))
        await turn()
        assert site.told == [NEW]

    run(test)


def test_it_is_said_once_and_all_go_on_with_the_new_keys() -> None:
    async def test(site: Site) -> None:
        for _ in range(40):
            assert site.ask() is not None
        assert site.said == [("keys/idp",)]
        assert site.told == []
        site.apply(NEW)
        assert site.told == []  # never from inside
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert site.told == [NEW] * 40
        assert repr(site.doubts) == "<Doubts 0 waiting, 1 asked>"
        assert (site.doubts.answered, site.doubts.late) == (40, 0)

    run(test)


def test_who_waits_in_vain_is_told_in_time() -> None:
    async def test(site: Site) -> None:
        site.ask()
        site.clock.advance(WAIT_SECONDS + 0.1)
        assert site.told == [None]
        assert repr(site.doubts) == "<Doubts 0 waiting, 1 asked>"

    run(test)


def test_the_operator_hears_of_a_key_set_every_ten_seconds_at_most() -> None:
    async def test(site: Site) -> None:
        seconds = 0.0
        while seconds < 60:
            site.ask()
            site.clock.advance(0.5)
            seconds += 0.5
        assert len(site.said) == 60 / HUSH_SECONDS

    run(test)


def test_who_comes_between_is_answered_at_once() -> None:
    async def test(site: Site) -> None:
        site.ask()
        site.clock.advance(WAIT_SECONDS - 0.5)
        assert site.ask() is not None  # those before still wait
        site.clock.advance(1.0)
        assert site.ask() is None
        site.clock.advance(HUSH_SECONDS)
        assert site.ask() is not None

    run(test)


def test_another_change_does_not_release_anybody() -> None:
    async def test(site: Site) -> None:
        site.ask()
        site.apply(OLD, KeysSpec(name="other", jwks="new"))
        site.apply(OLD)
        await turn()
        assert site.told == []

    run(test)


def test_a_request_older_than_the_keys_goes_on_with_them_and_says_nothing() -> None:
    async def test(site: Site) -> None:
        site.apply(NEW)
        assert site.ask(OLD) is not None
        assert site.told == []
        await turn()
        assert site.told == [NEW]
        assert site.said == []

    run(test)


def test_who_leaves_hears_nothing() -> None:
    async def test(site: Site) -> None:
        leaving, staying = site.ask(), site.ask()
        assert leaving is not None
        assert staying is not None
        leaving.cancel()
        site.apply(NEW)
        staying.cancel()  # after it was released and before its turn
        await turn()
        assert site.told == []

    run(test)


def test_without_a_stream_nobody_waits() -> None:
    async def test(site: Site) -> None:
        site.doubts.disconnect()
        assert site.ask() is None

    run(test)


def test_over_the_next_stream_it_is_said_again_for_who_waits() -> None:
    async def test(site: Site) -> None:
        site.ask()
        site.doubts.disconnect()
        site.doubts.connect(site.said.append)
        assert site.said == [("keys/idp",), ("keys/idp",)]
        site.apply(NEW)
        await turn()
        assert site.told == [NEW]

    run(test)


def test_those_who_wait_are_bounded() -> None:
    async def test(site: Site) -> None:
        for _ in range(MOST_WAITING):
            assert site.ask() is not None
        assert site.ask() is None
        site.clock.advance(WAIT_SECONDS + 0.1)
        assert len(site.told) == MOST_WAITING

    run(test)
