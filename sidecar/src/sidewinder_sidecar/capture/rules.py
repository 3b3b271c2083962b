"""Which connections go through the proxy, as data. Called by main (to write and to tell them) and by tests.

Order matters and is the order of this list: what is left alone comes first, then everything else is redirected. Only
TCP is touched; DNS is not, over TCP either, because a pod that cannot resolve cannot tell why.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Literal, NamedTuple, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Family: TypeAlias = Literal[4, 6]
Chain: TypeAlias = Literal["output", "prerouting"]

DNS = 53
LOOPBACK: dict[Family, Network] = {4: ip_network("127.0.0.0/8"), 6: ip_network("::1/128")}


class Wanted(NamedTuple):
    """What the pod asked for. `uid` is the proxy's own: what it sends is never led back to it."""

    uid: int
    inbound: int  # the proxy's ports
    outbound: int
    skip_inbound: tuple[int, ...] = ()  # destination ports that stay direct
    skip_outbound: tuple[int, ...] = ()
    skip_networks: tuple[Network, ...] = ()  # outbound destinations that stay direct


class Rule(NamedTuple):
    """One rule: the conditions that are set must hold; `redirect` is a port, or 0 to leave the connection alone."""

    chain: Chain
    uid: int | None = None
    network: Network | None = None
    port: int | None = None
    redirect: int = 0

    def __str__(self) -> str:
        """As nft would print it."""
        words: list[str] = [self.chain]
        if self.uid is not None:
            words.append(f"meta skuid {self.uid}")
        if self.network is not None:
            words.append(f"{'ip' if self.network.version == 4 else 'ip6'} daddr {self.network}")
        if self.port is not None:
            words.append(f"tcp dport {self.port}")
        words.append(f"meta l4proto tcp counter redirect to :{self.redirect}" if self.redirect else "return")
        return " ".join(words)


def rules(wanted: Wanted, family: Family) -> Iterator[Rule]:
    """All rules of one address family, in order."""
    # 1. What the proxy sends has been through it.
    yield Rule("output", uid=wanted.uid)
    # 2. Containers of a pod talk to each other over loopback; so does `kubectl port-forward`.
    yield Rule("output", network=LOOPBACK[family])
    # 3. What the pod's owner left out.
    for network in wanted.skip_networks:
        if network.version == family:
            yield Rule("output", network=network)
    for port in dict.fromkeys((DNS, *wanted.skip_outbound)):
        yield Rule("output", port=port)
    for port in dict.fromkeys(wanted.skip_inbound):
        yield Rule("prerouting", port=port)
    # 4. Everything else.
    yield Rule("output", redirect=wanted.outbound)
    yield Rule("prerouting", redirect=wanted.inbound)
