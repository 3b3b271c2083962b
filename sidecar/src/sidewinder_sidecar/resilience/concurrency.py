"""How much one proxy asks of a backend at a time: requests, connections that are being made, connections at all.

More is refused at once, with the reason: a queue in front of what is full already makes everybody wait for nothing.
Asked by the exchange and by relayed connections, each of which counts as one request from its first try to its end.
Kept by the backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from sidewinder_sidecar.snapshot.upstreams import ConcurrencySpec

MOST_ROOM: Final = 1_000_000  # where there is no limit


class Member(Protocol):
    """What is counted of an endpoint. With HTTP/1 every active try has a connection, or one is being made for it."""

    @property
    def active(self) -> int: ...
    @property
    def dials(self) -> Sized: ...
    @property
    def idle(self) -> Sized: ...
    @property
    def unclaimed(self) -> int: ...  # of the dials, those that no active try waits for
    def free_dial(self) -> object | None: ...  # one of them that another try may wait for
    def spare(self) -> bool: ...  # close a kept connection that rests; False: there is none


class Full(NamedTuple):
    """Which limit is reached, and how to say so."""

    limit: str
    why: str


class Concurrency:
    """`admit` once for each request, `leave` when it has ended; `full` asks for each endpoint that is to be called."""

    __slots__ = ("_counted", "_room", "_service", "refused", "requests", "spec")

    def __init__(self, spec: ConcurrencySpec, service: str) -> None:
        self.spec = spec
        self._service = service
        self._room = 0  # so many more may be called before anybody has to be counted
        self._counted = spec  # by which that was found out
        self.requests = 0
        self.refused = {"requests": 0, "pending": 0, "connections": 0}

    def admit(self) -> Full | None:
        """Why there is no room for another request; None if there is: then it is counted."""
        most = self.spec.whole.requests
        if 0 < most <= self.requests:
            return Full("requests", f"{most} requests to {self._service} run already")
        self.requests += 1
        return None

    def leave(self) -> None:
        """A request that was admitted has ended."""
        self.requests -= 1

    def full(self, member: Member, members: Iterable[Member], fresh: bool = False) -> Full | None:
        """Why this endpoint cannot be called just now; None if it can. `fresh`: it takes a connection of its own, as
        what is relayed does."""
        most = self.spec.endpoint
        if 0 < most.requests <= member.active:
            return Full("requests", f"{most.requests} requests to the endpoint run already")
        if not fresh and (member.idle or member.free_dial() is not None):
            return None  # no connection is made
        if 0 < most.pending <= len(member.dials):
            return Full("pending", f"{most.pending} connections to the endpoint are being made already")
        if 0 < most.connections <= _open(member) and not member.spare():
            return Full("connections", f"{most.connections} connections to the endpoint are open already")
        return self._whole(members)

    def _whole(self, members: Iterable[Member]) -> Full | None:
        """Over all endpoints. Only a new connection asks, and only where there is a limit; adding up costs 50 ns an
        endpoint, so half of the room that was found is given away without. Half, since a probe does not ask."""
        most = self.spec.whole
        if not (most.pending or most.connections):
            return None
        if self._room > 0 and self._counted is self.spec:
            self._room -= 1
            return None
        self._counted = self.spec
        self._room = 0
        pending = most.pending - sum([len(one.dials) for one in members]) if most.pending else MOST_ROOM
        if pending <= 0:
            return Full("pending", f"{most.pending} connections to {self._service} are being made already")
        free = most.connections - sum([_open(one) for one in members]) if most.connections else pending
        if free > 0:
            self._room = min(free, pending) // 2
            return None
        for one in members:
            if one.spare():  # one that rests elsewhere makes room
                return None
        return Full("connections", f"{most.connections} connections to {self._service} are open already")

    def refuse(self, full: Full) -> str:
        """Nobody else has room either: it is counted. Returns the reason."""
        self.refused[full.limit] += 1
        return full.why

    def __repr__(self) -> str:
        return f"<Concurrency of {self._service}: {self.requests} requests, {sum(self.refused.values())} refused>"


def _open(member: Member) -> int:
    """Connections that it has, or that are being made."""
    return member.active + len(member.idle) + member.unclaimed
