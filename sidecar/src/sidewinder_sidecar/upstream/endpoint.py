"""One address: its connections, its load. Made and kept by the fleet; `open` is called by the exchange.

The pool is most recently used first, so that a falling load lets the oldest connections run into the idle limit, which
is below the upstream's own (`limits.upstream_idle_seconds`, or less where its Keep-Alive field says so).
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from sidewinder_sidecar.compiled import mypyc_attr
from sidewinder_sidecar.http1.encode import request_head
from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.upstream import http1, tcp
from sidewinder_sidecar.upstream.attempt import Attempt
from sidewinder_sidecar.wire import OPEN

if TYPE_CHECKING:
    from sidewinder_sidecar import messages
    from sidewinder_sidecar.messages import Receiver, Request
    from sidewinder_sidecar.settings import Limits
    from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
    from sidewinder_sidecar.wheel import Slot, Wheel


@mypyc_attr(allow_interpreted_subclasses=True)
class Endpoint:
    """`active` counts the attempts that run; `retired` ones finish them and never pool again."""

    __slots__ = (
        "active", "address", "connect_timeout", "dials", "idle", "limits", "ready", "retired", "uid", "weight", "wheel",
        "zone",
    )  # fmt: skip

    def __init__(self, spec: EndpointSpec, limits: Limits, wheel: Wheel, connect_timeout: float) -> None:
        self.uid = spec.uid
        self.address = (spec.address, spec.port)
        self.limits = limits
        self.wheel = wheel
        self.connect_timeout = connect_timeout
        self.active = 0
        self.idle: list[http1.Connection] = []  # most recently used last
        self.dials: set[Dial] = set()
        self.retired = False
        self.update(spec)

    def update(self, spec: EndpointSpec) -> None:
        """A new snapshot's word on the same endpoint."""
        self.weight = spec.weight
        self.zone = spec.zone
        self.ready = spec.ready

    def open(self, request: Request, receiver: Receiver) -> messages.Attempt:
        """One try. Calls nobody back before it has returned. Raises Unsendable for a request that a filter broke."""
        if request.upgrade == b"connect":
            attempt = Attempt(self, request, receiver)
            self.active += 1
            Dial(self, attempt, tcp.Connection)
            return attempt
        attempt = Attempt(self, request, receiver, request_head(request))
        self.active += 1
        idle = self.idle
        while idle:
            connection = idle.pop()
            if connection.wired == OPEN:
                connection.start(attempt)
                return attempt
        Dial(self, attempt, http1.Connection)
        return attempt

    def forget(self, connection: http1.Connection) -> None:
        """It is not idle any more: closed, by whichever side."""
        if connection in self.idle:
            self.idle.remove(connection)

    def retire(self) -> None:
        """No new request will come: close what is idle; what runs ends by itself."""
        self.retired = True
        while self.idle:
            self.idle.pop().close()

    def __repr__(self) -> str:
        state = " retired" if self.retired else "" if self.ready else " not ready"
        return f"<Endpoint {self.address[0]}:{self.address[1]}{state} {self.active} active {len(self.idle)} idle>"


class Dial:
    """A connection being made: the one task of a connection's life, and its time limit on the wheel."""

    __slots__ = ("attempt", "endpoint", "make", "slot", "task", "too_late")

    def __init__(
        self, endpoint: Endpoint, attempt: Attempt, make: type[http1.Connection] | type[tcp.Connection]
    ) -> None:
        self.endpoint = endpoint
        self.attempt = attempt
        self.make = make
        self.too_late = False
        attempt.dial = self
        endpoint.dials.add(self)  # the loop keeps only weak references to tasks
        wheel = endpoint.wheel
        self.slot: Slot = wheel.at(wheel.clock() + endpoint.connect_timeout, self)
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(self._done)

    def on_time(self, now: float) -> None:
        self.too_late = True
        self.task.cancel()

    def cancel(self) -> None:
        """The attempt is not wanted any more."""
        self.task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        host, port = self.endpoint.address
        await loop.create_connection(self._made, host, port)

    def _made(self) -> Any:  # an asyncio.Protocol, see Wire
        return self.make(self.endpoint, self.attempt)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.slot.discard(self)
        self.endpoint.dials.discard(self)
        attempt = self.attempt
        attempt.dial = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or attempt.connection is not None:
            return
        if isinstance(error, asyncio.CancelledError):
            if self.too_late:
                attempt.fail(CONNECT, "connect_timeout", f"no connection within {self.endpoint.connect_timeout:g} s")
            else:
                attempt.fail(CONNECT, "connect_failed", "connecting was given up")
        elif isinstance(error, OSError):
            attempt.fail(CONNECT, _kind(error), _reason(error))
        else:
            attempt.fail(CONNECT, "bug", repr(error))
            raise error

    def __repr__(self) -> str:
        return f"<Dial {self.endpoint.address[0]}:{self.endpoint.address[1]}>"


def _kind(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "dns_error"
    return "connect_refused" if isinstance(error, ConnectionRefusedError) else "connect_failed"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
