"""A bad network in user space: a TCP proxy between a sidecar and what it calls, whose faults a test sets and lifts.

Used by the chaos run (`bed`) and the live tests; calls nothing of ours. A fault holds for what is open and for what
comes; it is looked at before every piece that moves, so that it may come in the middle of an answer:

* `delay`: every piece of an answer is late; `rate`: no more bytes of it a second;
* `lose_after`, `end_after`, `reset_after`: of an answer so many bytes pass; the rest is swallowed, or the connection is
  ended there as if that were all, or broken off;
* `garbage`: that is the answer, whatever was asked;
* `swallow`: a black hole: everything is taken and nothing arrives; `deaf`: nothing is even read.

`refuse` and `accept` close and open the door itself; `strand` makes half-open connections of all that are there: their
other end has gone, and nobody has told; `reset` breaks them off. Methods may be called from any thread.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import struct
from collections.abc import Callable

PIECE = 65536
BACKLOG = 1024  # a proxy opens many connections at once


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the way; by default nothing."""

    delay: float = 0.0
    rate: int = 0  # bytes a second; 0: any
    lose_after: int | None = None
    end_after: int | None = None
    reset_after: int | None = None
    garbage: bytes = b""
    swallow: bool = False
    deaf: bool = False

    @property
    def room(self) -> int | None:
        """The bytes of an answer that pass; None: all."""
        rooms = [one for one in (self.lose_after, self.end_after, self.reset_after) if one is not None]
        return min(rooms) if rooms else None


NONE = Fault()
BLACK_HOLE = Fault(swallow=True)


class Passage:
    """One connection through: the caller's, and ours to the target."""

    def __init__(self, way: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._way = way
        self._reader, self._writer = reader, writer
        self._to: asyncio.StreamWriter | None = None
        self.answered = 0  # bytes that the caller was sent
        self.stranded = False

    async def run(self) -> None:
        """Carry until both ends have ended or one is broken."""
        try:
            back, self._to = await self._way.dial()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._asking(self._to))
                both.create_task(self._answering(back))
        except* (ConnectionError, TimeoutError, OSError):
            self.reset()
        finally:
            for writer in (self._writer, self._to):
                if writer is not None:
                    writer.close()

    async def _asking(self, to: asyncio.StreamWriter) -> None:
        """From the caller on."""
        while True:
            await self._way.until(lambda fault: not fault.deaf)
            data = await self._reader.read(PIECE)
            fault = self._way.fault
            if fault.garbage and data:
                self._writer.write(fault.garbage)
                self._writer.close()
                to.close()
                return
            if self.stranded or fault.swallow:
                if not data:
                    return
                continue
            if not data:
                if to.can_write_eof():
                    to.write_eof()
                return
            to.write(data)
            await to.drain()

    async def _answering(self, back: asyncio.StreamReader) -> None:
        """Back to the caller."""
        while data := await back.read(PIECE):
            fault = self._way.fault
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if self.stranded or fault.swallow:
                continue
            if not await self._pass(data, fault):
                return
        if not (self.stranded or self._way.fault.swallow):
            self._writer.close()
            if self._to is not None:
                self._to.close()

    async def _pass(self, data: bytes, fault: Fault) -> bool:
        """Whether the answer goes on."""
        room = fault.room
        part = data if room is None else data[: max(0, room - self.answered)]
        step = max(1, fault.rate // 20) if fault.rate else len(part)
        for start in range(0, len(part), step or 1):
            self._writer.write(part[start : start + step])
            await self._writer.drain()
            if fault.rate:
                await asyncio.sleep(0.05)  # twenty pieces a second, as `step` has it
        self.answered += len(part)
        if len(part) == len(data):
            return True
        if fault.reset_after is not None:
            self.reset()
        elif fault.end_after is not None:
            self._writer.close()
        return fault.lose_after is not None

    def reset(self) -> None:
        """Break both sides off."""
        for writer in (self._writer, self._to):
            if writer is not None:
                _reset(writer)


class FaultProxy:
    """The way to a host and port, or to the socket at a path, then in at `path`, else at `port`. `open` and `close`
    belong to the loop, all else to anybody."""

    def __init__(self, host: str, port: int = 0, path: str = "") -> None:
        self._target = (host, port)
        self.path = path
        self.port = 0
        self.fault = NONE
        self.taken = 0  # connections, since it was opened
        self._passages: dict[Passage, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Take connections; on the port that it had, if it had one."""
        self._loop = asyncio.get_running_loop()
        if self.path:
            self._server = await asyncio.start_unix_server(self._meet, self.path, backlog=BACKLOG)
        else:
            self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port, backlog=BACKLOG)
            self.port = self._server.sockets[0].getsockname()[1]

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the target."""
        host, port = self._target
        return await (asyncio.open_connection(host, port) if port else asyncio.open_unix_connection(host))

    async def close(self) -> None:
        """End all of it."""
        self._shut()
        tasks = list(self._passages.values())
        for passage, task in self._passages.items():
            passage.reset()  # who reads nothing would never let it close
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def set(self, fault: Fault) -> None:
        """From now on, for what is open as well."""
        self._do(lambda: self._set(fault))

    def heal(self) -> None:
        """Nothing is wrong any more; what was stranded stays lost."""
        self.set(NONE)

    def refuse(self, break_off: bool = True) -> None:
        """Nobody listens any more."""
        self._do(self._shut)
        if break_off:
            self.reset()

    def accept(self) -> None:
        """Somebody listens again; returns when that is so."""
        assert self._loop is not None
        if self._server is None:
            asyncio.run_coroutine_threadsafe(self.open(), self._loop).result(5)

    def strand(self) -> None:
        """What is open is open on one side only."""
        self._do(lambda: [setattr(one, "stranded", True) for one in self._passages])

    def reset(self) -> None:
        """What is open is broken off."""
        self._do(lambda: [one.reset() for one in self._passages])

    async def until(self, holds: Callable[[Fault], bool]) -> None:
        """Returns once the fault is such."""
        while not holds(self.fault):
            await self._changed.wait()

    def _do(self, act: Callable[[], object]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(act)

    def _set(self, fault: Fault) -> None:
        self.fault = fault
        self._changed.set()
        self._changed = asyncio.Event()

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        passage = Passage(self, reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._passages[passage] = task
        try:
            await passage.run()
        except asyncio.CancelledError:
            pass  # by `close`; before Python 3.12, asyncio complains of a connection's task that was cancelled
        finally:
            del self._passages[passage]


def _reset(writer: asyncio.StreamWriter) -> None:
    """A reset, not an end: the socket forgets what was to be sent."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None and found.family != socket.AF_UNIX and not writer.transport.is_closing():
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
