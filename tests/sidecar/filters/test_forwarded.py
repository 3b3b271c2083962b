import pytest

from sidewinder_sidecar.filters import forwarded
from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from tests.support.calls import call, rows

FOR, PROTO, HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"


def told(hops, *given, peer=None, authority=b"shop.example"):
    listener = ListenerSpec(name="in", direction="Inbound", address="0.0.0.0", port=80, trusted_hops=hops)
    asked = call(b"/", *given, peer=peer or Peer("192.0.2.7", 4000), authority=authority)
    forwarded.build(listener)(asked)
    return {name.lower(): value for name, value in rows(asked.request.fields)}


FORGED = ((FOR, b"1.1.1.1"), (PROTO, b"https"), (HOST, b"evil"), (b"Forwarded", b"for=1.1.1.1"), (FOR, b"2.2.2.2"))
CERTIFICATE = (b"X-Forwarded-Client-Cert", b"URI=spiffe://cluster.local/ns/bookinfo/sa/productpage")


def test_nobody_is_believed():
    assert told(0, *FORGED, CERTIFICATE) == {FOR: b"192.0.2.7", PROTO: b"http", HOST: b"shop.example"}


def test_tls_and_ipv6_and_no_host():
    found = told(0, *FORGED, peer=Peer("2001:db8::1", 1, secure=True), authority=b"")
    assert found == {FOR: b"2001:db8::1", PROTO: b"https"}


def test_a_unix_socket_has_no_address():
    assert told(0, peer=Peer())[FOR] == b"unknown"


HOPS = {
    "one hop": (1, b"9.9.9.9, 203.0.113.5", b"203.0.113.5, 192.0.2.7"),
    "two hops": (2, b"9.9.9.9, 203.0.113.5", b"9.9.9.9, 203.0.113.5, 192.0.2.7"),
    "fewer than believed": (3, b"203.0.113.5", b"203.0.113.5, 192.0.2.7"),
    "with ports": (1, b"203.0.113.5:1234", b"203.0.113.5:1234, 192.0.2.7"),
    "unreadable is a hop": (2, b"9.9.9.9, <script>, 203.0.113.5", b"unknown, 203.0.113.5, 192.0.2.7"),
    "empty entries are none": (1, b"203.0.113.5,, ", b"203.0.113.5, 192.0.2.7"),
}


@pytest.mark.parametrize(("hops", "given", "wanted"), HOPS.values(), ids=HOPS)
def test_the_last_hops_stay(hops, given, wanted):
    assert told(hops, (FOR, given))[FOR] == wanted


def test_several_fields_are_one_list():
    assert told(2, (FOR, b"1.1.1.1"), (FOR, b"2.2.2.2"))[FOR] == b"1.1.1.1, 2.2.2.2, 192.0.2.7"


def test_a_believed_proxy_tells_scheme_and_host():
    found = told(1, (FOR, b"203.0.113.5"), (PROTO, b"HTTPS"), (HOST, b"www.example:8443"))
    assert (found[PROTO], found[HOST]) == (b"https", b"www.example:8443")


def test_what_cannot_be_read_is_replaced():
    found = told(1, (PROTO, b"gopher"), (HOST, b"a b"))
    assert found == {FOR: b"192.0.2.7", PROTO: b"http", HOST: b"shop.example"}


def test_forwarded_is_understood_and_continued():
    given = b'for=9.9.9.9, For="[2001:db8::5]:4711";proto=https;host="www.example:8443";by=_gw'
    found = told(1, (b"Forwarded", given))
    assert found[FOR] == b"[2001:db8::5]:4711, 192.0.2.7"
    assert (found[PROTO], found[HOST]) == (b"https", b"www.example:8443")
    assert found[b"forwarded"] == (
        b'for="[2001:db8::5]:4711";by=_gw;proto=https;host="www.example:8443", '
        b"for=192.0.2.7;proto=http;host=shop.example"
    )


@pytest.mark.parametrize("given", [b'for="', b"for", b"=x", b'for="a"b', b"for=a b", b";;,,", b'for="\\'])
def test_a_forwarded_that_cannot_be_read_tells_nothing(given):
    found = told(1, (b"Forwarded", given))
    assert found[FOR] == b"192.0.2.7"
    assert found[b"forwarded"] == b"for=192.0.2.7;proto=http;host=shop.example"


