"""Which service a request at a listener is for, and what may be dialled from there."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import NAMELESS, Peer, Reply, Request
from sidewinder_sidecar.plan.listeners import Listener, authority_of
from sidewinder_sidecar.plan.services import Service, Table
from tests.support.memory import PEER, listener, service


def request(authority, upgrade=b""):
    made = Request(b"GET", b"/", authority, fields())
    made.upgrade = upgrade
    return made


def made(default=False, **options):
    owner = Service(service(), (), None)
    table = Table((owner,))
    list(table.compile())
    return Listener(listener(**options), table, Service(service(name="default"), (), None) if default else None)


def test_the_table_then_the_default_then_nobody():
    assert made().find(b"reviews:9080").name == "shop/reviews:9080"
    assert made().find(b"other") is None
    assert made(default=True).find(b"other").name == "default"
    assert made(default=True).find(b"reviews:9080").name == "shop/reviews:9080"


def test_what_was_found_is_remembered_what_was_not_is_not():
    one = made()
    one.find(b"reviews.:9080")
    one.find(b"other")
    assert list(one.known) == [b"reviews.:9080"]


@pytest.mark.parametrize(
    ("authority", "to"),
    [
        (b"example.org", ("example.org", 80)),
        (b"example.org:8443", ("example.org", 8443)),
        (b"example.org.", ("example.org", 80)),
        (b"[2001:db8::1]:81", ("2001:db8::1", 81)),
        (b"[2001:db8::1]", ("2001:db8::1", 80)),
        (b"", "bad_request"),
        (b":80", "bad_request"),
        (b"a:b", "bad_request"),
        (b"a:0", "bad_request"),
        (b"a:65536", "bad_request"),
        (b"localhost:15001", "loop"),
        (b"[::1]:15001", "loop"),
        (b"localhost:15002", ("localhost", 15002)),
    ],
)
def test_what_may_be_dialled(authority, to):
    one = made(pass_through=True)
    found = one.outside(request(authority), PEER, {"out": one})
    assert (found.error if isinstance(found, Reply) else found) == to


def test_only_where_it_is_allowed():
    assert made().outside(request(b"example.org"), PEER, {}).error == "no_route"
    assert "Outbound 127.0.0.1:15001" in repr(made())


def transparent(*specs, headless=(), **options):
    services = tuple(Service(spec, (), None) for spec in specs)
    table = Table(services)
    list(table.compile())
    by_endpoint = {to: next(one for one in services if one.name == name) for to, name in headless}
    spec = replace(listener(transparent=True, pass_through=True), **options)
    return Listener(spec, table, None, by_endpoint)


def caller(*to, address="10.1.0.5"):
    peer = Peer(address, 4000)
    peer.destination = to
    return peer


CALLED = (
    service(name="web", addresses=("10.96.0.7", "FD00:96:0:0::7")),
    service(name="late", addresses=("10.96.0.7",)),
    service(name="set", domains=("set",), headless=True),
    service(name="else", domains=("else",)),  # only a name for another host
)
DIALLED = ((("10.1.0.9", 5432), "set"),)


@pytest.mark.parametrize(
    ("to", "authority", "name"),
    [
        (("10.96.0.7", 9080), b"", "web"),
        (("fd00:96::7", 9080), b"anybody", "web"),
        (("10.96.0.7", 80), b"", None),
        (("10.1.0.9", 5432), b"", "set"),
        (("10.1.0.9", 9080), b"set:9080", None),  # not one of its endpoints
        (("192.0.2.1", 9080), b"else:9080", "else"),
        (("192.0.2.1", 80), b"else:9080", None),  # on another port than it said
        (("192.0.2.1", 9080), b"web:9080", None),  # went elsewhere, whatever it says
        (NAMELESS, b"web:9080", None),
    ],
)
def test_a_redirected_connection_finds_its_service(to, authority, name):
    found = transparent(*CALLED, headless=DIALLED).reach(to, authority)
    assert (found.name if found else None) == name


def test_only_what_an_address_found_is_remembered():
    one = transparent(*CALLED)
    one.reach(("10.96.0.7", 9080))
    one.reach(("192.0.2.1", 9080), b"else:9080")
    assert list(one.reached) == [("10.96.0.7", 9080)]


def test_inbound_the_port_alone_decides():
    one = transparent(service(name="inbound-9080"), direction="Inbound")
    assert one.reach(("10.1.0.5", 9080)).name == one.reach(("fd00::5", 9080), b"x").name == "inbound-9080"
    assert one.reach(("10.1.0.5", 81), b"reviews:9080") is None
    assert one.reach(NAMELESS) is None


@pytest.mark.parametrize(
    ("direction", "to", "peer", "passes", "found"),
    [
        ("Outbound", ("192.0.2.1", 443), "10.1.0.5", True, ("192.0.2.1", 443)),
        ("Outbound", ("192.0.2.1", 443), "10.1.0.5", False, "no_route"),
        ("Outbound", ("10.1.0.5", 8080), "10.1.0.5", False, ("10.1.0.5", 8080)),
        ("Outbound", ("10.1.0.5", 15001), "10.1.0.5", True, "loop"),
        ("Outbound", ("192.0.2.1", 15001), "10.1.0.5", True, ("192.0.2.1", 15001)),  # somebody else's
        ("Outbound", NAMELESS, "10.1.0.5", True, "loop"),
        ("Inbound", ("10.1.0.5", 9999), "10.1.0.7", True, ("10.1.0.5", 9999)),
        ("Inbound", ("10.1.0.5", 9999), "10.1.0.7", False, "no_route"),
        ("Inbound", ("10.1.0.5", 15001), "10.1.0.7", True, "loop"),
    ],
)
def test_what_no_service_owns_goes_on_to_where_it_wanted(direction, to, peer, passes, found):
    one = transparent(direction=direction, pass_through=passes)
    got = one.outside(request(b"reviews:9080"), caller(*to, address=peer), {"out": one})
    assert (got.error if isinstance(got, Reply) else got) == found


def test_a_connect_in_the_middle_of_a_connection_is_refused():
    one = transparent()
    found = one.outside(request(b"example.org:443", b"connect"), caller("192.0.2.1", 3128), {"out": one})
    assert (found.error, found.status) == ("no_route", 404)


def test_how_a_destination_is_told():
    assert [authority_of(to) for to in (("10.0.0.1", 80), ("fd00::1", 80))] == ["10.0.0.1:80", "[fd00::1]:80"]
