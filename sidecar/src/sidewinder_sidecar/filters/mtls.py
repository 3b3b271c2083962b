"""mTLS: who shows no certificate of the mesh is refused (Strict) or counted and logged (Audit). Made by plan/guards.

The connection has shown its certificate, or none, long before: nothing here knows TLS, only what `peer` says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.messages import Reply

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.context import Context
    from sidewinder_sidecar.messages import Call, Peer
    from sidewinder_sidecar.snapshot.policies import MtlsSpec

log = logging.getLogger("sidewinder.mtls")

KIND: Final = "mtls"
DETAIL: Final = "mTLS is required"
MINUTE: Final = 60.0  # seconds in which a caller is told of once
TOLD: Final = 100  # callers that are told of in a minute: a scan of the pod's ports is no reason to fill a disk


def build(spec: MtlsSpec, port: int, context: Context) -> Mtls | None:
    """What one port asks for; None where anybody may come. Port 0 stands for all that nobody declared."""
    if spec.mode == "Permissive" or (port and port in spec.except_ports):
        return None
    return Mtls(spec, port, context.count, context.wheel.clock)


class Mtls:
    """`apply` judges requests, `admit` connections that are relayed."""

    __slots__ = ("_clock", "_count", "_decision", "_except_ports", "_policy", "_port", "_since", "_strict", "_told")

    def __init__(
        self, spec: MtlsSpec, port: int, count: Callable[[str, str, str], None], clock: Callable[[], float]
    ) -> None:
        self._strict = spec.mode == "Strict"
        self._port = port
        self._except_ports = frozenset(spec.except_ports)
        self._policy = spec.policy
        self._decision = f"{spec.policy}/mtls" if self._strict else f"audit:{spec.policy}/mtls"
        self._count = count
        self._clock = clock
        self._told: set[str] = set()  # callers of this minute
        self._since = clock()  # its begin

    def apply(self, call: Call) -> Reply | None:
        """A request's verdict."""
        peer = call.peer
        if peer.identity:
            return None
        port = self._port
        if not port:
            port = peer.destination[1] if peer.destination is not None else 0
            if port in self._except_ports:
                return None
        if not call.decision:
            call.decision = self._decision
        return self._judge(peer, port)

    def admit(self, peer: Peer, port: int) -> Reply | None:
        """A connection's verdict."""
        if peer.identity or port in self._except_ports:
            return None
        if not peer.decision:
            peer.decision = self._decision
        return self._judge(peer, port)

    def _judge(self, peer: Peer, port: int) -> Reply | None:
        if self._strict:
            self._count(KIND, "Deny", self._policy)
            return Reply(403, "denied", DETAIL, decision=self._decision)
        self._count(KIND, "Audit", self._policy)
        self._tell(peer, port)
        return None

    def _tell(self, peer: Peer, port: int) -> None:
        now = self._clock()
        if now - self._since >= MINUTE:
            self._since = now
            self._told.clear()
        if peer.client not in self._told and len(self._told) < TOLD:
            self._told.add(peer.client)
            log.warning("%s called port %d without mTLS: Strict would refuse it (%s)", peer.client, port, self._policy)

    def __repr__(self) -> str:
        return f"<Mtls {'Strict' if self._strict else 'Audit'} :{self._port}>"
