"""CIDRs as users write them: in a policy, or one a line in a ConfigMap. Used by the section `authorization`."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, TypeAlias

from msgspec import Meta

from sidewinder_operator.resources.constraints import Rule, snake
from sidewinder_operator.resources.meta import Strict
from sidewinder_operator.resources.names import ObjectName

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Cidr = Annotated[str, Meta(min_length=2, max_length=49)]  # 45 characters of the longest IPv6 address, and /128
Cidrs = Annotated[tuple[Cidr, ...], Meta(min_length=1, max_length=64)]

MOST_ENTRIES = 100_000  # of one ConfigMap, which ends at 1 MB in a cluster
MOST_BYTES = 3 << 20  # as sent: one resource is one line of the stream, which ends at 4 MB
MOST_TOLD = 5  # bad lines: who sees five looks at the whole file
_IPV4 = re.compile(r"[0-9]{1,3}(?:[.][0-9]{1,3}){3}").fullmatch
_LENGTH = re.compile(r"(?:3[0-2]|[12]?[0-9])?").fullmatch


class ConfigMapReference(Strict, frozen=True, kw_only=True):
    """A ConfigMap of the policy's own namespace."""

    name: Annotated[ObjectName, Meta(description="The ConfigMap's name.")]


class AddressList(Strict, frozen=True, kw_only=True):
    """CIDRs from a ConfigMap: one a line or separated by commas; what follows a `#` is a comment."""

    config_map_ref: Annotated[ConfigMapReference, Meta(description="Of the policy's own namespace.")]
    key: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=253,
            pattern=r"^[-._a-zA-Z0-9]+\Z",
            extra={"right": "a ConfigMap's key such as `blocked.txt`"},
            description="Which of its texts.",
        ),
    ]


Lists = Annotated[tuple[AddressList, ...], Meta(min_length=1, max_length=8)]


class Wrong(ValueError):
    """No CIDR; the text says what would be right."""


def network(text: str) -> Network:
    """The network that a CIDR or a single address means. Raises Wrong."""
    address, _, length = text.partition("/")
    if "%" in text:
        raise Wrong(f"{text!r} has a zone, which means something on one machine only")
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Wrong(f"{text!r} is no CIDR such as 10.0.0.0/8 or 2001:db8::/32") from None
    if isinstance(found, ipaddress.IPv6Network) and (mapped := found.network_address.ipv4_mapped) is not None:
        raise Wrong(f"{text!r} is an IPv4 address within IPv6: write {mapped}/{max(found.prefixlen - 96, 0)}")
    if length and not (length.isascii() and length.isdecimal() and str(int(length)) == length):
        raise Wrong(f"{text!r} has no plain length: write {found}")  # a mask such as /255.0.0.0, or /08
    if found.network_address != ipaddress.ip_address(address):
        raise Wrong(f"{text!r} has host bits: write {found}")
    return found


def addressed(field: str) -> Rule:
    """All of the list `field` are CIDRs."""
    attribute = snake(field.replace("CIDRs", "Cidrs"))

    def find(value: Any) -> Iterator[str]:
        for index, text in enumerate(getattr(value, attribute)):
            try:
                network(text)
            except Wrong as wrong:
                yield f"{field}[{index}]: {wrong}"

    cel = f"!has(self.{field}) || self.{field}.all(c, isCIDR(c) ? cidr(c) == cidr(c).masked() : isIP(c))"
    return Rule(find, f"items of {field} are CIDRs without host bits, or addresses", cel, f".{field}")


class Entries(NamedTuple):
    """What a text lists: canonical, sorted, without what lies within another; and what is wrong with it, by line."""

    cidrs: tuple[str, ...]
    wrong: tuple[str, ...] = ()


@functools.lru_cache(maxsize=64)  # texts of at most 1 MB each: every compile asks for all of them again
def entries(text: str) -> Entries:
    """The networks that a ConfigMap's text lists."""
    found: list[tuple[int, int, int]] = []  # version, first address, length: the wider of two comes first
    wrong: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.partition("#")[0].replace(",", " ").split():
            try:
                found.append(_plain(word) or _told(network(word)))
            except Wrong as why:
                wrong.append(f"line {number}: {why}")
    if len(found) > MOST_ENTRIES:
        wrong.append(f"{len(found)} entries are too many: {MOST_ENTRIES} at most")
    if len(wrong) > MOST_TOLD:
        wrong = [*wrong[:MOST_TOLD], f"{len(wrong) - MOST_TOLD} more"]
    cidrs = () if wrong else tuple(_distinct(sorted(found)))
    if (size := sum(map(len, cidrs)) + len('"",') * len(cidrs)) > MOST_BYTES:
        return Entries((), (f"{size} bytes, written out, are too many: {MOST_BYTES} at most",))
    return Entries(cidrs, tuple(wrong))


def _plain(word: str) -> tuple[int, int, int] | None:
    """The common kind without the detour: 100 000 of the others take a second. None: look at it closely."""
    address, slash, length = word.partition("/")
    if not _IPV4(address) or not _LENGTH(length) or bool(slash) != bool(length):
        return None
    try:
        first, bits = int.from_bytes(socket.inet_pton(socket.AF_INET, address)), int(length or 32)
    except OSError:
        return None
    return None if first & ((1 << (32 - bits)) - 1) else (4, first, bits)


def _told(of: Network) -> tuple[int, int, int]:
    return of.version, int(of.network_address), of.prefixlen


def _distinct(found: list[tuple[int, int, int]]) -> Iterator[str]:
    within = (0, 0)  # version and last address of the network before
    for version, first, length in found:
        if (version, first) <= within:
            continue
        wide = 32 if version == 4 else 128
        within = (version, first + (1 << (wide - length)) - 1)
        packed = first.to_bytes(wide // 8)
        yield f"{socket.inet_ntop(socket.AF_INET if version == 4 else socket.AF_INET6, packed)}/{length}"
