"""Names of endpoints: asked for beside the requests, remembered while nobody can be asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable

import pytest

from sidewinder_sidecar.upstream.lookup import FRESH, PATIENCE, Lookup, is_name, resolve
from tests.sidecar.upstream.test_endpoint import endpoint
from tests.support.http1 import Receiver, request
from tests.support.sockets import run, serving, until

Answer = tuple[str, ...] | socket.gaierror


class Resolver:
    """Answers what is next; nothing while there is nothing."""

    def __init__(self, *answers: Answer) -> None:
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()
        self.asked = 0
        for answer in answers:
            self.answers.put_nowait(answer)

    def __call__(self, host: str) -> Awaitable[tuple[str, ...]]:
        self.asked += 1
        return self.answer()

    async def answer(self) -> tuple[str, ...]:
        answer = await self.answers.get()
        if isinstance(answer, socket.gaierror):
            raise answer
        return answer


AWAY = socket.gaierror(socket.EAI_AGAIN, "away")


@pytest.mark.parametrize(
    ("host", "name"),
    [("example.com", True), ("localhost", True), ("127.0.0.1", False), ("::1", False), ("fe80::a", False), ("", True)],
)
def test_what_is_a_name(host: str, name: bool) -> None:
    assert is_name(host) == name


def test_an_answer_is_asked_for_once_while_it_is_fresh() -> None:
    async def main() -> None:
        resolver = Resolver(("10.0.0.1",), ("10.0.0.2",))
        one = Lookup("a.example", resolver)
        assert await asyncio.gather(*(one.addresses(100.0) for _ in range(5))) == [("10.0.0.1",)] * 5
        assert await one.addresses(100.0 + FRESH - 0.1) == ("10.0.0.1",)
        assert resolver.asked == 1
        assert await one.addresses(100.0 + FRESH) == ("10.0.0.2",)
        assert resolver.asked == 2

    asyncio.run(main())


@pytest.mark.parametrize("silent", [False, True], ids=["it-fails", "it-is-silent"])
def test_what_was_found_serves_on_while_dns_is_away(silent: bool) -> None:
    async def main() -> None:
        resolver = Resolver(("10.0.0.1",), *(() if silent else (AWAY, AWAY)))
        one = Lookup("a.example", resolver)
        await one.addresses(0.0)
        loop = asyncio.get_running_loop()
        for late in (1, 2):
            began = loop.time()
            both = await asyncio.gather(one.addresses(late * FRESH), one.addresses(late * FRESH))
            assert both == [("10.0.0.1",)] * 2
            assert loop.time() - began < PATIENCE + 5.0
        assert resolver.asked == (2 if silent else 3)
        resolver.answers.put_nowait(("10.0.0.2",))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await one.addresses(9 * FRESH) == ("10.0.0.2",)

    asyncio.run(main())


def test_who_was_never_found_is_asked_for_again_at_once() -> None:
    async def main() -> None:
        one = Lookup("a.example", Resolver(AWAY, ("10.0.0.1",)))
        with pytest.raises(socket.gaierror, match="away"):
            await one.addresses(0.0)
        assert await one.addresses(0.0) == ("10.0.0.1",)

    asyncio.run(main())


def test_a_caller_that_leaves_does_not_end_the_question() -> None:
    async def main() -> None:
        resolver = Resolver()
        one = Lookup("a.example", resolver)
        gone, there = (asyncio.ensure_future(one.addresses(0.0)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        resolver.answers.put_nowait(("10.0.0.1",))
        assert await there == ("10.0.0.1",)
        assert resolver.asked == 1
        assert repr(one) == "<Lookup a.example 10.0.0.1>"

    asyncio.run(main())


def test_the_systems_resolver() -> None:
    assert "127.0.0.1" in asyncio.run(resolve("localhost"))
    with pytest.raises(socket.gaierror):
        asyncio.run(resolve("no-such-host.invalid"))


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def test_an_address_that_fails_is_tried_last() -> None:
    async def main() -> None:
        async with serving(polite) as port:
            one = endpoint(port, "a.example")
            resolver = Resolver(("127.0.0.3", "127.0.0.1"), AWAY)
            one.lookup = Lookup("a.example", resolver)
            for _ in range(2):
                receiver = Receiver()
                one.open(request(), receiver)
                await until(lambda heard=receiver: heard.over)  # type: ignore[misc]
                assert receiver.told == ["response 200", "data", "end"]
                assert one.lookup.found == ("127.0.0.1", "127.0.0.3")
            assert not one.dials

    run(main)


def test_a_host_whose_addresses_all_fail_says_why() -> None:
    async def main() -> None:
        one = endpoint(1, "a.example")
        one.lookup = Lookup("a.example", Resolver(("127.0.0.3", "127.0.0.1")))
        receiver = Receiver()
        one.open(request(), receiver)
        await until(lambda: receiver.over)
        assert receiver.told == ["failure connect connect_refused"]

    run(main)
