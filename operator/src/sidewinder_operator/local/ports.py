"""Free ports of this machine, promised to one owner each. Asked by `replicas` and the command line.

A port is taken from below the range that the kernel hands out by itself, so that nobody gets it by chance, and held by
a socket that is bound and never listens. Whoever binds with SO_REUSEADDR, as servers do, gets past that socket;
everybody who looks for a free port does not. For programs that bind without it, `lend` lets go just before they start.
"""

from __future__ import annotations

import random
import socket

LOWEST = 20000
HIGHEST = 32000  # Linux hands out 32768–60999, macOS and the BSDs 49152–65535
ATTEMPTS = 500


class NoPort(Exception):
    """No free port was found."""


class Ports:
    """The ports that this process has promised."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self._address = address
        self._held: dict[int, socket.socket | None] = {}

    def __repr__(self) -> str:
        return f"<Ports {sorted(self._held)}>"

    def reserve(self) -> int:
        """A port that nobody else uses or is promised."""
        for _ in range(ATTEMPTS):
            port = random.randrange(LOWEST, HIGHEST)
            if port not in self._held and (held := self._hold(port)) is not None:
                self._held[port] = held
                return port
        raise NoPort(f"none of {ATTEMPTS} ports tried between {LOWEST} and {HIGHEST} is free on {self._address}")

    def lend(self, port: int) -> None:
        """Lets go of the socket that holds the port, which stays promised: its owner binds it now."""
        held = self._held.get(port)
        if held is not None:
            held.close()
            self._held[port] = None

    def release(self, *ports: int) -> None:
        """These ports may be promised again."""
        for port in ports:
            held = self._held.pop(port, None)
            if held is not None:
                held.close()

    def close(self) -> None:
        """Releases all."""
        self.release(*self._held)

    def _hold(self, port: int) -> socket.socket | None:
        """A socket that is alone on the port, or None. Bound first without SO_REUSEADDR: that sees everybody else's."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((self._address, port))
            except OSError:
                return None
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((self._address, port))
        except OSError:
            held.close()
            return None
        return held


def why_taken(address: str, port: int) -> str | None:
    """Why nobody can listen there, in words; None when one can. Port 0 always can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except PermissionError:
            return f"ports below 1024 need rights that this user lacks ({port})"
        except OSError as fault:
            return f"{address}:{port}: {fault.strerror or fault}"
    return None
