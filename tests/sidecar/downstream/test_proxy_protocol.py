"""PROXY protocol: HAProxy's own vectors, headers that are wrong, any split of the bytes, and nobody without one."""

from __future__ import annotations

import socket
import ssl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from sidewinder_sidecar.downstream import http1, proxy_protocol, tcp
from sidewinder_sidecar.downstream.proxy_protocol import LONGEST_V2, V1, V2, BadHeader, Header, read
from sidewinder_sidecar.settings import Limits
from tests.support.memory import backend, listener, service
from tests.support.redirected import Redirected, Transport

GET = b"GET /a HTTP/1.1\r\nHost: reviews\r\n\r\n"
LB = "10.0.0.9"


def v2(kind=0x11, body=None, command=0x21, more=b""):
    """Version 2 from 203.0.113.5:4711 to 10.1.0.5:9080, if nothing else is said."""
    if body is None:
        body = bytes((203, 0, 113, 5, 10, 1, 0, 5)) + (4711).to_bytes(2, "big") + (9080).to_bytes(2, "big")
    body += more
    return V2 + bytes((command, kind)) + len(body).to_bytes(2, "big") + body


SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
TLVS = b"\x04\x00\x05" + b"noop!" + b"\x02\x00\x03" + b"a.b"

HEADERS = {
    "v1 IPv4": (b"PROXY TCP4 203.0.113.5 10.1.0.5 4711 443\r\n", "203.0.113.5"),
    "v1 the longest of IPv4": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    "v1 the longest of IPv6": (
        b"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ),
    "v1 IPv6": (b"PROXY TCP6 2001:DB8::1 2001:db8::2 4711 443\r\n", "2001:db8::1"),
    "v1 IPv4 in IPv6": (b"PROXY TCP6 ::ffff:203.0.113.5 ::1 4711 443\r\n", "203.0.113.5"),
    "v1 port 0": (b"PROXY TCP4 203.0.113.5 10.1.0.5 0 0\r\n", "203.0.113.5"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", ""),
    "v1 unknown with anything": (b"PROXY UNKNOWN 203.0.113.5 x y z w\r\n", ""),
    "v1 the longest line": (
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535" + b" " * 48 + b"\r\n",
        "",
    ),
    "v2 IPv4": (v2(), "203.0.113.5"),
    "v2 IPv6": (v2(0x21, SIX + SIX + b"\x12\x67\x01\xbb"), "2001:db8::1"),
    "v2 IPv4 in IPv6": (v2(0x21, b"\0" * 10 + b"\xff\xff\xcb\x00\x71\x05" + SIX + b"\0\0\0\0"), "203.0.113.5"),
    "v2 with TLVs": (v2(more=TLVS), "203.0.113.5"),
    "v2 with as many as may be": (v2(more=b"\x04" + b"\0" * (LONGEST_V2 - 13)), "203.0.113.5"),
    "v2 local": (v2(0x00, b"", command=0x20), ""),
    "v2 local with an address": (v2(command=0x20), ""),
    "v2 unspecified": (v2(0x00, b"whatever"), ""),
    "v2 a Unix socket": (v2(0x31, b"/run/x".ljust(216, b"\0")), ""),
}


@pytest.mark.parametrize(("header", "client"), HEADERS.values(), ids=HEADERS)
def test_a_header_is_read_however_it_is_cut(header, client):
    for cut in range(1, len(header)):
        assert read(header[:cut]) is None
    found = read(header + GET)
    assert (found.size, found.client) == (len(header), client)


WRONG = {
    "nothing of it": GET,
    "a word like it": b"PROXI TCP4",
    "another signature": b"\r\n\r\n\x00\r\nQUIX\n!!!!",
    "v1 no words": b"PROXY \r\n",
    "v1 lower case": b"PROXY tcp4 203.0.113.5 10.1.0.5 1 2\r\n",
    "v1 a datagram": b"PROXY UDP4 203.0.113.5 10.1.0.5 1 2\r\n",
    "v1 too few": b"PROXY TCP4 203.0.113.5 10.1.0.5 1\r\n",
    "v1 too many": b"PROXY TCP4 203.0.113.5 10.1.0.5 1 2 3\r\n",
    "v1 two spaces": b"PROXY TCP4  203.0.113.5 10.1.0.5 1 2\r\n",
    "v1 tab": b"PROXY TCP4\t203.0.113.5 10.1.0.5 1 2\r\n",
    "v1 another family": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "v1 leading zeros": b"PROXY TCP4 203.0.113.005 10.1.0.5 1 2\r\n",
    "v1 a name": b"PROXY TCP4 evil.example 10.1.0.5 1 2\r\n",
    "v1 a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "v1 the other address": b"PROXY TCP4 203.0.113.5 10.1.0 1 2\r\n",
    "v1 NUL": b"PROXY TCP4 203.0.113.5\0 10.1.0.5 1 2\r\n",
    "v1 beyond ASCII": "PROXY TCP4 203.0.113.٥ 10.1.0.5 1 2\r\n".encode(),
    "v1 a port too large": b"PROXY TCP4 203.0.113.5 10.1.0.5 1 65536\r\n",
    "v1 a port with a sign": b"PROXY TCP4 203.0.113.5 10.1.0.5 +1 2\r\n",
    "v1 a port with a zero": b"PROXY TCP4 203.0.113.5 10.1.0.5 01 2\r\n",
    "v1 no port": b"PROXY TCP4 203.0.113.5 10.1.0.5 1 \r\n",
    "v1 line feed": b"PROXY TCP4 203.0.113.5 10.1.0.5 1 2\nGET / HTTP/1.1\r\n",
    "v1 without an end": b"PROXY UNKNOWN " + b"x" * 200,
    "v1 one byte too long": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v2 version 1": v2(command=0x11),
    "v2 version 3": v2(command=0x31),
    "v2 another command": v2(command=0x22),
    "v2 a datagram": v2(0x12),
    "v2 another family": v2(0x41),
    "v2 another transport": v2(0x13),
    "v2 too short": v2(0x11, b"\xcb\x00\x71\x05"),
    "v2 IPv6 too short": v2(0x21, SIX + SIX),
    "v2 too long": v2(more=b"\0" * LONGEST_V2),
    "v2 longest": V2 + b"\x21\x11\xff\xff",
}


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG)
def test_a_wrong_header_is_no_header(said):
    with pytest.raises(BadHeader):
        read(said)


@given(
    st.one_of(
        st.binary(min_size=1, max_size=60),
        st.binary(max_size=60).map(lambda end: V1 + end + b"\r\n"),
        st.binary(max_size=300).map(lambda end: V2 + end),
    )
)
@example(V2 + b"\x21\x11\x00\x0c" + b"\xff" * 12)
def test_anything_else_is_a_header_more_or_wrong_and_every_split_says_the_same(said):  # fmt: skip
    def judged(cut):
        try:
            found = read(said[:cut])
        except BadHeader as fault:
            return str(fault)
        return found if found is None else (found.size, found.client)

    verdicts = [judged(cut) for cut in range(1, len(said) + 1)]
    decided = [verdict for verdict in verdicts if verdict is not None]
    assert verdicts[: len(verdicts) - len(decided)] == [None] * (len(verdicts) - len(decided))
    assert len(set(decided)) <= 1
    if decided and isinstance(decided[0], tuple):
        size, client = decided[0]
        assert size <= 16 + LONGEST_V2
        assert client == "" or socket.inet_pton(socket.AF_INET6 if ":" in client else socket.AF_INET, client)


def hello(*protocols):
    """The first bytes of a TLS caller."""
    context = ssl.create_default_context()
    if protocols:
        context.set_alpn_protocols(protocols)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="reviews")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_another_proxy_of_the_mesh_needs_none():
    said = hello("sidewinder/h1", "sidewinder/tcp")
    assert [read(said[:cut]) for cut in range(1, len(said))] == [None] * (len(said) - 1)
    found = read(said)
    assert (found.size, found.client) == (0, "")


