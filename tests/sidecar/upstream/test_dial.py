"""Connections being made, over real sockets: failing with a reason, in time, cancelled, nothing left over. And those
over TLS that nobody waits for any more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.tls.keyring import Keyring
from sidewinder_sidecar.upstream.dial import LATE_SECONDS
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.sidecar.upstream.test_endpoint import endpoint
from tests.support.http1 import LIMITS, Receiver, request
from tests.support.memory import Clock
from tests.support.sockets import certificate, run, serving, until


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


FAILURES = {
    "refused": ("127.0.0.1", "connect_refused"),
    "no such name": ("no-such-host.invalid", "dns_error"),
    "no way": ("255.255.255.255", "connect_failed"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_connections_that_fail_say_why(case: str) -> None:
    address, error = FAILURES[case]

    async def main() -> None:
        one = endpoint(free_port(), address)
        receiver = Receiver()
        attempt = one.open(request(), receiver)
        await until(lambda: receiver.over, 15)
        assert receiver.told == [f"failure connect {error}"]
        assert receiver.failure is not None
        assert receiver.failure.detail
        assert one.active == 0
        assert not one.dials
        attempt.cancel("late")
        assert one.active == 0
        assert len(one.wheel) == 0

    run(main, 30)


def full() -> socket.socket:
    """A listener whose queue is full: connecting to it hangs."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    return sock


def test_connecting_has_a_time_limit_and_can_be_cancelled() -> None:
    async def main() -> None:
        sock = full()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
            fillers.append(filler)
        one = endpoint(sock.getsockname()[1], timeout=0.1)
        receiver, other = Receiver(), Receiver()
        one.open(request(), receiver)
        cancelled = one.open(request(), other)
        cancelled.cancel("enough")
        assert one.active == 1
        await until(lambda: receiver.over)
        assert receiver.told == ["failure connect connect_timeout"]
        await until(lambda: not one.dials)
        assert not other.told
        assert one.active == 0
        assert len(one.wheel) == 0
        for each in (sock, *fillers):
            each.close()

    run(main)


async def polite(reader, writer):
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def outside(port: int, wheel: Wheel | None = None, **more: str) -> Endpoint:
    spec = EndpointSpec(uid="idp", address="127.0.0.1", port=port, **more)
    return Endpoint(spec, LIMITS, Wheel.of(asyncio.get_running_loop()) if wheel is None else wheel, 5.0, Keyring())


@pytest.mark.parametrize(
    ("name", "told"),
    [("test", ["response 200", "data", "end"]), ("other.example", ["failure connect tls_failed"])],
    ids=["its name", "another name"],
)
def test_a_host_outside_is_known_by_its_name(tmp_path, name, told) -> None:
    server, _ = certificate(tmp_path)
    pem = (tmp_path / "test.pem").read_text()
    trusted = pem[pem.index("-----BEGIN CERTIFICATE") :]

    async def main() -> None:
        async with serving(polite, ssl=server) as port:
            one = outside(port, server_name=name, trust=trusted)
            for count in (1, 2):
                receiver = Receiver()
                one.open(request(), receiver)
                await until(lambda heard=receiver: heard.over)
                assert receiver.told == told
                assert one.active == 0
                assert [line.used for line in one.idle] == ([count] if name == "test" else [])
            one.retire()
            await until(lambda: not one.keyring.lines and not len(one.wheel))

    run(main)


def test_a_host_outside_whom_nobody_vouches_for_and_roots_that_are_none(tmp_path) -> None:
    server, _ = certificate(tmp_path)

    async def main() -> None:
        async with serving(polite, ssl=server) as port:
            for trusted in ("", "no PEM"):
                receiver = Receiver()
                one = outside(port, server_name="test", trust=trusted)
                one.open(request(), receiver)
                await until(lambda heard=receiver: heard.over)
                assert receiver.told == ["failure connect tls_failed"]
                assert not one.active
                assert sum(one.keyring.counted.values()) == 1

    run(main)


def test_what_speaks_no_tls_is_never_spoken_to_in_the_clear() -> None:
    heard = []

    async def plain(reader, writer):
        heard.append(await reader.read(5))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    async def main() -> None:
        async with serving(plain) as port:
            receiver = Receiver()
            one = outside(port, server_name="test")
            one.open(request(), receiver)
            await until(lambda: receiver.over)
            assert receiver.told == ["failure connect tls_failed"]
            assert heard[0][:2] == b"\x16\x03"

    run(main)


