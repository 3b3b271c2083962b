"""Addresses as numbers, and sets of them: held against `ipaddress`."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.filters.authorize.addresses import AT_ONCE, UNKNOWN, V6, Labels, Ranges, number, read, span
from tests.support.examples import examples


def ranges(cidrs: tuple[str, ...]) -> Ranges:
    reading = read(cidrs)
    while True:
        try:
            next(reading)
        except StopIteration as done:
            found: Ranges = done.value
            return found


NUMBERS = [
    ("IPv4", "10.0.0.1", 0x0A000001),
    ("the first", "0.0.0.0", 0),
    ("IPv6", "2001:db8::1", V6 | 0x20010DB8 << 96 | 1),
    ("the first of IPv6", "::", V6),
    ("IPv4 in IPv6", "::ffff:10.0.0.1", 0x0A000001),
    ("a zone", "fe80::1%eth0", V6 | 0xFE80 << 112 | 1),
    ("nothing", "", UNKNOWN),
    ("unknown", "unknown", UNKNOWN),
    ("a port", "10.0.0.1:80", UNKNOWN),
    ("too few parts", "10.1", UNKNOWN),
    ("leading zeros", "010.0.0.1", UNKNOWN),
    ("not ASCII", "１0.0.0.1", UNKNOWN),
    ("a NUL", "10.0.0.1\0", UNKNOWN),
]


@pytest.mark.parametrize(("text", "expected"), [each[1:] for each in NUMBERS], ids=[each[0] for each in NUMBERS])
def test_numbers(text: str, expected: int) -> None:
    assert number(text) == expected


WRONG = ["", "10.0.0.0/33", "10.0.0.1/24", "10.0.0.0/-1", "2001:db8::/129", "2001:db8::1/64", "ten", "10.0.0.0/8/8",
         "::ffff:10.0.0.0/104", "10.0.0.0/"]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_no_cidr(text: str) -> None:
    with pytest.raises(ValueError, match="is no CIDR"):
        span(text)


def network(text: str, length: int) -> str:
    return str(ipaddress.ip_network((text, length), strict=False))


v4 = st.builds(network, st.ip_addresses(v=4, network="10.0.0.0/13").map(str), st.integers(0, 32))
near = st.integers(0, 2**68 - 1).map(lambda low: str(ipaddress.IPv6Address(0x20010DB8 << 96 | low)))
v6 = st.builds(network, near, st.integers(0, 128))
networks = st.lists(st.one_of(v4, v6, v4.filter(lambda each: not each.endswith("/0"))), max_size=12).map(tuple)


def around(cidrs: tuple[str, ...]) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Every first and last address, and their neighbours."""
    found = set()
    for each in map(ipaddress.ip_network, cidrs):
        first, last = int(each.network_address), int(each.broadcast_address)
        most = (1 << each.max_prefixlen) - 1
        for value in (first - 1, first, last, last + 1):
            if 0 <= value <= most:
                found.add(type(each.network_address)(value))
    return {each for each in found if getattr(each, "ipv4_mapped", None) is None}


@examples(200)
@given(networks)
def test_a_list_holds_what_it_holds(cidrs: tuple[str, ...]) -> None:
    found = ranges(cidrs)
    for address in around((*cidrs, "10.1.2.3/32", "2001:db8::1/128")):
        expected = any(address in ipaddress.ip_network(each) for each in cidrs)
        assert found.holds(number(str(address))) is expected, address


@examples(200)
@given(st.lists(networks, max_size=5))
def test_many_lists_at_once(lists: list[tuple[str, ...]]) -> None:
    labels = Labels((1 << place, cidrs) for place, cidrs in enumerate(lists))
    for address in around(tuple(each for cidrs in lists for each in cidrs) or ("10.0.0.0/8",)):
        expected = sum(
            1 << place
            for place, cidrs in enumerate(lists)
            if any(address in ipaddress.ip_network(each) for each in cidrs)
        )
        assert labels.of(number(str(address))) == expected, address


def test_a_long_list_is_read_in_steps() -> None:
    cidrs = tuple(f"10.{n >> 8}.{n & 255}.0/25" for n in range(5 * AT_ONCE))
    assert sum(1 for _ in read(cidrs)) >= 10
    found = ranges(cidrs)
    assert repr(found) == "<Ranges 5000 of IPv4, 0 of IPv6>"
    assert found.holds(number("10.19.135.127"))
    assert not found.holds(number("10.19.135.128"))


def test_what_touches_is_one() -> None:
    assert repr(ranges(("10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16"))) == "<Ranges 1 of IPv4, 0 of IPv6>"


def test_the_order_of_a_list_means_nothing() -> None:
    assert ranges(("192.0.2.0/24", "10.0.0.0/8")).holds(number("10.9.9.9"))
