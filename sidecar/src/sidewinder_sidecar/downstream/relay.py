"""A caller's connection as the side of a flow: bytes and ends both ways, the way to an endpoint, who may go it.

Extended by `tcp`, which finds out first what is spoken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.downstream.flow import Flow
from sidewinder_sidecar.messages import NAMELESS, Reply
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.wire import OPEN, Wire

if TYPE_CHECKING:
    from sidewinder_sidecar.downstream.listener import Listener
    from sidewinder_sidecar.messages import Peer
    from sidewinder_sidecar.plan import Service

CONNECT_SECONDS: Final = 5.0  # to a destination of no service: as BackendSpec's default


class Relay(Wire):
    """One connection that is, or may become, a relayed one."""

    __slots__ = (
        "arrived", "decided", "ended", "flow", "full", "half_closed", "led", "listener", "peer", "plan",
        "refusal", "service",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener.proxy.wheel, listener.proxy.limits)
        self.listener = listener
        self.peer: Peer
        self.arrived = self.wheel.clock()
        self.plan = self.led = listener.proxy.plan  # that what follows was found in, and that let `flow` be opened
        self.service: Service | None = None
        self.refusal: Reply | None = None  # why the connection leads nowhere
        self.flow: Flow | None = None
        self.decided = False  # it is relayed
        self.full = False  # reading is paused
        self.half_closed = False  # the caller sends nothing more
        self.ended = False

    # 1. Where does it want to go?

    def _look_up(self) -> None:
        self.plan = plan = self.listener.proxy.plan
        to = self.peer.destination
        listener = plan.listeners.get(self.listener.name)
        self.service = self.refusal = None
        if listener is None:
            self.refusal = Reply(503, "draining", "the listener is gone")
            return
        if to is None:  # the listener's own port was called: what it stands for is the application
            self.service = listener.find(b"")
        else:
            self.service = listener.reached.get(to) or listener.reach(to)
        if self.service is None:
            found = listener.onward(self.peer, plan.listeners)
            self.refusal = found if isinstance(found, Reply) else None

    def _refused(self) -> Reply | None:
        """Why nothing is relayed for this caller; None: it is."""
        if self.refusal is not None:
            return self.refusal
        listener = self.plan.listeners.get(self.listener.name)
        service = self.service
        guard = service.guard if service is not None else listener.guard if listener is not None else None
        return None if guard is None else guard.admit(self.peer, self.listener.called(self.peer))

    # 2. The way there.

    def _open_flow(self) -> Flow | None:
        """Towards the upstream, for who may go there. None if there is no way, which the caller is shown."""
        if (refusal := self._refused()) is not None:
            self._refuse(refusal)
            return None
        return self._lead()

    def _lead(self) -> Flow | None:
        proxy, service, to = self.listener.proxy, self.service, self.peer.destination
        self.led = self.plan
        self.flow = flow = self._flow()
        if service is None:
            if to is None or to == NAMELESS:
                return None
            spec = EndpointSpec(uid=to[0], address=to[0], port=to[1])
            flow.open_alone(proxy.fleet.make(spec, CONNECT_SECONDS))
            return flow
        shares = service.direct.shares
        if not shares or (backend := shares[0].backend) is None:
            flow.refuse("no_backend", f"{service.name} has no backend of its own")
            return None
        flow.open(backend, to if service.exact is not None else None)
        return flow

    def _flow(self) -> Flow:
        flow = Flow(self, self.listener.proxy, self.listener.name, self.peer)
        flow.started = self.arrived
        flow.service = self.service.name if self.service is not None else ""
        return flow

    def _refuse(self, why: Reply) -> None:
        self.decided = True
        self.flow = flow = self._flow()
        flow.decision = why.decision
        flow.refuse(why.error, why.detail)

    # 3. The flow's side.

    def on_connected(self) -> None:
        """The upstream is there, and has said nothing yet."""

    def send(self, data: bytes) -> bool:
        """Bytes from the upstream."""
        self.write(data)
        return self.room

    def send_end(self) -> None:
        self.say_eof()

    def pause(self) -> None:
        self.full = True
        if self.wired == OPEN:
            self.transport.pause_reading()

    def resume(self) -> None:
        self.full = False
        if self.wired == OPEN:
            self.transport.resume_reading()

    def end(self, whole: bool) -> None:
        self.flow = None
        self.ended = True
        if whole:
            self.close()
        else:
            self.break_off()

    def _linger(self) -> None:
        """What is unsent may take as long as anything else that moves: there is no answer's length to miss it by."""
        self.room = False
        self.wake(self.wheel.clock() + self.limits.stall_seconds)

    # 4. The caller's end.

    def on_lost(self, error: Exception | None) -> None:
        self.listener.connections.discard(self)
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.on_caller_gone("caller_gone")

    def on_writable(self) -> None:
        if self.flow is not None:
            self.flow.on_caller_writable()

    def drain(self) -> None:
        """End when nothing moves any more."""
        if self.flow is not None:
            self.flow.drain()
