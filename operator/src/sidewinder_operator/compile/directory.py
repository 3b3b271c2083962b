"""Whom an address or a name means: what a sidecar asks for that it does not know. Called by `project`.

A key is `ip:port` (`[ip]:port` of IPv6), a host name as an authority has it, with or without a port, or `service/` and
a port's own name, by which a sidecar that comes back tells what it had.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from functools import lru_cache

from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.services import MeshPort, MeshService

BY_NAME = "service/"


class Directory:
    """Of one mesh. Costs one walk over it."""

    def __init__(self, mesh: Mesh) -> None:
        self._services = mesh.services
        self._suffixes = (f".svc.{mesh.cluster_domain}".lower(), ".svc", "")
        self._addresses: dict[tuple[str, int], list[str]] = defaultdict(list)
        for service in mesh.services.values():
            for port in service.ports:
                for address, number in _dialled(service, port):
                    self._addresses[address, number].append(port.name)

    def find(self, key: str, namespace: str) -> tuple[str, ...]:
        """The ports that it means to callers in `namespace`, by name; () where it means nothing here."""
        host, number, is_address = _parsed(key)
        if is_address:
            return tuple(self._addresses.get((host, number), ()))
        if key.startswith(BY_NAME):
            name = key.removeprefix(BY_NAME)
            service = self._services.get(name.rpartition(":")[0])
            return (name,) if service is not None and any(port.name == name for port in service.ports) else ()
        return self._named(host, number, namespace)

    def _named(self, host: str, number: int, namespace: str) -> tuple[str, ...]:
        suffix = next(suffix for suffix in self._suffixes if host.endswith(suffix))
        name, dot, owner = host.removesuffix(suffix).partition(".")
        service = self._services.get(f"{owner if dot else namespace}/{name}")
        return tuple(port.name for port in service.ports if number in (0, port.port)) if service is not None else ()


def _dialled(service: MeshService, port: MeshPort) -> set[tuple[str, int]]:
    """Where callers connect to when they mean this port."""
    if service.headless:
        return {(canonical(each.address) or each.address, each.port) for each in port.endpoints}
    return {(canonical(address) or address, port.port) for address in service.addresses}


@lru_cache(maxsize=65536)
def _parsed(key: str) -> tuple[str, int, bool]:
    """Host, port, and whether the host is an address. Asked of every sidecar's every want, turn by turn."""
    host, number = _split(key)
    address = canonical(host)
    return address or host.lower().rstrip("."), number, address is not None


def _split(key: str) -> tuple[str, int]:
    """Host and port; 0 without one. A bare address of IPv6 has no port: its brackets say where it ends."""
    host, _, number = key.rpartition(":")
    if number.isascii() and number.isdigit() and len(number) <= 5 and (":" not in host or host.startswith("[")):
        return host.removeprefix("[").removesuffix("]"), int(number)
    return key.removeprefix("[").removesuffix("]"), 0


@lru_cache(maxsize=65536)
def canonical(text: str) -> str | None:
    """An IP address in the one way in which it is compared; None for what is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)
