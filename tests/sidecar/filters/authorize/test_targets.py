"""What is called: hosts and paths as requests have them. That all combine rightly is held against a model in
test_engine."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters.authorize.targets import MOST_HOSTS, Hosts, Methods, Paths, hostname
from sidewinder_sidecar.snapshot.authorization import PathCondition, ToSpec

AUTHORITIES = [
    (b"shop.example", b"shop.example"),
    (b"shop.example:9080", b"shop.example"),
    (b"SHOP.Example.:80", b"shop.example"),
    (b"[2001:db8::1]:80", b"[2001:db8::1]"),
    (b"[2001:db8::1]", b"[2001:db8::1]"),
    (b"10.0.0.1:80", b"10.0.0.1"),
    (b"", b""),
]


@pytest.mark.parametrize(("authority", "expected"), AUTHORITIES)
def test_the_host_of_an_authority(authority: bytes, expected: bytes) -> None:
    assert hostname(authority) == expected


HOSTS = [
    ("as it is", ("shop.example",), b"shop.example:80", True),
    ("in capitals", ("shop.example",), b"SHOP.EXAMPLE", True),
    ("with a last dot", ("shop.example",), b"shop.example.", True),
    ("another that ends so", ("shop.example",), b"evil-shop.example", False),
    ("one below", ("shop.example",), b"a.shop.example", False),
    ("any label", ("*.example",), b"shop.example", True),
    ("any labels", ("*.example",), b"a.shop.example", True),
    ("no label", ("*.example",), b"example", False),
    ("an empty label", ("*.example",), b".example", False),
    ("another that ends so, with labels", ("*.example",), b"a.evilexample", False),
]


@pytest.mark.parametrize(("wanted", "authority", "expected"), [each[1:] for each in HOSTS],
                         ids=[each[0] for each in HOSTS])  # fmt: skip
def test_hosts(wanted: tuple[str, ...], authority: bytes, expected: bool) -> None:
    hosts = Hosts()
    hosts.add(1, ToSpec(hosts=wanted))
    hosts.add(2, ToSpec(not_hosts=wanted))
    assert hosts.seal(0b111, 0b111)
    assert hosts.entries(authority) == 0b100 | (0b001 if expected else 0b010)
    assert hosts.entries(authority) == hosts.entries(authority)


def test_without_a_host_a_deny_holds_and_an_allow_does_not() -> None:
    hosts = Hosts()
    for bit, spec in ((1, ToSpec(hosts=("a",))), (2, ToSpec(not_hosts=("a",))), (4, ToSpec(hosts=("a",)))):
        hosts.add(bit, spec)
    hosts.seal(0b111, 0b011)
    assert hosts.entries(b"") == 0b100


def test_hosts_are_kept_within_a_bound() -> None:
    hosts = Hosts()
    hosts.add(1, ToSpec(hosts=("*.example",)))
    hosts.seal(1, 1)
    assert all(hosts.entries(b"h%d.example" % n) == 1 for n in range(MOST_HOSTS * 2 + 1))
    assert len(hosts._kept) <= MOST_HOSTS
    before = len(hosts._kept)
    assert hosts.entries(b"x" * 300 + b".example") == 1
    assert len(hosts._kept) == before


PATHS = [
    ("exact", PathCondition("/a", "Exact"), [b"/a"], [b"/a/", b"/a/b", b"/ab", b"/", b"/A"]),
    ("prefix", PathCondition("/a"), [b"/a", b"/a/", b"/a/b"], [b"/ab", b"/", b"/b/a"]),
    ("a last slash means nothing", PathCondition("/a/"), [b"/a", b"/a/", b"/a/b"], [b"/ab", b"/"]),
    ("everything", PathCondition("/"), [b"/", b"/a", b"/a/b", b"*"], [b""]),
]


@pytest.mark.parametrize(("condition", "good", "bad"), [each[1:] for each in PATHS], ids=[each[0] for each in PATHS])
def test_paths(condition: PathCondition, good: list[bytes], bad: list[bytes]) -> None:
    paths = Paths()
    paths.add(1, ToSpec(paths=(condition,)))
    paths.add(2, ToSpec(paths=(PathCondition("/a/b/c/d"), PathCondition("/zz", "Exact"))))  # deeper than all
    paths.seal(0b11, 0b11)
    assert [path for path in good if not paths.entries(path) & 1] == []
    # what is no path at all is taken by what takes every path, as in the router
    assert [path for path in bad if path and paths.entries(path) & 1] == []


def test_a_prefix_holds_of_an_exact_path_of_another() -> None:
    paths = Paths()
    paths.add(1, ToSpec(paths=(PathCondition("/a"),)))
    paths.add(2, ToSpec(paths=(PathCondition("/a/b", "Exact"),)))
    paths.add(4, ToSpec(not_paths=(PathCondition("/a/b", "Exact"),)))
    paths.add(8, ToSpec(paths=(PathCondition("/a"),), not_paths=(PathCondition("/a/b"),)))
    paths.seal(0b1111, 0b1111)
    assert [paths.entries(path) for path in (b"/a/b", b"/a/b/", b"/a/c", b"/x")] == [0b0011, 0b0101, 0b1101, 0b0100]


def test_without_a_path_a_deny_holds_and_an_allow_does_not() -> None:
    paths = Paths()
    for bit in (1, 2):  # an Allow, a Deny
        paths.add(bit, ToSpec(paths=(PathCondition("/a"),)))
    paths.add(4, ToSpec())
    paths.seal(0b111, 0b101)
    assert paths.entries(b"*") == 0b110
    assert paths.entries(b"shop.example:80") == 0b110


def test_methods_compare_as_they_are() -> None:
    methods = Methods()
    methods.add(1, ToSpec(methods=("GET",)))
    methods.add(2, ToSpec(not_methods=("GET",)))
    assert methods.seal(0b11)
    assert [methods.table.get(each, methods.other) for each in (b"GET", b"get", b"POST")] == [0b01, 0b10, 0b10]
