"""A connection that is relayed as it is: its way to an endpoint, its clock, its record. Driven by `tcp` on one side and
by the endpoint's attempt on the other, as the exchange is for a request.

No connection but the first byte decides: until the endpoint is connected to, nothing has been sent, so another may be
tried. What the caller says meanwhile waits with the caller (reading is paused) but for what was read already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import CONNECT, Relayed, Request
from sidewinder_sidecar.upstream.shortage import is_ours

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Attempt, Failure, Peer, Response
    from sidewinder_sidecar.proxy import Proxy
    from sidewinder_sidecar.resilience.concurrency import Concurrency, Full
    from sidewinder_sidecar.upstream.backend import Backend
    from sidewinder_sidecar.upstream.endpoint import Endpoint
    from sidewinder_sidecar.wheel import Slot

MOST_TRIES: Final = 3  # endpoints: a caller waits at most so many connect timeouts
DRAIN_IDLE_SECONDS: Final = (
    1.0  # in a drain a connection ends when nothing has moved so long: nobody waits for an answer
)


def _bare() -> Request:
    request = Request(b"CONNECT", b"", b"", fields(), None)
    request.upgrade = b"connect"
    return request


BARE: Final = _bare()


class Side(Protocol):
    """The caller's connection."""

    def on_connected(self) -> None: ...
    def send(self, data: bytes) -> bool: ...  # False: stop until the flow's on_caller_writable
    def send_end(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def end(self, whole: bool) -> None: ...  # both sides have ended, or the flow has failed


class Flow(Relayed):
    """`open` starts it, `_finish` ends it, exactly once."""

    __slots__ = (
        "attempt", "caller_ended", "draining", "endpoint", "failed", "finished", "moved", "opened", "permit",
        "proxy", "side", "slot", "target", "to", "unsent", "upstream_ended",
    )  # fmt: skip

    def __init__(self, side: Side, proxy: Proxy, listener: str, peer: Peer) -> None:
        super().__init__(listener, peer, proxy.clock())
        self.side: Side | None = side
        self.proxy = proxy
        self.target: Backend | None = None
        self.to: tuple[str, int] | None = None  # the endpoint that the caller has chosen itself
        self.attempt: Attempt | None = None
        self.endpoint: Endpoint | None = None
        self.failed: tuple[Endpoint, ...] = ()
        self.unsent = b""  # from the caller, while there is no connection
        self.caller_ended = self.upstream_ended = self.finished = self.draining = False
        self.moved = -1
        self.opened = 0.0  # when the try began that its endpoint's observers do not know of yet
        self.permit: Concurrency | None = None  # the limit that this is counted in
        self.slot: Slot | None = None

    # The way up.

    def open(self, target: Backend, to: tuple[str, int] | None) -> None:
        """Connect to an endpoint of `target`; with `to`, to that one alone. Calls the side back only later."""
        self.target, self.to = target, to
        self.backend = target.service
        self.proxy.running.add(self)
        now = self.proxy.clock()
        endpoint = target.pick(now, None, self.peer) if to is None else target.pick_dialled(to, now)
        if endpoint is None:
            self._later("no_endpoints", f"{target.name} has no endpoint that is ready")
        else:
            self._connect(endpoint, now)

    def open_alone(self, endpoint: Endpoint) -> None:
        """Connect to an endpoint of no service."""
        self.proxy.running.add(self)
        self.backend = "outside"
        self._connect(endpoint, self.proxy.clock())

    def refuse(self, error: str, detail: str) -> None:
        """There is no way up. The side is told at once."""
        self._fail(error, detail)

    def _connect(self, endpoint: Endpoint, now: float) -> None:
        self.endpoint = endpoint
        target = self.target
        if target is not None and target.watched:
            self.opened = now if endpoint.observers else 0.0
            if target.limits is not None and (full := self._full(target, target.limits, now)) is not None:
                return self._later("overloaded", target.limits.refuse(full))
            endpoint = self.endpoint
        self.address = endpoint.address
        self.attempt = endpoint.open(BARE, self)

    def _full(self, target: Backend, limits: Concurrency, now: float) -> Full | None:
        """Why there is no room for it. An endpoint that is full is passed over, unless the caller has chosen it."""
        endpoint, members = self.endpoint, target.endpoints.values()
        assert endpoint is not None
        if self.permit is None:
            if (full := limits.admit()) is not None:
                return full
            self.permit = limits
        if endpoint.probing or (full := limits.full(endpoint, members, fresh=True)) is None:
            return None
        if self.to is not None:
            return full
        other = target.pick_other((*self.failed, endpoint), now, None, self.peer)
        if other is None or other is endpoint or other in self.failed or limits.full(other, members, fresh=True):
            return full
        self.endpoint = other
        self.opened = now if other.observers else 0.0
        return None

    def _settle(self, status: int, error: str) -> None:
        endpoint, opened = self.endpoint, self.opened
        self.opened = 0.0
        if endpoint is not None and opened:
            now = self.proxy.clock()
            endpoint.settled(status, error, now, now - opened)

    def _later(self, error: str, detail: str) -> None:
        self.error, self.detail = error, detail
        self._look_again(0.0)

    # What the caller says.

    def on_caller_data(self, data: bytes) -> None:
        self.bytes_in += len(data)
        attempt = self.attempt
        if not self.connected:
            self.unsent += data
            if self.side is not None:
                self.side.pause()
        elif attempt is not None and not attempt.send_data(data) and self.side is not None:
            self.side.pause()

    def on_caller_end(self) -> None:
        """The caller sends no more."""
        self.caller_ended = True
        if not self.connected or self.attempt is None:
            return
        self.attempt.send_end()
        if self.upstream_ended:
            self.attempt = None
            self._finish()

    def on_caller_writable(self) -> None:
        if self.attempt is not None:
            self.attempt.resume()

    def on_caller_gone(self, error: str, detail: str = "") -> None:
        """Nobody is there any more."""
        if not self.finished:
            self.side = None
            self.error = self.error or error
            self.detail = self.detail or detail
            self._finish()

    # What the endpoint says.

    def on_tunnel(self, response: Response) -> None:
        """Connected."""
        attempt, side = self.attempt, self.side
        if attempt is None or side is None:
            return
        self.connected = self.proxy.clock()
        self._settle(200, "")
        self._look_again(self._idle_seconds())
        unsent, self.unsent = self.unsent, b""
        room = attempt.send_data(unsent) if unsent else True
        if self.caller_ended:
            attempt.send_end()
        side.on_connected()
        if room and not self.finished:
            side.resume()

    def on_data(self, data: bytes) -> None:
        self.bytes_out += len(data)
        if self.side is not None and not self.side.send(data) and self.attempt is not None:
            self.attempt.pause()

    def on_end(self, trailers: Fields | None) -> None:
        """The endpoint sends no more."""
        self.upstream_ended = True
        if self.side is not None:
            self.side.send_end()
        if self.caller_ended:
            self.attempt = None
            self._finish()

    def on_failure(self, failure: Failure) -> None:
        self.attempt = None
        self._settle(0, "caller_gone" if is_ours(failure) else failure.error)
        if failure.stage == CONNECT and not self.connected and self._try_other():
            return
        detail = failure.detail or TABLE[failure.error].meaning
        self._fail(failure.error, detail if failure.stage == CONNECT else "the upstream broke the connection off")

    def _try_other(self) -> bool:
        """Nothing was sent: any other endpoint will do, unless the caller chose this one itself."""
        target, endpoint = self.target, self.endpoint
        if target is None or endpoint is None or self.to is not None or self.retries + 1 >= MOST_TRIES:
            return False
        self.failed = (*self.failed, endpoint)
        other = target.pick_other(self.failed, self.proxy.clock(), None, self.peer)
        if other is None or other in self.failed:
            return False
        self.retries += 1
        self._connect(other, self.proxy.clock())
        return True

    def on_writable(self) -> None:
        if self.side is not None and self.connected:
            self.side.resume()

    def on_informational(self, response: Response) -> None:
        """There are no answers here."""

    def on_response(self, response: Response, body: bytes | None) -> None:
        """There are no answers here."""

    # Time.

    def drain(self) -> None:
        """End when nothing moves any more."""
        self.draining = True
        if self.connected and not self.finished:
            self.moved = self.bytes_in + self.bytes_out
            self._look_again(DRAIN_IDLE_SECONDS)

    def _idle_seconds(self) -> float:
        return DRAIN_IDLE_SECONDS if self.draining else self.proxy.limits.tunnel_idle_seconds

    def _look_again(self, seconds: float) -> None:
        if self.slot is not None:
            self.slot.discard(self)
        when = min(self.proxy.clock() + seconds, self.started + self.proxy.limits.stream_seconds)
        self.slot = self.proxy.wheel.at(when, self)

    def on_time(self, now: float) -> None:
        self.slot = None
        if self.finished:
            return
        if self.error:
            self._fail(self.error, self.detail)
            return
        if now >= self.started + self.proxy.limits.stream_seconds:
            self._fail("deadline", f"{now - self.started:.0f} s are over")
            return
        moved = self.bytes_in + self.bytes_out
        if moved != self.moved:
            self.moved = moved
            self._look_again(self._idle_seconds())
        elif self.draining:
            self._fail("draining", "the proxy is shutting down, and nothing moved")
        else:
            self._fail("idle", f"nothing moved for {self._idle_seconds():g} s")

    # The end.

    def abort(self, error: str, detail: str = "") -> None:
        """The proxy will not wait any longer."""
        if not self.finished:
            self._fail(error, detail)

    def forget(self) -> None:
        """It was never one: the caller speaks HTTP. Nothing is told."""
        self.finished = True
        self.side = None
        self._release("not needed")

    def _fail(self, error: str, detail: str) -> None:
        self.error, self.detail = error, detail or TABLE[error].meaning
        self._finish()

    def _finish(self) -> None:
        if self.finished:
            return
        self.finished = True
        self.ended = self.proxy.clock()
        side, self.side = self.side, None
        self._release(self.error)
        if side is not None:
            side.end(not self.error)
        self.proxy.record_relayed(self)

    def _release(self, reason: str) -> None:
        self._settle(0, "caller_gone")
        if self.permit is not None:
            self.permit.leave()
            self.permit = None
        attempt, self.attempt = self.attempt, None
        if attempt is not None:
            attempt.cancel(reason)
        if self.slot is not None:
            self.slot.discard(self)
            self.slot = None
        self.unsent = b""
        self.proxy.running.discard(self)

    def __repr__(self) -> str:
        state = "finished" if self.finished else "connected" if self.connected else "connecting"
        return f"<Flow {self.peer.address}:{self.peer.port} to {self.address[0]}:{self.address[1]} {state}>"