@pytest.mark.parametrize("offered", [(), ("h2", "http/1.1"), ("sidewinder/h3",)], ids=["none", "web", "like ours"])
def test_any_other_tls_does(offered):
    with pytest.raises(BadHeader, match="no PROXY protocol header before TLS"):
        read(hello(*offered))


def test_a_hello_without_an_end_is_not_waited_for():
    with pytest.raises(BadHeader):
        read(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + b"\0" * 17000)


# The connection.

ASKED = listener(transparent=True, pass_through=True, proxy_protocol=(9080,))
CLUSTER = "10.96.0.7"


class Behind(Redirected):
    """Connections that come as the listener takes them."""

    def arrive(self, address=CLUSTER, port=9080, peer=LB):
        connection = self.listener._accept()
        transport = Transport(connection, (address, port), peer)
        connection.connection_made(transport)
        return transport


def shop(spec=ASKED, **options):
    limits = options.pop("limits", None)
    return Behind(spec, service(backend="v1", addresses=(CLUSTER,), **options), *backend("v1", 1), limits=limits)


@pytest.mark.parametrize("protocol", ["", "HTTP"], ids=["told by its bytes", "said to be HTTP"])
@pytest.mark.parametrize("header", [HEADERS["v1 IPv4"][0], v2(more=TLVS)], ids=["v1", "v2"])
def test_the_client_is_whom_the_header_names_however_it_comes(header, protocol):
    said = header + GET
    for cut in range(1, len(said)):
        mesh = shop(protocol=protocol)
        transport = mesh.arrive()
        mesh.say(transport, said[:cut], said[cut:])
        assert isinstance(transport.protocol, http1.Connection)
        attempt = mesh.scene.attempt()
        assert (attempt.target, attempt.fields[b"x-forwarded-for"]) == (b"/a", b"203.0.113.5")
        attempt.answer(200, b"ok")
        [call] = mesh.scene.records
        assert (call.peer.address, call.peer.client) == (LB, "203.0.113.5")
        transport.lose()
        mesh.check()
        assert mesh.told == []


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0x00, b"", command=0x20)], ids=["unknown", "local"])
def test_the_load_balancers_own_words_are_its_own(header):
    mesh = shop()
    mesh.say(mesh.arrive(), header, GET)
    assert mesh.scene.attempt().fields[b"x-forwarded-for"] == LB.encode()