class Gate:
    """In front of a server: connections are taken, and nothing passes until it opens."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.taken = 0
        self.way = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        await self.way.wait()
        there, on = await asyncio.open_connection("127.0.0.1", self.to)
        try:
            await asyncio.gather(self._pass(reader, on), self._pass(there, writer))
        finally:
            on.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


@asynccontextmanager
async def gated(folder: Path, handle: Any = polite, wheel: Wheel | None = None) -> AsyncIterator[tuple[Gate, Endpoint]]:
    """A TLS server behind a gate, and the endpoint that calls it."""
    context, _ = certificate(folder)
    pem = (folder / "test.pem").read_text()
    trusted = pem[pem.index("-----BEGIN CERTIFICATE") :]
    async with serving(handle, ssl=context) as port:
        gate = Gate(port)
        async with serving(gate) as front:
            one = outside(front, wheel, server_name="test", trust=trusted)
            try:
                yield gate, one
            finally:
                gate.way.set()
                one.retire()
                await until(lambda: not one.keyring.lines and not one.dials)


def test_a_handshake_outlives_the_try_that_it_was_begun_for(tmp_path) -> None:
    async def main() -> None:
        clock = Clock()  # stands still
        async with gated(tmp_path, wheel=Wheel(clock, clock.later)) as (gate, one):
            first, second = Receiver(), Receiver()
            late = one.open(request(), first)
            await until(lambda: gate.taken)
            late.cancel("try_timeout")
            assert (one.active, one.unclaimed, len(one.dials)) == (0, 1, 1)
            again = one.open(request(), second)  # the next try waits for the same connection
            assert (one.active, one.unclaimed, len(one.dials)) == (1, 0, 1)
            again.cancel("try_timeout")
            gate.way.set()
            await until(lambda: one.idle and not one.dials)  # nobody waited for it any more: it is there all the same
            assert [(line.used, line.early) for line in one.idle] == [(0, True)]
            third = Receiver()
            one.open(request(), third)
            await until(lambda: third.over)
            assert (first.told, second.told, third.told) == ([], [], ["response 200", "data", "end"])
            assert (gate.taken, one.keyring.counted) == (1, {("client", "ok"): 1})

    run(main)


def test_a_connection_that_becomes_free_goes_to_who_waits(tmp_path) -> None:
    async def main() -> None:
        goes_on = asyncio.Event()

        async def slow(reader, writer):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await goes_on.wait()
                if head.startswith(b"PUT"):
                    assert await reader.readexactly(5) == b"hello"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        async with gated(tmp_path, slow) as (gate, one):
            gate.way.set()
            first, second, third = Receiver(), Receiver(), Receiver()
            one.open(request(), first)
            await until(lambda: one.keyring.counted)
            gate.way.clear()
            one.open(request(), second)
            waits = one.open(request(b"PUT", 5), third)
            assert not waits.send_data(b"he")
            await until(lambda: gate.taken == 3)
            goes_on.set()
            await until(lambda: second.over)  # over the first one's connection
            assert second.told == ["response 200", "data", "end"]
            assert one.unclaimed >= 1
            await until(lambda: third.writable)  # and the next one after it, with its body
            waits.send_data(b"llo")
            waits.send_end()
            await until(lambda: third.over)
            assert (one.active, one.unclaimed, len(one.idle)) == (0, 2, 1)
            assert one.keyring.counted == {("client", "ok"): 1}
            gate.way.set()
            await until(lambda: len(one.idle) == 3)

    run(main)


def test_nobody_joins_what_may_be_stuck_or_is_old(tmp_path) -> None:
    async def main() -> None:
        clock = Clock()
        async with gated(tmp_path, wheel=Wheel(clock, clock.later)) as (gate, one):
            one.open(request(), Receiver()).cancel("try_timeout")
            await until(lambda: gate.taken)
            clock.advance(LATE_SECONDS - 0.1)
            [dial] = one.dials
            assert one.free_dial() is dial
            one.identity, one.keyring.epoch = "spiffe://a/b", 7
            assert one.free_dial() is None, "our certificate was renewed meanwhile"
            one.identity = ""
            clock.advance(0.2)
            assert one.free_dial() is None
            one.open(request(), Receiver()).cancel("try_timeout")
            assert (len(one.dials), one.unclaimed) == (2, 2)
            clock.advance(5.5)  # the connect timeout ends it for good
            await until(lambda: not one.dials)
            assert one.unclaimed == 0
            assert not one.idle

    run(main)


def test_what_costs_nothing_or_is_not_wanted_any_more_is_given_up(tmp_path) -> None:
    async def main() -> None:
        async with gated(tmp_path) as (gate, one):
            one.open(request(), Receiver()).cancel("try_timeout")
            await until(lambda: gate.taken)
            one.retire()
            await until(lambda: not one.dials)
            assert one.keyring.counted == {}
        async with serving(polite) as port:
            plain = endpoint(port)
            plain.open(request(), Receiver()).cancel("try_timeout")
            assert plain.free_dial() is None
            await until(lambda: not plain.dials)
            assert not plain.idle

    run(main)
