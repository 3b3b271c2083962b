"""A redirected connection without sockets: a fake transport that knows where it wanted to go, a proxy in memory."""

from __future__ import annotations

import socket
import struct
from typing import Any

from sidewinder_sidecar.downstream.listener import Listener
from sidewinder_sidecar.downstream.tcp import Connection
from sidewinder_sidecar.messages import Relayed
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import Resource
from tests.support.memory import Scene
from tests.support.transport import FakeTransport

POD = "10.1.0.5"


class Transport(FakeTransport):
    """Its own socket, as far as anybody asks for one."""

    def __init__(self, protocol: Any, to: tuple[str, int], peer: str = POD) -> None:
        super().__init__(protocol)
        self.to = to
        self.known = {"peername": (peer, 40000), "sockname": ("127.0.0.1", 15001), "socket": self}
        self.family = socket.AF_UNIX  # no SO_LINGER to set

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.known.get(name, default)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return struct.pack(">HH4s8x", socket.AF_INET, self.to[1], socket.inet_aton(self.to[0]))

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol


class Redirected:
    """Connections that were redirected to one listener of a scene."""

    def __init__(self, *resources: Resource, listener: str = "out", limits: Limits | None = None) -> None:
        self.scene = Scene(*resources, limits=limits)
        self.told: list[Relayed] = []
        self.scene.proxy.record_relayed = self.told.append
        self.listener = Listener(self.scene.proxy, listener, "0.0.0.0", 15001)

    def arrive(self, address: str, port: int, peer: str = POD) -> Transport:
        """A connection that wanted to go there."""
        connection = Connection(self.listener)
        transport = Transport(connection, (address, port), peer)
        connection.connection_made(transport)
        return transport

    def say(self, transport: Transport, *pieces: bytes) -> None:
        """Bytes from the caller, one read a piece."""
        for piece in pieces:
            if not transport.closing:
                transport.protocol.data_received(piece)

    def wait(self, seconds: float) -> None:
        self.scene.clock.advance(seconds)

    def check(self) -> None:
        """Everything has ended, and was told once."""
        assert not self.listener.connections
        self.scene.check()
        assert len(set(map(id, self.told))) == len(self.told)