def test_a_relayed_connection_knows_its_client_and_loses_the_header():
    mesh = shop(protocol="TCP")
    transport = mesh.arrive()
    mesh.say(transport, v2() + b"\x00\x01", b"\x02")
    assert isinstance(transport.protocol, tcp.Connection)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    assert attempt.body == b"\x00\x01\x02"
    assert transport.protocol.peer.client == "203.0.113.5"
    transport.lose()
    assert mesh.told[0].peer.client == "203.0.113.5"


@pytest.mark.parametrize("said", WRONG.values(), ids=WRONG)
def test_nobody_comes_in_without_one(said):
    mesh = shop()
    transport = mesh.arrive()
    mesh.say(transport, said, GET)
    assert (transport.aborted, transport.sent) == (True, b"")
    [told] = mesh.told
    assert (told.error, told.listener, told.peer.address) == ("proxy_protocol", "out", LB)
    assert told.detail.startswith("the connection begins with ")
    transport.lose()
    mesh.check()
    assert mesh.scene.opened == []


def test_tls_of_the_mesh_is_nobodys_while_there_is_no_certificate_to_end_it():
    mesh = shop()
    transport = mesh.arrive()
    mesh.say(transport, hello("sidewinder/h1"))
    assert transport.aborted
    assert [told.error for told in mesh.told] == ["proxy_protocol"]


def test_other_ports_of_the_same_listener_are_not_asked():
    mesh = shop(replace(ASKED, proxy_protocol=(9443,)))
    transport = mesh.arrive()
    assert isinstance(transport.protocol, tcp.Connection)
    mesh.say(transport, GET)
    assert mesh.scene.attempt().fields[b"x-forwarded-for"] == LB.encode()


def test_a_header_that_nobody_asked_for_is_no_request():
    mesh = shop(listener(transparent=True, pass_through=True), protocol="HTTP")
    transport = mesh.arrive()
    mesh.say(transport, HEADERS["v1 IPv4"][0], GET)
    assert transport.sent.startswith(b"HTTP/1.1 400 ")


def test_a_listener_of_one_port_asks_always():
    mesh = shop(listener(default_service="shop/reviews:9080", proxy_protocol=(1,)))
    transport = mesh.arrive()
    mesh.say(transport, v2() + GET)
    assert isinstance(transport.protocol, http1.Connection)
    assert mesh.scene.attempt().fields[b"x-forwarded-for"] == b"203.0.113.5"


def test_a_second_header_is_no_request():
    mesh = shop(protocol="HTTP")
    transport = mesh.arrive()
    mesh.say(transport, v2() + HEADERS["v1 IPv4"][0] + GET)
    assert transport.sent.startswith(b"HTTP/1.1 400 ")


def test_a_header_must_come_in_time():
    mesh = shop(limits=Limits(head_seconds=5.0))
    transport = mesh.arrive()
    mesh.say(transport, b"PROXY TCP4 ")
    mesh.wait(4.9)
    assert not transport.aborted
    mesh.wait(0.2)
    assert transport.aborted
    assert [told.detail for told in mesh.told] == ["no PROXY protocol header within 5 s"]
    transport.lose()
    mesh.check()


def test_who_only_looks_whether_anybody_is_there_is_not_told():
    mesh = shop()
    transport = mesh.arrive()
    assert transport.protocol.eof_received() is False
    transport.lose()
    assert mesh.told == []
    mesh.check()


def test_a_header_that_breaks_off_is_told():
    mesh = shop()
    transport = mesh.arrive()
    mesh.say(transport, v2()[:20])
    transport.protocol.eof_received()
    transport.lose()
    assert [told.error for told in mesh.told] == ["proxy_protocol"]
    mesh.check()


def test_one_too_many_is_turned_away():
    mesh = shop(limits=Limits(connections=1))
    mesh.arrive()
    assert mesh.arrive().aborted
    assert mesh.listener.turned_away == 1


def test_draining_ends_those_that_have_said_nothing():
    mesh = shop()
    silent, speaking = mesh.arrive(), mesh.arrive()
    mesh.say(speaking, V1)
    mesh.listener.drain()
    assert silent.eof
    assert not speaking.eof
    assert "before its header" in repr(silent.protocol)


def test_what_a_header_says():
    assert (Header(3).client, Header(3, "203.0.113.5").size) == ("", 3)
    assert proxy_protocol.LONGEST_V1 == 107
