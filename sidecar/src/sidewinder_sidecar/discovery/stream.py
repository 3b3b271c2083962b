"""The discovery stream's client: hears transactions, has them applied, says what became of them. Run by main for ever.

1. A transaction is applied whole or not at all: `apply` builds and swaps, then the ack goes; a refusal is a nack with
   resource, field and reason, and what is held serves on.
2. What breaks the protocol ends the stream, is said, and leads to a new one after a jittered pause.
3. A goodbye opens the next stream before this one is left (make before break).
4. What is read is worked off in slices, so that a burst of lines never holds the loop.
5. `wants` asks over the stream for what the data path does not know; `release` says that nothing older than what was
   acknowledged is in use; `retired` hears that nobody sends anything new to this pod; `doubts` tells which key sets may
   be out of date, `checks` what the endpoints are like that this proxy looks after, `reports` which it leaves alone.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Generator
from typing import TypeAlias

from sidewinder_sidecar.discovery.channel import Broken, Channel, Unreached, Unwelcome
from sidewinder_sidecar.discovery.dial import Dial
from sidewinder_sidecar.discovery.doubts import Doubts
from sidewinder_sidecar.discovery.reports import Reports
from sidewinder_sidecar.discovery.transaction import Held, Lag, Refusal, Transaction
from sidewinder_sidecar.discovery.wants import Wants
from sidewinder_sidecar.snapshot import Resource, stream
from sidewinder_sidecar.upstream.health import Checks

log = logging.getLogger("sidewinder.discovery")

CAPABILITIES: tuple[str, ...] = ()  # what only some sidecars can do, by name; nothing yet
PING_SECONDS = 10.0  # of silence before we ask; three missed answers end the stream after 40 s
MISSED = 3
FIRST_PAUSE = 0.1  # seconds before the second attempt to connect; doubles, with full jitter
LONGEST_PAUSE = 15.0  # a thousand sidecars that were turned away come back within 15 s
# While nobody listens, a try is one packet. So the pause is a sixtieth of the time that this lasts: who was away for a
# minute hears of what is new within a second, and nobody knocks for hours as if it had only begun.
SHORTEST_WATCH, WATCH_SHARE = 1.0, 60.0
SLICE = 0.002  # seconds of lines before others get their turn
LONGEST_GOODBYE = 60.0  # seconds that a goodbye may ask us to wait
RENEWED_SECONDS = 1.0  # over which those who renewed at the same moment reconnect

Apply: TypeAlias = Callable[[dict[str, Resource]], Awaitable[None]]


class Discovery:
    """One per process. `held` is what serves; `apply` raises Refusal for what cannot; `kept` hears what was applied."""

    def __init__(
        self,
        dial: Dial,
        apply: Apply,
        *,
        held: Held | None = None,
        epoch: int = 0,
        build: str = "",
        kept: Callable[[Held, int], None] = lambda held, epoch: None,
        wants: Wants | None = None,
        doubts: Doubts | None = None,
        checks: Checks | None = None,
        reports: Reports | None = None,
        settled: Callable[[], bool] = lambda: True,
        retired: Callable[[], None] = lambda: None,
        trusts: Callable[[], stream.Trusts | None] = lambda: None,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self.dial = dial
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
        self._wants = wants
        self._doubts = doubts
        self._checks = checks
        self._reports = reports
        self._settled = settled  # whether nothing older than what is in force is in use
        self._retired = retired
        self._trusts = trusts
        self._build = build
        self._ping_seconds = ping_seconds
        self._lag = Lag()
        # of the current stream
        self._channel: Channel | None = None
        self._transaction: Transaction | None = None
        self._successor: asyncio.Task[Channel] | None = None
        self._acknowledged = self._released = 0
        self._said = ""
        self._vouched: stream.Trusts | None = None  # what was told of whom we trust

    async def run(self) -> None:
        """Connect, listen, connect again; until cancelled."""
        pause = FIRST_PAUSE
        lost = time.monotonic()  # when there was last an operator
        task = asyncio.current_task()
        try:
            while True:
                began: float | None = None
                longest = LONGEST_PAUSE
                try:
                    channel = await self._next()
                    began = time.monotonic()
                    await self._follow(channel)
                except (Broken, stream.Malformed) as fault:
                    self._say(str(fault))
                    if isinstance(fault, Unwelcome):
                        self.dial.on_refused(str(fault))
                    if isinstance(fault, Unreached):
                        longest = _watching(time.monotonic() - lost)
                    else:
                        lost = time.monotonic()
                finally:
                    self._leave()
                if task is not None and task.cancelling():  # wait_for may lose a cancellation to what it waits for
                    raise asyncio.CancelledError
                if began is not None and time.monotonic() - began > pause:  # it has lasted: no need to be careful
                    pause = FIRST_PAUSE
                pause = min(pause, longest)
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            if self._successor is not None:
                self._successor.cancel()

    async def _next(self) -> Channel:
        if self._successor is None:
            await self.dial.ready()
            return await Channel.open(self.dial)
        try:
            return await self._successor
        finally:
            self._successor = None

    def _leave(self) -> None:
        self.connected = False
        self._transaction = None
        self._acknowledged = self._released = 0
        if self._wants is not None:
            self._wants.disconnect()
        if self._doubts is not None:
            self._doubts.disconnect()
        if self._checks is not None:
            self._checks.disconnect()
        if self._reports is not None:
            self._reports.disconnect()
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
        self._vouched = None
        await self._vouch(channel)
        self.connected = True
        self.connections += 1
        if self._wants is not None:
            self._wants.connect(lambda keys: channel.post(stream.encode(stream.Want(keys))))
        if self._doubts is not None:
            self._doubts.connect(lambda names: channel.post(stream.encode(stream.Stale(names))))
        if self._checks is not None:
            self._checks.connect(lambda news: channel.post(stream.encode(stream.Health(news))))
        if self._reports is not None:
            self._reports.connect(lambda seen: channel.post(stream.encode(stream.Seen(seen))))

    async def _listen(self, channel: Channel) -> None:
        missed = 0
        turn = time.monotonic()
        while True:
            try:
                # wait_for loses cancellations up to Python 3.11, and makes a task for each line
                async with asyncio.timeout(self._ping_seconds):  # noqa: TID251 (not on the request path)
                    line = await channel.read()
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
                if isinstance(answer, stream.Ack):
                    self._acknowledged = answer.ack
                    self.release()
                elif answer.why == stream.LAGGING:
                    raise Broken("this replica lags behind what is held; another may not")
            case stream.Ping():
                await channel.send(stream.encode(stream.Pong(message.ping)))
                await self._vouch(channel)
            case stream.Unknown(keys, seconds):
                if self._wants is not None:
                    self._wants.on_unknown(keys, seconds)
            case stream.Retired():
                self._retired()
            case stream.Goodbye():
                self._part(channel, message.after_ms / 1000)
            case stream.Pong():
                pass

    async def _vouch(self, channel: Channel) -> None:
        """Say whom we trust, where that is news; asked as often as pings come."""
        trusts = self._trusts()
        if trusts is not None and trusts != self._vouched:
            self._vouched = trusts
            await channel.send(stream.encode(trusts))

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
        if self._wants is not None:
            self._wants.on_applied()
        if self._doubts is not None:
            self._doubts.on_applied(following.resources)
        return stream.Ack(transaction.number, following.state)

    def _refuse(self, why: str) -> None:
        self.refused += 1
        self.refusal = why
        log.warning("discovery: the configuration is %s", why)

    async def tell(self, message: stream.Drained | stream.Resigned) -> None:
        """The application ends, or the process: one last word, where somebody listens."""
        if self._channel is not None and self.connected:
            try:
                await self._channel.send(stream.encode(message))
            except Broken:
                return
            await asyncio.sleep(0)  # uvloop writes with the next turn, and a channel that is closed forgets the rest

    def reconnect(self) -> None:
        """Go on over a new connection, with the certificate of now; the old one is left when the new one is there."""
        if self._channel is not None and self.connected:
            self._part(self._channel, RENEWED_SECONDS)

    def _part(self, channel: Channel, seconds: float) -> None:
        """Open the next stream within `seconds`, then leave this one."""
        if self._successor is None:
            latest = min(max(seconds, 0.0), LONGEST_GOODBYE)
            self._successor = asyncio.create_task(self._succeed(channel, latest), name="discovery-successor")

    async def _succeed(self, channel: Channel, seconds: float) -> Channel:
        """As long as this stream lasts, a try that fails costs nothing."""
        pause = FIRST_PAUSE
        await asyncio.sleep(random.uniform(0, seconds))
        while True:
            try:
                following = await Channel.open(self.dial)
            except Broken:
                if self._channel is not channel:
                    raise
            else:
                channel.close()
                return following
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(pause * 2, LONGEST_PAUSE)

    def release(self) -> None:
        """Nothing may be in use any more that is older than what is in force: say so, once a transaction."""
        if self._channel is not None and self._acknowledged > self._released and self._settled():
            self._released = self._acknowledged
            self._channel.post(stream.encode(stream.Released(self._released)))


def _watching(seconds: float) -> float:
    """The longest pause while nobody has listened for so long."""
    return min(max(SHORTEST_WATCH, seconds / WATCH_SHARE), LONGEST_PAUSE)


async def _finished(steps: Generator[None, None, str]) -> str:
    """What the steps lead to; others run in between."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found: str = done.value
            return found
        await asyncio.sleep(0)
