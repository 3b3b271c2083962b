"""`sidewinder-sidecar capture …`: read the arguments, write the rules, tell them. The init container's only act.

Every mistake in the arguments is printed at once, with what would be right, before anything is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from typing import TypeVar

from sidewinder_sidecar.capture.netfilter import Batch, Refused
from sidewinder_sidecar.capture.rules import Family, Network, Wanted, rules

FAMILIES: tuple[Family, ...] = (4, 6)
_Item = TypeVar("_Item")


class Wrong(ValueError):
    """Arguments that cannot be meant; all of them, a line each."""


def main(words: Sequence[str]) -> int:
    """0 when the rules stand; 2 for wrong arguments, 1 when the kernel refuses."""
    options = _parser().parse_args(words)
    try:
        wanted = read(options)
    except Wrong as mistakes:
        sys.stderr.write(f"{mistakes}\n")
        return 2
    batch = Batch()
    for family in FAMILIES:
        batch.table(family, rules(wanted, family))
    try:
        batch.send()
    except Refused as why:
        sys.stderr.write(f"the redirect rules could not be written: {why}\n")
        return 1
    for family in FAMILIES:
        for rule in rules(wanted, family):
            sys.stdout.write(f"IPv{family} {rule}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sidewinder-sidecar capture", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--uid", required=True, metavar="UID", help="whom the proxy runs as")
    add("--inbound-port", required=True, metavar="PORT", help="where the proxy takes what comes to the pod")
    add("--outbound-port", required=True, metavar="PORT", help="where it takes what the pod sends")
    add("--skip-inbound-ports", default="", metavar="PORT,…", help="ports that stay direct: probes, metrics")
    add("--skip-outbound-ports", default="", metavar="PORT,…", help="destination ports that stay direct")
    add("--skip-outbound-networks", default="", metavar="CIDR,…", help="destinations that stay direct")
    return parser


def read(options: argparse.Namespace) -> Wanted:
    """The arguments as numbers and networks. Raises Wrong with every mistake."""
    mistakes: list[str] = []

    def all_of(name: str, parse: Callable[[str], _Item], right: str) -> tuple[_Item, ...]:
        found = []
        for word in filter(None, (part.strip() for part in str(getattr(options, name)).split(","))):
            try:
                found.append(parse(word))
            except ValueError:
                mistakes.append(f"--{name.replace('_', '-')}: {word!r} is not {right}")
        return tuple(found)

    port = "a port from 1 to 65535"
    single = [all_of(name, parse, right) for name, parse, right in (
        ("uid", _uid, "a user id from 1 to 65535 (root is not told from the applications)"),
        ("inbound_port", _port, port),
        ("outbound_port", _port, port),
    )]  # fmt: skip
    skip_inbound = all_of("skip_inbound_ports", _port, port)
    skip_outbound = all_of("skip_outbound_ports", _port, port)
    networks = all_of("skip_outbound_networks", _network, "a network such as 192.0.2.0/24 or 2001:db8::/32")
    if not mistakes and any(len(found) != 1 for found in single):
        mistakes.append("--uid, --inbound-port and --outbound-port take one value each")
    if not mistakes and single[1] == single[2]:
        mistakes.append("--inbound-port and --outbound-port must differ")
    if mistakes:
        raise Wrong("\n".join(mistakes))
    (uid,), (inbound,), (outbound,) = single
    return Wanted(uid, inbound, outbound, skip_inbound, skip_outbound, networks)


def _port(word: str) -> int:
    return _within(word, 65535)


def _uid(word: str) -> int:
    return _within(word, 65535)


def _within(word: str, most: int) -> int:
    if not word.isascii() or not word.isdecimal() or not 1 <= int(word) <= most:
        raise ValueError(word)
    return int(word)


def _network(word: str) -> Network:
    return ip_network(word)