def test_an_ipv6_address_is_written_as_the_rfc_wants_it():
    found = told(1, (b"Forwarded", b"for=203.0.113.5"), peer=Peer("2001:db8::1", 1))
    assert found[b"forwarded"] == b'for=203.0.113.5, for="[2001:db8::1]";proto=http;host=shop.example'


def test_quoted_separators_do_not_split():
    assert forwarded.parse(b'for="a,b;c";proto=http') == [{b"for": b"unknown", b"proto": b"http"}]


CLIENTS = {
    "nobody is believed": (0, b"203.0.113.5", "192.0.2.7"),
    "no entry": (1, None, "192.0.2.7"),
    "an empty list": (1, b" , ", "192.0.2.7"),
    "one hop": (1, b"203.0.113.5", "203.0.113.5"),
    "forged further left": (1, b"10.0.0.1, 203.0.113.5", "203.0.113.5"),
    "two hops": (2, b"10.0.0.1, 203.0.113.5, 198.51.100.1", "203.0.113.5"),
    "fewer than believed": (2, b"203.0.113.5", "203.0.113.5"),
    "with a port": (1, b"203.0.113.5:4711", "203.0.113.5"),
    "IPv6": (1, b"2001:DB8:0:0::1", "2001:db8::1"),
    "IPv6 in brackets": (1, b"[2001:db8::1]", "2001:db8::1"),
    "IPv6 with a port": (1, b"[2001:db8::1]:4711", "2001:db8::1"),
    "IPv4 in IPv6": (1, b"::ffff:203.0.113.5", "203.0.113.5"),
    "unknown": (1, b"unknown", ""),
    "a name": (1, b"office.example", ""),
    "a name with a port": (1, b"203.0.113.5:http", ""),
    "brackets and more": (1, b"[2001:db8::1]x", ""),
    "leading zeros": (1, b"203.0.113.05", ""),
    "fewer numbers": (1, b"203.0.113", ""),
    "a zone": (1, b"fe80::1%eth0", ""),
    "not to be read": (1, b"203.0.113.5 10.0.0.1", ""),
}


@pytest.mark.parametrize(("hops", "given", "wanted"), CLIENTS.values(), ids=CLIENTS)
def test_the_client_is_who_the_believed_ones_name(hops, given, wanted):
    listener = ListenerSpec(name="in", direction="Inbound", address="0.0.0.0", port=80, trusted_hops=hops)
    asked = call(b"/", *([(FOR, given)] if given is not None else []))
    forwarded.build(listener)(asked)
    assert forwarded.client(asked) == wanted


def test_a_client_behind_proxy_protocol_is_the_one_that_is_named():
    peer = Peer("192.0.2.7", 4000)
    peer.stands_for("203.0.113.5")
    assert told(0, *FORGED, peer=peer)[FOR] == b"203.0.113.5"
    asked = call(b"/", peer=peer)
    forwarded.replace(asked)
    assert forwarded.client(asked) == "203.0.113.5"
    assert told(1, (FOR, b"198.51.100.1"), peer=peer)[FOR] == b"198.51.100.1, 203.0.113.5"


def test_who_wrote_forwarded_instead_is_understood():
    asked = call(b"/", (b"Forwarded", b'for=10.0.0.1, for="[2001:db8::1]:4711"'))
    forwarded.follow(asked, 1)
    assert forwarded.client(asked) == "2001:db8::1"


def test_what_else_is_told_about_a_call_stays():
    asked = call(b"/", (FOR, b"203.0.113.5"), attributes={"claims": {}})
    forwarded.follow(asked, 1)
    assert asked.attributes == {"claims": {}, "client": "203.0.113.5"}


def test_the_meshs_own_tls_is_not_the_callers():
    inside = Peer("192.0.2.7", 4000, secure=True, identity="spiffe://cluster.local/ns/shop/sa/web")
    assert told(0, peer=inside)[PROTO] == b"http"
    assert told(1, (PROTO, b"https"), peer=inside)[PROTO] == b"https"
