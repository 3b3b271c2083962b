"""The transport's rules, over real sockets on uvloop, plain and TLS: stalled, half-closed, reset, closed twice."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.wheel import Wheel
from sidewinder_sidecar.wire import BURST, CLOSING, LOST, OPEN, Wire
from tests.support.http1 import Proxy
from tests.support.sockets import certificate, run, until
from tests.support.transport import connect

LIMITS = Limits(linger_seconds=0.2)
RESET = struct.pack("ii", 1, 0)


class Ours(Wire):
    """Writes down what happens."""

    __slots__ = ("eof", "errors", "heard", "lost", "opened", "paused", "writable")

    def __init__(self, wheel: Wheel, limits: Limits = LIMITS) -> None:
        super().__init__(wheel, limits)
        self.heard = b""
        self.eof = self.opened = self.lost = self.writable = 0
        self.errors: list[Exception | None] = []

    def on_open(self) -> None:
        self.opened += 1

    def on_lost(self, error: Exception | None) -> None:
        self.lost += 1
        self.errors.append(error)

    def on_writable(self) -> None:
        self.writable += 1

    def data_received(self, data: bytes) -> None:
        if self.wired == OPEN:
            self.heard += data

    def eof_received(self) -> bool:
        self.eof += 1
        return self.wired == OPEN and not self.secure


class Pair:
    """Our end, and a peer's blocking socket."""

    def __init__(self, ours: Ours, peer: socket.socket) -> None:
        self.ours = ours
        self.peer = peer

    async def read(self, size: int = 65536) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(None, self._read, size)

    def _read(self, size: int) -> bytes:
        try:
            return self.peer.recv(size)
        except ConnectionResetError:
            return b"RST"
        except ssl.SSLEOFError:
            return b"RST"  # an end of TCP without one of TLS: cut, and seen to be

    async def read_all(self) -> bytes:
        found = b""
        while piece := await self.read(1 << 20):
            if piece == b"RST":
                return found + piece
            found += piece
        return found


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"))


Case = Callable[[Pair], Coroutine[Any, Any, None]]


