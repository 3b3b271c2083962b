"""A connection to an endpoint being made: the one task of its life, and its time limit. Started by `endpoint`."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from sidewinder_sidecar.messages import CONNECT

if TYPE_CHECKING:
    from sidewinder_sidecar.upstream import http1, tcp
    from sidewinder_sidecar.upstream.endpoint import Attempt, Endpoint
    from sidewinder_sidecar.wheel import Slot


class Dial:
    """Until the connection has an attempt, or the attempt is told why there is none."""

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
