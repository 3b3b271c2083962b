"""The discovery stream's client: hears transactions, has them applied, says what became of them. Run by main for ever.

1. A transaction is applied whole or not at all: `apply` builds and swaps, then the ack goes; a refusal is a nack with
   resource, field and reason, and what is held serves on.
2. What breaks the protocol ends the stream, is said, and leads to a new one after a jittered pause.
3. A goodbye opens the next stream before this one is left (make before break).
4. What is read is worked off in slices, so that a burst of lines never holds the loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Generator
from typing import TypeAlias

from sidewinder_sidecar.discovery.channel import Broken, Channel
from sidewinder_sidecar.discovery.transaction import LAGGING, Held, Lag, Refusal, Transaction
from sidewinder_sidecar.snapshot import Resource, stream

log = logging.getLogger("sidewinder.discovery")

CAPABILITIES: tuple[str, ...] = ()  # what only some sidecars can do, by name; nothing yet
PING_SECONDS = 10.0  # of silence before we ask; three missed answers end the stream after 40 s
MISSED = 3
FIRST_PAUSE = 0.1  # seconds before the second attempt to connect; doubles, with full jitter
LONGEST_PAUSE = 15.0  # a thousand sidecars come back within 15 s of a restarted operator
SLICE = 0.005  # seconds of lines before others get their turn
LONGEST_GOODBYE = 60.0  # seconds that a goodbye may ask us to wait
WANTS = 64  # names in one want

Apply: TypeAlias = Callable[[dict[str, Resource]], Awaitable[None]]


class Discovery:
    """One per process. `held` is what serves; `apply` raises Refusal for what cannot; `kept` hears what was applied."""

    def __init__(
        self,
        path: str,
        apply: Apply,
        *,
        held: Held | None = None,
        epoch: int = 0,
        build: str = "",
        kept: Callable[[Held, int], None] = lambda held, epoch: None,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self.path = path
        self.held = held or Held()
        self.epoch = epoch
        self.connected = False
        # what metrics ask for
        self.applied = 0
        self.refused = 0
        self.connections = 0
        self.refusal = ""  # the last one, until something is applied
        self._apply = apply
        self._kept = kept
        self._build = build
        self._ping_seconds = ping_seconds
        self._lag = Lag()
        # of the current stream
        self._channel: Channel | None = None
        self._transaction: Transaction | None = None
        self._successor: asyncio.Task[Channel] | None = None
        self._said = ""

    async def run(self) -> None:
        """Connect, listen, connect again; until cancelled."""
        pause = FIRST_PAUSE
        task = asyncio.current_task()
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._follow(await self._next())
                except (Broken, stream.Malformed) as fault:
                    self._say(str(fault))
                finally:
                    self._leave()
                if task is not None and task.cancelling():  # wait_for may lose a cancellation to what it waits for
                    raise asyncio.CancelledError
                if time.monotonic() - began > pause:  # it has lasted: no need to be careful
                    pause = FIRST_PAUSE
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            if self._successor is not None:
                self._successor.cancel()

    async def _next(self) -> Channel:
        if self._successor is None:
            return await Channel.open(self.path)
        try:
            return await self._successor
        finally:
            self._successor = None

    def _leave(self) -> None:
        self.connected = False
        self._transaction = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _say(self, why: str) -> None:
        if why != self._said:  # once, not at every attempt
            self._said = why
            log.warning("discovery: %s; the last good configuration serves on", why)

    async def _follow(self, channel: Channel) -> None:
        """One stream, to its end or to its successor's beginning."""
        while True:
            self._channel = channel
            await self._greet(channel)
            try:
                await self._listen(channel)
            except Broken:
                if self._successor is None:
                    raise
            self._leave()
            channel = await self._next()

    async def _greet(self, channel: Channel) -> None:
        self.epoch += 1
        hello = stream.Hello(
            capabilities=CAPABILITIES,
            build=self._build,
            epoch=self.epoch,
            has=self.held.versions,
            state=self.held.state,
        )
        await channel.send(stream.encode(stream.Greeting(hello)))
        self.connected = True
        self.connections += 1

    async def _listen(self, channel: Channel) -> None:
        missed = 0
        turn = time.monotonic()
        while True:
            try:
                line = await asyncio.wait_for(channel.read(), self._ping_seconds)
            except TimeoutError:
                if (missed := missed + 1) > MISSED:
                    raise Broken(f"silent for {MISSED + 1} × {self._ping_seconds:g} s") from None
                await channel.send(stream.encode(stream.Ping(missed)))
                continue
            missed = 0
            await self._hear(channel, stream.to_client(line))
            if time.monotonic() - turn > SLICE:
                await asyncio.sleep(0)
                turn = time.monotonic()

    async def _hear(self, channel: Channel, message: stream.ToClient) -> None:
        match message:
            case stream.Begin():
                if self._transaction is not None:
                    raise stream.Malformed(f"begin {message.begin} within transaction {self._transaction.number}")
                self._transaction = Transaction(message, self.held, self._lag)
            case stream.Set():
                self._open(message).set(message, time.monotonic())
            case stream.Drop():
                self._open(message).drop(message)
            case stream.Commit():
                transaction, self._transaction = self._open(message), None
                answer = await self._commit(transaction, message)
                await channel.send(stream.encode(answer))
                if isinstance(answer, stream.Nack) and answer.why == LAGGING:
                    raise Broken("this replica lags behind what is held; another may not")
            case stream.Ping():
                await channel.send(stream.encode(stream.Pong(message.ping)))
            case stream.Goodbye():
                self._part(channel, message)
            case stream.Pong() | stream.Retired():
                pass

    def _open(self, message: stream.ToClient) -> Transaction:
        if self._transaction is None:
            raise stream.Malformed(f"a {type(message).__name__.lower()} outside of a transaction")
        return self._transaction

    async def _commit(self, transaction: Transaction, message: stream.Commit) -> stream.Ack | stream.Nack:
        try:
            following = transaction.commit(message, await _finished(transaction.hashing()))
            if following.state != self.held.state:
                await self._apply(following.resources)
        except Refusal as fault:
            self._refuse(f"refused: {fault}")
            return stream.Nack(
                nack=transaction.number,
                state=self.held.state,
                resource=fault.resource,
                field=fault.field,
                why=fault.why,
            )
        except stream.Malformed:
            raise
        except Exception as fault:
            log.exception("a configuration could not be applied")
            self._refuse(f"refused: a bug: {fault!r}")
            return stream.Nack(nack=transaction.number, state=self.held.state, why=f"a bug of the sidecar: {fault!r}")
        self.held = following
        self.applied += 1
        self.refusal = self._said = ""
        self._kept(following, self.epoch)
        return stream.Ack(transaction.number, following.state)

    def _refuse(self, why: str) -> None:
        self.refused += 1
        self.refusal = why
        log.warning("discovery: the configuration is %s", why)

    def _part(self, channel: Channel, message: stream.Goodbye) -> None:
        if self._successor is not None:
            return
        seconds = min(max(message.after_ms, 0) / 1000, LONGEST_GOODBYE)

        async def succeed() -> Channel:
            await asyncio.sleep(random.uniform(0, seconds))
            following = await Channel.open(self.path)
            channel.close()
            return following

        self._successor = asyncio.create_task(succeed(), name="discovery-successor")

    async def want(self, names: tuple[str, ...]) -> None:
        """Ask for what is not known yet; without a stream nobody can be asked."""
        if self._channel is not None and self.connected:
            await self._channel.send(stream.encode(stream.Want(names[:WANTS])))


async def _finished(steps: Generator[None, None, str]) -> str:
    """What the steps lead to; others run in between."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: str = done.value
            return found
        await asyncio.sleep(0)
