"""What first bytes are, in whichever pieces they come, and where a redirected connection wanted to go."""

from __future__ import annotations

import errno
import socket
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.downstream import sniff
from sidewinder_sidecar.messages import NAMELESS


def hello(name="api.example.org"):
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    engine = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    return outgoing.read()


HELLO = hello()
POSTGRES = struct.pack(">ii", 8, 80877103)  # SSLRequest
SPOKEN = [
    (b"GET / HTTP/1.1\r\n", sniff.HTTP1),
    (b"GET / HTTP/1.0\n", sniff.HTTP1),
    (b"OPTIONS * HTTP/1.1\r\n", sniff.HTTP1),
    (b"M-SEARCH / HTTP/1.1\r\n", sniff.HTTP1),
    (b"GET / HTTP/3.0\r\n", sniff.HTTP1),  # its parser says what is wrong
    (b"PRI * HTTP/2.0\r\n\r\nX", sniff.HTTP1),
    (b"GET /" + b"a" * sniff.LONGEST_LINE, sniff.HTTP1),
    (b"CONNECT example.org:443 HTTP/1.1\r\n", sniff.TO_PROXY),
    (b"GET http://example.org/ HTTP/1.1\r\n", sniff.TO_PROXY),
    (b"CONNECT [::1]:443 HTTP/1.1\r\n", sniff.TO_PROXY),
    (sniff.PREFACE, sniff.HTTP2),
    (HELLO, sniff.TLS),
    (b"\x16\x03\x01\x00\x00\x02", sniff.OTHER),  # a handshake that begins with a server's word
    (b"\x16\x02", sniff.OTHER),
    (POSTGRES, sniff.OTHER),
    (b"*1\r\n$4\r\nPING\r\n", sniff.OTHER),  # Redis
    (b"PING\r\n", sniff.OTHER),
    (b"SET key value\r\n", sniff.OTHER),
    (b"get / of a word\r\n", sniff.OTHER),
    (b"carbon.metric 42 1700000000\n", sniff.OTHER),
    (b"A" * sniff.LONGEST_METHOD, sniff.OTHER),
    (b"A word" + b"a" * sniff.LONGEST_LINE, sniff.OTHER),
    (b"GET \r\n", sniff.OTHER),
    (b" GET / HTTP/1.1\r\n", sniff.OTHER),
    (b"\r\nGET / HTTP/1.1\r\n", sniff.OTHER),
    (b"\x00", sniff.OTHER),
]  # fmt: skip


@pytest.mark.parametrize(("said", "verdict"), SPOKEN)
def test_first_bytes_are_told_and_no_piece_of_them_is_told_otherwise(said, verdict):
    assert sniff.judge(said) == verdict
    for length in range(1, len(said)):
        assert sniff.judge(said[:length]) in (sniff.MORE, verdict), length


