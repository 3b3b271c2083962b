"""Connections being made, over real sockets: failing with a reason, in time, cancelled, nothing left over."""

from __future__ import annotations

import asyncio
import socket

import pytest

from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.tls.keyring import Keyring
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.wheel import Wheel
from tests.sidecar.upstream.test_endpoint import endpoint
from tests.support.http1 import LIMITS, Receiver, request
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


def outside(port: int, **more: str) -> Endpoint:
    spec = EndpointSpec(uid="idp", address="127.0.0.1", port=port, **more)
    return Endpoint(spec, LIMITS, Wheel.of(asyncio.get_running_loop()), 5.0, Keyring())


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
