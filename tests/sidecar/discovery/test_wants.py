"""Questions on their way: asked once, answered, refused, late, and asked again over the next stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from sidewinder_sidecar.discovery import wants as module
from sidewinder_sidecar.discovery.wants import Wants, is_known
from sidewinder_sidecar.fleet import Fleet
from sidewinder_sidecar.plan import prepare
from sidewinder_sidecar.snapshot import Resource
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointsSpec
from sidewinder_sidecar.wheel import Wheel
from tests.support.memory import Clock


class Site:
    """Wants with a stream that writes down what is asked, and time by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.known: set[str] = set()
        self.asked: list[tuple[str, ...]] = []
        self.done: list[str] = []
        self.wants = Wants(Wheel(self.clock, self.clock.later), lambda key: key in self.known)
        self.wants.connect(self.asked.append)

    def fetch(self, key: str) -> module.Question | None:
        return self.wants.fetch(key, lambda: self.done.append(key))


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def run(test: Callable[[Site], Awaitable[None]]) -> None:
    async def whole() -> None:
        await test(Site())

    uvloop.run(asyncio.wait_for(whole(), 10))


def test_what_comes_up_in_a_turn_is_one_line_and_each_key_is_asked_once() -> None:
    async def test(site: Site) -> None:
        for key in ("a:1", "b:2", "a:1"):
            assert site.fetch(key) is not None
        assert site.asked == []
        await turn()
        assert site.asked == [("a:1", "b:2")]
        assert site.fetch("a:1") is not None
        await turn()
        assert len(site.asked) == 1

    run(test)


def test_an_answer_comes_with_the_configuration_that_holds_it() -> None:
    async def test(site: Site) -> None:
        site.fetch("a:1"), site.fetch("a:1"), site.fetch("b:2")
        site.known.add("a:1")
        site.wants.on_applied()
        assert site.done == [], "never from inside"
        await turn()
        assert site.done == ["a:1", "a:1"]
        site.clock.advance(5)
        assert site.done == ["a:1", "a:1", "b:2"], "each once"
        assert (site.wants.answered, site.wants.late) == (1, 1)

    run(test)


def test_a_refusal_is_remembered_for_its_lifetime() -> None:
    async def test(site: Site) -> None:
        site.fetch("a:1")
        await turn()
        site.wants.on_unknown(("a:1", "never asked"), 30.0)
        await turn()
        assert site.done == ["a:1"]
        assert site.fetch("a:1") is None
        site.clock.advance(31)
        assert site.fetch("a:1") is not None
        assert site.wants.unknown == 1
        assert site.fetch("never asked") is not None

    run(test)


def test_a_lifetime_is_bounded() -> None:
    async def test(site: Site) -> None:
        for key, seconds in (("long", 1e9), ("past", -5.0)):
            site.fetch(key)
            site.wants.on_unknown((key,), seconds)
        assert site.fetch("past") is not None
        site.clock.advance(module.LONGEST_REFUSAL + 1)
        assert site.fetch("long") is not None

    run(test)


def test_who_gets_no_answer_goes_on_and_nobody_asks_again_for_a_while() -> None:
    async def test(site: Site) -> None:
        site.fetch("a:1")
        site.clock.advance(module.WAIT_SECONDS / 2)
        site.fetch("a:1")
        site.clock.advance(module.WAIT_SECONDS / 2 + 0.1)
        assert site.done == ["a:1"], "the second has half of its time left"
        assert site.fetch("a:1") is None
        site.clock.advance(module.WAIT_SECONDS / 2)
        assert site.done == ["a:1", "a:1"]
        site.clock.advance(module.HUSH_SECONDS + 1)
        assert site.fetch("a:1") is not None

    run(test)


