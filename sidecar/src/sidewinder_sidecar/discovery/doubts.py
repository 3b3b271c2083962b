"""Key sets that may be out of date: told to the operator, while the request that came with the key id waits, bounded.

`ask` is what the provider JWT calls (`means.Means.unknown_key`); `stream` carries the word and says when another
configuration is in force. Callers who make key ids up must not reach the issuer by this: one word a key set and ten
seconds, and the operator has a bound of its own; whoever comes between is answered at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sidewinder_sidecar.snapshot.authentication import KeysSpec

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot import Resource
    from sidewinder_sidecar.wheel import Slot, Wheel

WAIT_SECONDS = 2.0  # that a request waits: an issuer's answer takes half of one, and its way through the mesh 50 ms
HUSH_SECONDS = 10.0  # from one word about a key set to the next
MOST_WAITING = 1024  # requests at a time, of all key sets
AT_ONCE = 16  # requests that go on in a turn of the loop: each verifies a signature, 50 µs


class Doubt:
    """One request that waits. `cancel` ends it; after that `done` is never called."""

    __slots__ = ("_done", "_doubts", "name", "slot")

    def __init__(self, doubts: Doubts, name: str, done: Callable[[KeysSpec | None], None]) -> None:
        self._doubts = doubts
        self._done: Callable[[KeysSpec | None], None] | None = done
        self.name = name
        self.slot: Slot | None = None

    def cancel(self) -> None:
        """The request does not wait any more."""
        self._done = None
        self._doubts.leave(self)

    def on_time(self, now: float) -> None:
        """There is nothing new."""
        self._doubts.late += 1
        self._doubts.leave(self)
        self.tell(None)

    def tell(self, keys: KeysSpec | None) -> None:
        """The request goes on."""
        done, self._done = self._done, None
        if done is not None:
            done(keys)


class Doubts:
    """All of a process."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._post: Callable[[tuple[str, ...]], object] | None = None  # while there is a stream
        self._resources: Mapping[str, Resource] = {}  # in force; 40 000 of them are not gone through for a few keys
        self._waiting: dict[str, dict[Doubt, None]] = {}
        self._said: dict[str, float] = {}  # name → when
        self._count = 0
        # what metrics ask for
        self.asked = 0
        self.answered = 0
        self.late = 0

    def ask(self, keys: KeysSpec, done: Callable[[KeysSpec | None], None]) -> Doubt | None:
        """`keys` lack a key. None: nobody can be asked now. Else `done` is called once, later, never from inside: with
        other keys than these, or with None when nothing came."""
        newest = self._held(self._resources, keys.name)
        if newest is not None and newest != keys:  # the request began before they came
            doubt = Doubt(self, keys.name, done)
            asyncio.get_running_loop().call_soon(doubt.tell, newest)
            return doubt
        now = self._wheel.clock()
        since = now - self._said.get(keys.name, -HUSH_SECONDS)
        if self._post is None or self._count >= MOST_WAITING or WAIT_SECONDS <= since < HUSH_SECONDS:
            return None
        if since >= HUSH_SECONDS:
            self._say(keys.name, now)
        doubt = Doubt(self, keys.name, done)
        self._waiting.setdefault(keys.name, {})[doubt] = None
        self._count += 1
        doubt.slot = self._wheel.at(now + WAIT_SECONDS, doubt)
        return doubt

    def leave(self, doubt: Doubt) -> None:
        """It does not wait any more."""
        if doubt.slot is not None:
            doubt.slot.discard(doubt)
        waiting = self._waiting.get(doubt.name)
        if waiting is not None and doubt in waiting:
            del waiting[doubt]
            self._count -= 1
            if not waiting:
                del self._waiting[doubt.name]

    # ── the stream ────────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self, post: Callable[[tuple[str, ...]], object]) -> None:
        """A stream has begun. What was said over another one may be lost."""
        self._post = post
        self._said.clear()
        for name in self._waiting:
            self._say(name, self._wheel.clock())

    def disconnect(self) -> None:
        """It has ended; who waits goes on waiting, as long as before."""
        self._post = None

    def on_applied(self, resources: Mapping[str, Resource]) -> None:
        """This is in force now."""
        before, self._resources = self._resources, resources
        for name in [*self._waiting]:
            newest = self._held(resources, name)
            if newest is not None and newest != self._held(before, name):
                waiting = self._waiting.pop(name)
                self._count -= len(waiting)
                self.answered += len(waiting)
                self._release([*waiting], newest)
        self._said = {name: when for name, when in self._said.items() if self._held(resources, name) is not None}

    @staticmethod
    def _held(resources: Mapping[str, Resource], name: str) -> KeysSpec | None:
        body = resources.get(f"keys/{name}")
        return body if isinstance(body, KeysSpec) else None

    def _say(self, name: str, now: float) -> None:
        self._said[name] = now
        self.asked += 1
        if self._post is not None:
            self._post((f"keys/{name}",))

    def _release(self, doubts: list[Doubt], keys: KeysSpec) -> None:
        """A part in each turn of the loop."""
        loop = asyncio.get_running_loop()
        for doubt in doubts:
            if doubt.slot is not None:
                doubt.slot.discard(doubt)
                doubt.slot = None
        for doubt in doubts[:AT_ONCE]:
            loop.call_soon(doubt.tell, keys)
        if len(doubts) > AT_ONCE:
            loop.call_later(0, self._release, doubts[AT_ONCE:], keys)

    def __repr__(self) -> str:
        return f"<Doubts {self._count} waiting, {self.asked} asked>"
