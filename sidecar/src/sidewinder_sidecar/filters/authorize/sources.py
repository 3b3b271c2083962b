"""Who calls: from an identity and two addresses to the entries whose `from` holds, as bits. Used by `engine`.

Each different FromSpec of a set of rules is one bit here. What they ask of the identity is looked up by account, by
namespace and by SPIFFE ID; what they ask of an address is one bisection for all CIDRs that stand in rules, and one for
each list that a ConfigMap holds. The engine keeps what came of it, so this is for callers not seen lately.

What cannot be known is held against the caller: a FromSpec of an Allow that asks for it does not hold, one of a Deny
does. Only an identity that is not there matches nothing, of a Deny either: who nobody is, is not on a list of names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sidewinder_sidecar.filters.authorize.addresses import UNKNOWN, Labels, Ranges, number
from sidewinder_sidecar.snapshot.authorization import FromSpec

_SCHEME: Final = "spiffe://"


class Names:
    """The bits that ask for one of some names, and which name answers which of them."""

    __slots__ = ("_any_rest", "_bits", "_lengths", "members")

    def __init__(self) -> None:
        self.members = 0
        self._bits: dict[str, int] = {}
        self._any_rest: dict[str, int] = {}  # by what stands before the `*`
        self._lengths: tuple[int, ...] = ()

    def add(self, bit: int, names: Iterable[str]) -> None:
        """One more FromSpec; no names ask nothing."""
        for name in names:
            self.members |= bit
            if name.endswith("*"):
                self._any_rest[name[:-1]] = self._any_rest.get(name[:-1], 0) | bit
            else:
                self._bits[name] = self._bits.get(name, 0) | bit
        self._lengths = tuple(sorted({len(name) for name in self._any_rest}))

    def hit(self, name: str) -> int:
        """Who asks for this one among others."""
        found = self._bits.get(name, 0)
        for length in self._lengths:
            if length > len(name):
                break
            found |= self._any_rest.get(name[:length], 0)
        return found


class Nets:
    """The same for addresses: CIDRs of rules, and lists."""

    __slots__ = ("_labels", "_lists", "_of_rules", "members")

    def __init__(self) -> None:
        self.members = 0
        self._of_rules: list[tuple[int, tuple[str, ...]]] = []
        self._lists: dict[str, tuple[Ranges, int]] = {}
        self._labels: Labels | None = None

    def add(self, bit: int, cidrs: tuple[str, ...], lists: tuple[str, ...], known: Mapping[str, Ranges]) -> None:
        """One more FromSpec: an address must be in one of all these."""
        if cidrs or lists:
            self.members |= bit
        if cidrs:
            self._of_rules.append((bit, cidrs))
        for name in lists:
            ranges = known[name]
            self._lists[name] = (ranges, self._lists.get(name, (ranges, 0))[1] | bit)

    def seal(self) -> None:
        """All are in. Raises ValueError for what is no CIDR."""
        self._labels = Labels(iter(self._of_rules)) if self._of_rules else None
        self._of_rules = []

    def hit(self, address: int) -> int:
        """Who asks for networks that this one is in."""
        found = self._labels.of(address) if self._labels is not None else 0
        for ranges, bits in self._lists.values():
            if bits & ~found and ranges.holds(address):
                found |= bits
        return found


class Sources:
    """`add` all entries with their FromSpecs, `seal`, then `entries`."""

    __slots__ = (
        "_accounts", "_all", "_allows", "_clients", "_entries", "_ids", "_known", "_namespaces", "_not_accounts",
        "_not_clients", "_not_ids", "_not_namespaces", "_not_peers", "_numbers", "_peers", "_trust_domain", "addressed",
    )  # fmt: skip

    def __init__(self, trust_domain: str, known: Mapping[str, Ranges]) -> None:
        self._trust_domain = trust_domain
        self._known = known
        self._numbers: dict[tuple[bool, FromSpec], int] = {}
        self._entries: list[int] = []  # of each FromSpec, the entries that have it
        self._all = self._allows = 0
        self._accounts, self._not_accounts = Names(), Names()
        self._namespaces, self._not_namespaces = Names(), Names()
        self._ids, self._not_ids = Names(), Names()
        self._clients, self._not_clients = Nets(), Nets()
        self._peers, self._not_peers = Nets(), Nets()
        self.addressed = False  # does any ask for an address?

    def add(self, spec: FromSpec, allows: bool, entry: int) -> None:
        """`entry` is the bit of one that `spec` lets in (or out)."""
        place = self._numbers.get((allows, spec))
        if place is not None:
            self._entries[place] |= entry
            return
        bit = 1 << len(self._entries)
        self._numbers[allows, spec] = len(self._entries)
        self._entries.append(entry)
        self._all |= bit
        self._allows |= bit if allows else 0
        self._accounts.add(bit, spec.service_accounts)
        self._not_accounts.add(bit, spec.not_service_accounts)
        self._namespaces.add(bit, spec.namespaces)
        self._not_namespaces.add(bit, spec.not_namespaces)
        self._ids.add(bit, spec.spiffe_ids)
        self._not_ids.add(bit, spec.not_spiffe_ids)
        self._clients.add(bit, spec.cidrs, spec.cidr_lists, self._known)
        self._not_clients.add(bit, spec.not_cidrs, spec.not_cidr_lists, self._known)
        self._peers.add(bit, spec.peer_cidrs, spec.peer_cidr_lists, self._known)
        self._not_peers.add(bit, spec.not_peer_cidrs, spec.not_peer_cidr_lists, self._known)

    def seal(self) -> None:
        """All are in. Raises ValueError for what is no CIDR."""
        self._numbers = {}
        for nets in (self._clients, self._not_clients, self._peers, self._not_peers):
            nets.seal()
            self.addressed = self.addressed or nets.members != 0

    def entries(self, identity: str, client: str, peer: str) -> int:
        """The bits of all entries that one of its FromSpecs lets in."""
        held = self._by_identity(identity)
        if held and self.addressed:
            held &= self._by_address(self._clients, self._not_clients, client)
            held &= self._by_address(self._peers, self._not_peers, peer)
        found = 0
        while held:
            lowest = held & -held
            found |= self._entries[lowest.bit_length() - 1]
            held ^= lowest
        return found

    def _by_identity(self, identity: str) -> int:
        account, namespace = split(identity, self._trust_domain)
        held = self._all
        held &= (
            self._is(self._accounts, account) & self._is(self._namespaces, namespace) & self._is(self._ids, identity)
        )
        held &= self._is_not(self._not_accounts, account) & self._is_not(self._not_namespaces, namespace)
        return held & self._is_not(self._not_ids, identity)

    def _is(self, names: Names, name: str) -> int:
        return (names.hit(name) if name else 0) | (self._all & ~names.members)

    def _is_not(self, names: Names, name: str) -> int:
        return self._all & ~(names.hit(name) if name else names.members & self._allows)

    def _by_address(self, nets: Nets, excluded: Nets, text: str) -> int:
        if not nets.members and not excluded.members:
            return self._all
        address = number(text)
        if address == UNKNOWN:
            return self._all & ~((nets.members | excluded.members) & self._allows)
        hit = nets.hit(address) if nets.members else 0
        return (hit | (self._all & ~nets.members)) & ~(excluded.hit(address) if excluded.members else 0)


def split(identity: str, trust_domain: str) -> tuple[str, str]:
    """`<namespace>/<name>` and the namespace of a service account of this mesh; ("", "") of anybody else."""
    start = f"{_SCHEME}{trust_domain}/ns/"
    if not trust_domain or not identity.startswith(start):
        return "", ""
    parts = identity[len(start) :].split("/")
    if len(parts) != 3 or parts[1] != "sa" or not parts[0] or not parts[2]:
        return "", ""
    return f"{parts[0]}/{parts[2]}", parts[0]
