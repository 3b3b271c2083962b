"""Whose turn it is, among those who have connected and not yet said what they want. Asked by `mesh_port`.

A connection costs a handshake and its buffers before anything is known of who is there. So few are served at once; of
one address only a part of these; and who waits is called address by address, so that a crowd from one pod takes
nothing from the others. Those who wait cost a descriptor each, and are bounded too.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

MOST = 256  # served at once, 50 KB each; a replica does 500 handshakes a second
MOST_OF_ONE = 64  # an address may be a node with all its pods behind it
MOST_WAITING = 4096
MOST_WAITING_OF_ONE = 2048


class Crowded(Exception):
    """Too many wait already: this one is sent away."""


class Strangers:
    """`enter` and `leave` for each connection."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._inside: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the address whose turn is next comes first

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<Strangers {self._inside.total()} inside, {waiting} waiting>"

    async def enter(self, address: str) -> None:
        """Waits for a turn. Raises Crowded."""
        if not self._waiting and self._has_room(address):
            self._inside[address] += 1
            return
        mine = self._waiting.get(address, ())
        if len(mine) >= MOST_WAITING_OF_ONE or sum(map(len, self._waiting.values())) >= MOST_WAITING:
            raise Crowded
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(address, deque()).append(turn)
        self._call()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was called, and does not come
                self.leave(address)
            raise

    def leave(self, address: str) -> None:
        """It has said what it wants, or it is gone."""
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]
        self._call()

    def _has_room(self, address: str) -> bool:
        return self._inside.total() < self._most and self._inside[address] < self._most_of_one

    def _call(self) -> None:
        """Those for whom there is room, one of each address after the other."""
        called = True
        while called and self._inside.total() < self._most:
            called = False
            for address in [*self._waiting]:
                if self._has_room(address) and self._next(address):
                    called = True

    def _next(self, address: str) -> bool:
        """Calls one who waits, and puts the address behind the others; False: they had all gone."""
        queue = self._waiting.pop(address)
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                self._inside[address] += 1
                break
        else:
            return False
        if queue:
            self._waiting[address] = queue
        return True
