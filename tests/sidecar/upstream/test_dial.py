"""Connections being made, over real sockets: failing with a reason, in time, cancelled, nothing left over."""

from __future__ import annotations

import socket

import pytest

from tests.sidecar.upstream.test_endpoint import endpoint
from tests.support.http1 import Receiver, request
from tests.support.sockets import run, until


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