@pytest.fixture(params=["tcp", "tls"])
def scene(request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Any:
    secure = request.param == "tls"

    def play(case: Case) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            wheel = Wheel.of(loop)
            made: list[Ours] = []

            def accept() -> Ours:
                made.append(Ours(wheel))
                return made[-1]

            more = {"ssl": contexts[0], "ssl_handshake_timeout": 5, "ssl_shutdown_timeout": 1} if secure else {}
            server = await loop.create_server(accept, "127.0.0.1", 0, **more)
            port = server.sockets[0].getsockname()[1]

            def dial() -> socket.socket:
                plain = socket.create_connection(("127.0.0.1", port), timeout=5)
                if not secure:
                    return plain
                return contexts[1].wrap_socket(plain, server_hostname="test", suppress_ragged_eofs=False)

            peer = await loop.run_in_executor(None, dial)
            try:
                await until(lambda: made and made[0].opened)
                await case(Pair(made[0], peer))
                await until(lambda: made[0].lost == 1)
                assert made[0].wired == LOST
                assert not made[0].room
                await until(lambda: len(wheel) == 0)
            finally:
                peer.close()
                server.close()

        run(main)

    play.secure = secure  # type: ignore[attr-defined]
    return play


def test_write_and_close(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.ours.write(b"hello ")
        pair.ours.write_all((b"wor", b"ld"))
        pair.ours.write_all((b"x" * 20000, b"y" * 20000))
        pair.ours.close()
        assert pair.ours.wired == CLOSING
        assert await pair.read_all() == b"hello world" + b"x" * 20000 + b"y" * 20000

    scene(case)


def test_write_after_the_loss_is_nothing(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.peer.close()
        await until(lambda: pair.ours.eof or pair.ours.lost)
        pair.ours.abort()
        await until(lambda: pair.ours.lost)
        for _ in range(3):
            pair.ours.write(b"x" * 100000)
            pair.ours.write_all((b"x", b"y"))
            pair.ours.say_eof()
        assert not pair.ours.room

    scene(case)


def test_write_between_reset_and_its_news(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        pair.peer.close()
        for _ in range(50):
            pair.ours.write(b"x" * 1000)
            await asyncio.sleep(0)
        await until(lambda: pair.ours.lost)

    scene(case)


@pytest.mark.parametrize("end", ["close", "abort", "finish", "break_off"])
def test_ended_twice_is_ended_once(scene: Any, end: str) -> None:
    async def case(pair: Pair) -> None:
        pair.ours.write(b"x")
        for name in (end, "close", "finish", "abort", end, "break_off"):
            getattr(pair.ours, name)()
        await until(lambda: pair.ours.lost)
        for name in (end, "close", "finish", "abort", "break_off"):
            getattr(pair.ours, name)()

    scene(case)


def test_a_close_does_not_wait_for_ever_for_a_peer_that_does_not_read(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        for _ in range(64):
            pair.ours.write(b"x" * 262144)
        assert not pair.ours.room
        pair.ours.close()
        started = asyncio.get_running_loop().time()
        await until(lambda: pair.ours.lost)
        assert 0.19 < asyncio.get_running_loop().time() - started < 2

    scene(case)


def test_room_comes_back_when_the_peer_reads(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        sent = 0
        while pair.ours.room:
            pair.ours.write(b"x" * 65536)
            sent += 65536
            assert sent < 1 << 26
            if sent % BURST == 0:
                await asyncio.sleep(0)
        assert pair.ours.writable <= sent // BURST
        before = pair.ours.writable
        read = 0
        while read < sent:
            read += len(await pair.read(1 << 20))
        await until(lambda: pair.ours.writable > before)
        assert pair.ours.room
        pair.ours.close()
        await pair.read_all()

    scene(case)


def test_a_peer_that_half_closes_still_hears_us_on_tcp(scene: Any) -> None:
    """Over TLS its end is the end of both ways: uvloop answers it and closes."""

    async def case(pair: Pair) -> None:
        pair.peer.sendall(b"question")
        await until(lambda: pair.ours.heard == b"question")
        pair.peer.shutdown(socket.SHUT_WR)
        await until(lambda: pair.ours.eof or pair.ours.lost)
        if scene.secure:
            await until(lambda: pair.ours.lost)
        pair.ours.write(b"answer")
        pair.ours.close()
        if not scene.secure:
            assert await pair.read_all() == b"answer"

    scene(case)


def test_our_half_close(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.ours.write(b"last")
        pair.ours.say_eof()
        pair.ours.say_eof()
        pair.ours.write(b"no more")
        assert await pair.read_all() == b"last"
        if not scene.secure:
            assert pair.ours.wired == OPEN
            pair.peer.sendall(b"still")
            await until(lambda: pair.ours.heard == b"still")
            pair.peer.shutdown(socket.SHUT_WR)
            await until(lambda: pair.ours.eof)
            pair.ours.close()

    scene(case)


def test_finish_lets_the_peer_read_what_was_said(scene: Any) -> None:
    """A peer in the middle of sending must get the answer, not a reset."""

    async def case(pair: Pair) -> None:
        if not scene.secure:
            pair.peer.sendall(b"x" * 300000)
        pair.ours.write(b"refused")
        pair.ours.finish()
        if not scene.secure:
            pair.peer.sendall(b"x" * 300000)
        assert await pair.read_all() == b"refused"
        pair.peer.close()

    scene(case)


def test_finish_ends_though_the_peer_does_not(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.ours.finish()
        await until(lambda: pair.ours.lost, 3)

    scene(case)


def test_break_off_is_seen_as_no_end(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.ours.write(b"part")
        assert await pair.read() == b"part"
        pair.ours.break_off()
        assert await pair.read() == b"RST"

    scene(case)


def test_a_reset_is_heard(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        pair.peer.close()
        await until(lambda: pair.ours.lost)
        if not scene.secure:
            assert isinstance(pair.ours.errors[0], ConnectionResetError)

    scene(case)


def test_paused_reading_holds(scene: Any) -> None:
    async def case(pair: Pair) -> None:
        pair.ours.transport.pause_reading()
        pair.peer.sendall(b"x" * 1000)
        await asyncio.sleep(0.05)
        assert pair.ours.heard == b""
        pair.ours.transport.resume_reading()
        await until(lambda: len(pair.ours.heard) == 1000)
        pair.ours.close()
        pair.peer.close()

    scene(case)


def test_one_time_at_a_time() -> None:
    class Due(Ours):
        __slots__ = ("due",)

        def on_due(self, now: float) -> None:
            self.due.append(now)

    proxy = Proxy()
    due = Due(proxy.wheel)
    due.due = []
    transport = connect(due)
    due.wake(proxy.clock() + 5)
    due.wake(proxy.clock() + 1)
    proxy.clock.advance(10)
    assert len(due.due) == 1
    due.wake(proxy.clock() + 1)
    due.sleep()
    due.sleep()
    proxy.clock.advance(10)
    assert len(due.due) == 1
    due.wake(proxy.clock() + 1)
    transport.lose()
    proxy.clock.advance(10)
    assert len(due.due) == 1
    assert repr(due) == "<Due lost full>"