@pytest.mark.parametrize("said", [b"G", b"GET", b"GET ", b"GET /a", b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01\x02\x00"])
def test_what_could_still_become_several_things_is_waited_for(said):
    assert sniff.judge(said) == sniff.MORE


@given(st.binary(min_size=1, max_size=64), st.binary(max_size=64))
def test_a_verdict_never_changes_with_what_follows(first, more):
    assert sniff.judge(first) in (sniff.MORE, sniff.judge(first + more))


def test_the_least_bytes_that_suffice():
    assert min(n for n in range(1, 99) if sniff.judge(HELLO[:n]) == sniff.TLS) == 6
    assert min(n for n in range(1, 9) if sniff.judge(POSTGRES[:n]) == sniff.OTHER) == 1


def test_the_name_that_a_tls_caller_asks_for():
    assert sniff.server_name(HELLO) == "api.example.org"
    assert sniff.server_name(b"") == ""


@given(st.integers(0, len(HELLO) - 1), st.binary(max_size=300))
def test_a_hello_that_cannot_be_read_names_nobody_or_somebody_plausible(cut, noise):
    assert len(sniff.server_name(HELLO[:cut])) in (0, len("api.example.org"))
    assert len(sniff.server_name(HELLO[:cut] + noise)) <= 255


class Transport:
    def __init__(self, peer, own, answer):
        self._known = {"peername": peer, "sockname": own, "socket": self}
        self._answer = answer
        self.asked = []

    def get_extra_info(self, name):
        return self._known[name]

    def getsockopt(self, level, option, size):
        self.asked.append((level, option, size))
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer


def v4(address, port):
    return struct.pack(">HH4s8x", socket.AF_INET, port, socket.inet_aton(address))


def v6(address, port):
    return struct.pack(">HHI16sI", socket.AF_INET6, port, 0, socket.inet_pton(socket.AF_INET6, address), 0)


@pytest.mark.parametrize(
    ("peer", "own", "answer", "found"),
    [
        (("10.1.0.5", 4000), ("127.0.0.1", 15001), v4("10.96.0.7", 80), ("10.96.0.7", 80)),
        (("::ffff:10.1.0.5", 4000, 0, 0), ("::ffff:127.0.0.1", 15001, 0, 0), v4("10.96.0.7", 80), ("10.96.0.7", 80)),
        (("fd00::5", 4000, 0, 0), ("::1", 15001, 0, 0), v6("fd00:96:0::7", 80), ("fd00:96::7", 80)),
        (("10.1.0.5", 4000), ("10.1.0.6", 15006), v4("10.1.0.6", 15006), NAMELESS),  # tracked, and not redirected
        (("10.1.0.5", 4000), ("10.1.0.6", 15006), OSError(errno.ENOENT, "no"), NAMELESS),
    ],
)
def test_where_a_connection_wanted_to_go(peer, own, answer, found):
    transport = Transport(peer, own, answer)
    made = sniff.caller(transport)
    assert made.destination == found
    assert made.address == peer[0].removeprefix("::ffff:")
    level = socket.IPPROTO_IPV6 if own[0] == "::1" else socket.IPPROTO_IP
    assert [asked[:2] for asked in transport.asked] == [(level, 80)]


def test_a_socket_that_is_none_leads_nowhere():
    assert sniff.original(None, "10.0.0.1") == NAMELESS
    made = sniff.caller(Transport(None, None, None))
    assert (made.address, made.destination) == ("", NAMELESS)


def offering(*names, host="x"):
    context = ssl.create_default_context()
    if names:
        context.set_alpn_protocols(list(names))
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host).do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("names", [("sidewinder/h1",), ("h2", "http/1.1"), ()], ids=["ours", "web", "none"])
def test_what_a_hello_offers_is_told_once_all_of_it_is_here(names):
    said = offering(*names)
    for size in range(len(said)):
        assert sniff.alpn(said[:size]) is None
    assert sniff.alpn(said) == sniff.alpn(said + b"more") == names


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1", b"\x16\x02", b"\x16\x03\x01\x00\x05\x02", b"\x16\x03\x01\x40\x01", b"\x17\x03\x03"],
    ids=["HTTP", "no TLS", "a server's word", "too long", "data"],
)
def test_what_is_no_hello_offers_nothing_at_once(said):
    assert sniff.alpn(said) == ()


def test_a_hello_in_two_records_offers_nothing():
    said = offering("sidewinder/h1")
    body = said[5:]
    cut = said[:3] + (40).to_bytes(2, "big") + body[:40] + said[:3] + (len(body) - 40).to_bytes(2, "big") + body[40:]
    assert sniff.alpn(cut) == ()


@given(st.binary(max_size=600), st.integers(0, 2**16 - 1))
def test_a_hello_of_noise_is_judged_all_the_same(noise, size):
    sniff.alpn(b"\x16\x03\x01" + size.to_bytes(2, "big") + b"\x01" + noise)
    sniff.alpn(b"\x16\x03\x01" + (len(noise) + 1).to_bytes(2, "big") + b"\x01" + noise)
    sniff.server_name(noise)
