"""addresses: CIDRs in policies and in ConfigMaps; what is wrong is told with what would be right."""

from __future__ import annotations

import ipaddress
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_operator.resources.addresses import MOST_BYTES, MOST_ENTRIES, MOST_TOLD, Wrong, entries, network
from sidewinder_sidecar.filters.authorize.addresses import span
from sidewinder_sidecar.snapshot.stream import LONGEST_LINE
from tests.support.examples import examples

GOOD = [("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("2001:DB8::/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"), ("::/0", "::/0"), ("2001:db8::1", "2001:db8::1/128")]  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), GOOD)
def test_networks(written: str, meant: str) -> None:
    assert str(network(written)) == meant
    assert entries(written).cidrs == (meant,)


WRONG = [
    ("no address", "office", "is no CIDR such as"),
    ("too long", "10.0.0.0/33", "is no CIDR such as"),
    ("host bits", "10.1.2.3/8", "has host bits: write 10.0.0.0/8"),
    ("host bits of IPv6", "2001:db8::1/32", "has host bits: write 2001:db8::/32"),
    ("a mask", "10.0.0.0/255.0.0.0", "has no plain length: write 10.0.0.0/8"),
    ("a length with a zero", "10.0.0.0/08", "has no plain length: write 10.0.0.0/8"),
    ("a zone", "fe80::1%eth0", "has a zone"),
    ("IPv4 in IPv6", "::ffff:10.0.0.0/104", "is an IPv4 address within IPv6: write 10.0.0.0/8"),
    ("leading zeros", "010.0.0.0/8", "is no CIDR such as"),
    ("nothing after the slash", "10.0.0.0/", "is no CIDR such as"),
    ("nothing before the slash", "/8", "is no CIDR such as"),
]


@pytest.mark.parametrize(("written", "message"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_what_is_none(written: str, message: str) -> None:
    with pytest.raises(Wrong, match=message):
        network(written)
    assert entries(f"10.0.0.0/8\n{written}\n").wrong[0].startswith(f"line 2: {written!r}")


def test_a_text_of_a_config_map() -> None:
    text = "# the office\n203.0.113.0/24, 198.51.100.7 # and the gate\n\n2001:db8::/32\r\n203.0.113.5\n10.0.0.0/8"
    assert entries(text) == (("10.0.0.0/8", "198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"), ())


def test_an_empty_text_lists_nobody() -> None:
    assert entries("# nobody yet\n") == ((), ())


def test_a_bad_line_spoils_the_list() -> None:
    found = entries("10.0.0.0/8\nten\n" * (MOST_TOLD + 3))
    assert found.cidrs == ()
    assert len(found.wrong) == MOST_TOLD + 1
    assert found.wrong[0] == "line 2: 'ten' is no CIDR such as 10.0.0.0/8 or 2001:db8::/32"
    assert found.wrong[-1] == "3 more"


def test_too_many() -> None:
    text = "\n".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MOST_ENTRIES + 1))
    assert entries(text).wrong == (f"{MOST_ENTRIES + 1} entries are too many: {MOST_ENTRIES} at most",)


def test_too_long_for_one_line_of_the_stream() -> None:
    text = "\n".join(
        f"2001:db8:1111:2222:3333:4444:{n >> 12:04x}:{n & 0xFFF | 0x1000:04x}" for n in range(MOST_ENTRIES)
    )
    (only,) = entries(text).wrong
    assert only.endswith(f"bytes, written out, are too many: {MOST_BYTES} at most")
    assert MOST_BYTES < LONGEST_LINE


def test_many_are_read_once_and_in_time() -> None:
    text = "\n".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MOST_ENTRIES))
    before = time.process_time()
    first = entries(text)
    assert time.process_time() - before < 4.0  # 0.3 s here: compile waits for it
    assert len(first.cidrs) == MOST_ENTRIES
    assert entries(text) is first


networks = st.builds(
    lambda address, length: ipaddress.ip_network((address, length), strict=False),
    st.one_of(st.ip_addresses(v=4, network="10.0.0.0/14"), st.ip_addresses(v=6, network="2001:db8::/60")),
    st.integers(8, 32),
)


@examples(100)
@given(st.lists(networks, min_size=1, max_size=10))
def test_the_same_addresses_in_fewer_lines(written: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
    found = [ipaddress.ip_network(each) for each in entries("\n".join(map(str, written))).cidrs]
    assert all(span(str(each)) for each in found), "the sidecar reads what is sent"
    by_version = [[each for each in written if each.version == version] for version in (4, 6)]
    for version, these in zip((4, 6), by_version, strict=True):
        own = [each for each in found if each.version == version]
        assert [*ipaddress.collapse_addresses(own)] == [*ipaddress.collapse_addresses(these)]
        assert all(not one.overlaps(other) for one, other in itertools.pairwise(own))
