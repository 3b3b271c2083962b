"""Who has called which inbound port, with mTLS or without: what `sidewinder tls` asks before somebody says Strict.

Told once for each connection, by downstream; read by the admin page `/callers`. A caller is the SPIFFE ID that it
proved, else its address. Bounded: the one that has not been heard of for longest is forgotten, and counted.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from sidewinder_sidecar.messages import Peer

MOST: Final = 1000  # callers; 0.4 KB each
Key: TypeAlias = tuple[str, int, str, bool]  # the listener's name, the port called, the caller, did it prove itself?


class Caller:
    """What is counted of one. `last`: monotonic seconds."""

    __slots__ = ("address", "connections", "last")

    def __init__(self) -> None:
        self.address = ""  # from where it called last
        self.connections = 0
        self.last = 0.0


class Callers:
    """The table of one process; its rows lie in the order in which they were heard of."""

    __slots__ = ("forgotten", "rows")

    def __init__(self) -> None:
        self.rows: dict[Key, Caller] = {}
        self.forgotten = 0

    def met(self, listener: str, port: int, peer: Peer, now: float) -> None:
        """A connection to an inbound port is there; `peer.identity` is known by now. `port` is the application's."""
        key = (listener, port, peer.identity or peer.client, peer.identity != "")
        row = self.rows.pop(key, None)
        if row is None:
            row = Caller()
            if len(self.rows) >= MOST:
                del self.rows[next(iter(self.rows))]
                self.forgotten += 1
        self.rows[key] = row
        row.address = peer.client
        row.connections += 1
        row.last = now

    def stranger(self) -> float:
        """When somebody came last who proved nothing; 0.0: nobody has."""
        return next((row.last for (*_, proved), row in reversed(self.rows.items()) if not proved), 0.0)

    def told(self, now: float, wall: float) -> list[dict[str, object]]:
        """For the admin page. `wall`: seconds since 1970, now."""
        return [
            {
                "listener": listener,
                "port": port,
                "caller": caller,
                "mtls": proved,
                "address": row.address,
                "connections": row.connections,
                "last": round(wall - (now - row.last), 3),
            }
            for (listener, port, caller, proved), row in self.rows.items()
        ]

    def __repr__(self) -> str:
        return f"<Callers {len(self.rows)}, {self.forgotten} forgotten>"
