"""Where a host is that is called by its name: found out beside the requests, remembered while DNS is away.

Asked by `dial`, one for each endpoint with a name; most endpoints are addresses and have none. What was found serves on
until something else is found, as in Envoy's strict DNS: who can be called does not depend on who can be asked where it
is. The system's resolver tells no TTL, so an answer is asked for again when it is a few seconds old and wanted.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final

FRESH: Final = 5.0  # seconds in which nobody asks again, Envoy's dns_refresh_rate
PATIENCE: Final = 0.1  # seconds for a newer answer where there is an old one; a resolver nearby takes 1 to 50 ms


async def resolve(host: str) -> tuple[str, ...]:
    """Its addresses, at least one, in the resolver's order. Raises socket.gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(place[4][0]) for place in found))


def is_name(host: str) -> bool:
    """No address: those end in a digit or have a colon, and no name's last part is a number (RFC 3696 section 2)."""
    return not (":" in host or host[-1:].isdigit())


class Lookup:
    """`found` is what was last told. Times are monotonic seconds."""

    __slots__ = ("_asked", "_asking", "_resolve", "found", "host")

    def __init__(self, host: str, resolve: Callable[[str], Awaitable[tuple[str, ...]]] = resolve) -> None:
        self.host = host
        self.found: tuple[str, ...] = ()
        self._resolve = resolve
        self._asked = -inf
        self._asking: asyncio.Task[None] | None = None

    async def addresses(self, now: float) -> tuple[str, ...]:
        """Where to connect to, the likeliest first. Raises socket.gaierror where that was never known."""
        asking = self._asking
        if asking is None and now - self._asked >= FRESH:
            self._asked = now
            self._asking = asking = asyncio.get_running_loop().create_task(self._ask())
            asking.add_done_callback(self._done)
        elif asking is not None and self.found:
            return self.found  # somebody waits already, or has waited in vain
        if asking is not None:
            await asyncio.wait((asking,), timeout=PATIENCE if self.found else None)
            if not self.found and (error := asking.exception()) is not None:
                raise error
        return self.found

    def avoid(self, address: str) -> None:
        """It could not be connected to: the others first, next time."""
        if self.found[:1] == (address,):
            self.found = (*self.found[1:], address)

    async def _ask(self) -> None:
        self.found = await self._resolve(self.host)

    def _done(self, asking: asyncio.Task[None]) -> None:
        self._asking = None
        if not asking.cancelled() and asking.exception() is not None and not self.found:
            self._asked = -inf  # nobody can do without it: the next one asks at once

    def __repr__(self) -> str:
        return f"<Lookup {self.host} {' '.join(self.found) or 'unknown'}>"