def test_who_cancels_is_never_called_and_nobody_else_loses_by_it() -> None:
    async def test(site: Site) -> None:
        first, second = site.fetch("a:1"), site.fetch("a:1")
        third = site.fetch("b:2")
        assert first is not None
        assert third is not None
        first.cancel()
        third.cancel()
        await turn()
        assert site.asked == [("a:1",)], "nobody waits for the other any more"
        site.known.add("a:1")
        site.wants.on_applied()
        assert second is not None
        await turn()
        assert site.done == ["a:1"]
        site.clock.advance(10)
        assert site.done == ["a:1"]

    run(test)


def test_cancelling_between_the_answer_and_the_call_counts() -> None:
    async def test(site: Site) -> None:
        question = site.fetch("a:1")
        site.known.add("a:1")
        site.wants.on_applied()
        assert question is not None
        question.cancel()
        await turn()
        assert site.done == []

    run(test)


def test_without_a_stream_nobody_can_be_asked() -> None:
    async def test(site: Site) -> None:
        site.wants.disconnect()
        assert site.fetch("a:1") is None

    run(test)


def test_the_next_stream_is_asked_again_for_what_is_open() -> None:
    async def test(site: Site) -> None:
        site.fetch("a:1")
        await turn()
        site.wants.disconnect()
        site.clock.advance(0.5)
        again: list[tuple[str, ...]] = []
        site.wants.connect(again.append)
        await turn()
        assert again == [("a:1",)]
        site.wants.disconnect()
        site.clock.advance(2)
        assert site.done == ["a:1"], "its time is over, stream or not"

    run(test)


def test_everything_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_OPEN", 100)
    monkeypatch.setattr(module, "MOST_REFUSED", 50)

    async def test(site: Site) -> None:
        keys = [f"host-{number}" for number in range(101)]
        asked = [site.fetch(key) for key in keys]
        assert asked[-1] is None
        assert None not in asked[:-1]
        await turn()
        assert [len(line) for line in site.asked] == [module.AT_ONCE, 100 - module.AT_ONCE]
        site.wants.on_unknown(keys, 30.0)
        await turn()
        assert len(site.done) == 100
        assert site.fetch(keys[0]) is not None, "the oldest refusal was forgotten"
        assert site.fetch(keys[99]) is None

    run(test)


def test_a_crowd_goes_on_in_several_turns() -> None:
    async def test(site: Site) -> None:
        for _ in range(3 * module.AT_ONCE):
            site.fetch("a:1")
        site.known.add("a:1")
        site.wants.on_applied()
        await asyncio.sleep(0)
        assert len(site.done) <= module.AT_ONCE
        await asyncio.sleep(0.05)
        assert len(site.done) == 3 * module.AT_ONCE

    run(test)


def service(name: str, port: int, **more: object) -> dict[str, Resource]:
    key = f"{name}:{port}"
    return {
        f"service/{key}": ServiceSpec(name=key, namespace="shop", port=port, backend=key, **more),  # type: ignore[arg-type]
        f"backend/{key}": BackendSpec(name=key, endpoints=key),
        f"endpoints/{key}": EndpointsSpec(name=key),
    }


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("10.0.0.1:80", True),
        ("10.0.0.1:81", False),
        ("[fd00::1]:80", True),
        ("[fd00::2]:80", False),
        ("outside.shop:443", True),
        ("outside.shop:444", False),
        ("", False),
        ("nonsense", False),
        ("10.0.0.1:99999999999999999999", False),
        ("10.0.0.1:٣", False),
    ],
)
def test_whether_a_captured_connection_would_find_something(key: str, found: bool) -> None:
    resources: dict[str, Resource] = {
        "proxy/self": ProxySpec(name="a", namespace="shop"),
        "listener/outbound": ListenerSpec(
            name="outbound", direction="Outbound", address="::", port=15001, transparent=True, pass_through=True
        ),
        **service("shop/reviews", 80, addresses=("10.0.0.1", "fd00::1")),
        **service("shop/outside", 443, domains=("outside.shop",)),
    }
    clock = Clock()
    fleet = Fleet(Wheel(clock, clock.later), lambda spec, seconds: None)  # type: ignore[arg-type,return-value]
    assert is_known(asyncio.run(prepare(resources, fleet)), key) is found
