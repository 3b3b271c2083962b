"""What is a request's head and what is none: every case by name, and properties against a grammar written twice."""

from __future__ import annotations

import re

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.errors import TABLE, DownstreamError
from sidewinder_sidecar.http1 import encode, request_head
from sidewinder_sidecar.http1.lines import Seen
from sidewinder_sidecar.messages import Request
from sidewinder_sidecar.settings import Limits

LIMITS = Limits()
HOST = b"Host: a\r\n"


def head(*lines: bytes, first: bytes = b"POST /p?q HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"Host: a", *lines)) + b"\r\n\r\n"


def parse(data: bytes, limits: Limits = LIMITS) -> tuple[Request, bool]:
    return request_head.parse(data, limits, Seen())


def error(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(DownstreamError) as refused:
        parse(data, limits)
    assert refused.value.error in TABLE
    assert refused.value.detail
    return refused.value.error


def rows(request: Request) -> list[tuple[bytes, bytes]]:
    return [row[1:] for row in request.fields]


# The smuggling table: whatever two parsers could read differently.
REFUSED = {
    "length and coding": head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "coding and length": head(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "length twice, differing": head(b"Content-Length: 5", b"Content-Length: 6"),
    "length twice, the same": head(b"Content-Length: 5", b"Content-Length: 5"),
    "length list": head(b"Content-Length: 5, 5"),
    "length plus": head(b"Content-Length: +5"),
    "length minus": head(b"Content-Length: -5"),
    "length hexadecimal": head(b"Content-Length: 0x5"),
    "length with a space inside": head(b"Content-Length: 5 5"),
    "length empty": head(b"Content-Length:"),
    "length huge": head(b"Content-Length: 99999999999999999999"),
    "length of 19 digits": head(b"Content-Length: 9223372036854775808"),
    "length not ASCII": head("Content-Length: ٥".encode()),
    "length underscore": head(b"Content-Length: 1_0"),
    "coding gzip": head(b"Transfer-Encoding: gzip"),
    "coding chunked, then gzip": head(b"Transfer-Encoding: chunked, gzip"),
    "coding chunked twice": head(b"Transfer-Encoding: chunked, chunked"),
    "coding in two fields": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "coding xchunked": head(b"Transfer-Encoding: xchunked"),
    "coding quoted": head(b'Transfer-Encoding: "chunked"'),
    "coding with a parameter": head(b"Transfer-Encoding: chunked;a=b"),
    "coding empty": head(b"Transfer-Encoding:"),
    "coding vertical tab": head(b"Transfer-Encoding: \x0bchunked"),
    "coding on HTTP/1.0": head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
    "coding, space before the colon": head(b"Transfer-Encoding : chunked"),
    "coding folded": head(b"Transfer-Encoding:", b" chunked"),
    "bare LF between fields": b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare CR in a value": head(b"X: a\rb"),
    "bare CR in the target": head(first=b"GET /\ra HTTP/1.1"),
    "CR CR LF": b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
    "NUL in a value": head(b"X: a\x00b"),
    "NUL in a name": head(b"X\x00: a"),
    "DEL in a value": head(b"X: a\x7f"),
    "space before the colon": head(b"X : a"),
    "tab before the colon": head(b"X\t: a"),
    "line that begins with a space": head(b" X: a"),
    "folded line": head(b"X: a", b" b"),
    "folded with a tab": head(b"X: a", b"\tb"),
    "first field folded": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "no colon": head(b"X"),
    "empty name": head(b": a"),
    "name not ASCII": head(b"X\xe9: a"),
    "name with a parenthesis": head(b"X(: a"),
    "no Host": b"GET / HTTP/1.1\r\nX: a\r\n\r\n",
    "two Hosts": head(b"Host: b"),
    "two equal Hosts": head(b"Host: a"),
    "two Hosts on HTTP/1.0": head(b"Host: b", first=b"GET / HTTP/1.0"),
    "empty Host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "userinfo in Host": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "path in Host": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "list in Host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "port too large in Host": b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    "Host not ASCII": b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n",
    "userinfo in the target": head(first=b"GET http://u:p@a/ HTTP/1.1"),
    "target without a host": head(first=b"GET http:///x HTTP/1.1"),
    "https target": head(first=b"GET https://a/ HTTP/1.1"),
    "other scheme": head(first=b"GET ftp://a/ HTTP/1.1"),
    "target not ASCII": head(first="GET /é HTTP/1.1".encode()),
    "control byte in the target": head(first=b"GET /\x01 HTTP/1.1"),
    "DEL in the target": head(first=b"GET /?\x7f HTTP/1.1"),
    "tab in the target": head(first=b"GET /\ta HTTP/1.1"),
    "fragment": head(first=b"GET /#a HTTP/1.1"),
    "relative target": head(first=b"GET a HTTP/1.1"),
    "star for GET": head(first=b"GET * HTTP/1.1"),
    "two spaces": head(first=b"GET  / HTTP/1.1"),
    "space at the end": head(first=b"GET / HTTP/1.1 "),
    "space in the target": head(first=b"GET /a b HTTP/1.1"),
    "tab for a space": head(first=b"GET\t/ HTTP/1.1"),
    "method in lower case": head(first=b"get / HTTP/1.1"),
    "method not a token": head(first=b"G(T / HTTP/1.1"),
    "method too long": head(first=b"A" * 30 + b" / HTTP/1.1"),
    "lone LF first": b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "lone CR first": b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "version in lower case": head(first=b"GET / http/1.1"),
    "version with zeros": head(first=b"GET / HTTP/01.1"),
    "version without a number": head(first=b"GET / HTTP/x"),
    "no version": head(first=b"GET /"),
    "CONNECT without a port": head(first=b"CONNECT a HTTP/1.1"),
    "CONNECT with a path": head(first=b"CONNECT /a HTTP/1.1"),
    "CONNECT with a length": head(b"Content-Length: 5", first=b"CONNECT a:1 HTTP/1.1"),
    "CONNECT with a coding": head(b"Transfer-Encoding: chunked", first=b"CONNECT a:1 HTTP/1.1"),
    "HTTP/2 preface as 1.1": head(first=b"PRI * HTTP/1.1"),
    "Expect twice": head(b"Expect: 100-continue", b"Expect: 100-continue"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_heads_are_refused(case: str) -> None:
    assert error(REFUSED[case]) == "bad_request"


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_head_leaves_nothing_behind_for_the_next(case: str) -> None:
    """One parser serves everybody."""
    error(REFUSED[case])
    assert rows(parse(head(b"X: y"))[0]) == [(b"Host", b"a"), (b"X", b"y")]


ERRORS = {
    "HTTP/2.0": (head(first=b"GET / HTTP/2.0"), "version_not_supported"),
    "HTTP/1.2": (head(first=b"GET / HTTP/1.2"), "version_not_supported"),
    "HTTP/0.9": (head(first=b"GET / HTTP/0.9"), "version_not_supported"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\n", "bad_request"),
    "unknown coding before chunked": (head(b"Transfer-Encoding: gzip, chunked"), "not_implemented"),
    "Expect of something else": (head(b"Expect: miracles", b"Content-Length: 1"), "expectation_failed"),
    "request line too long": (head(first=b"GET /" + b"a" * 8200 + b" HTTP/1.1"), "uri_too_long"),
    "too many fields": (head(*[b"X: y"] * 100), "headers_too_large"),
    "fields too large": (head(b"X: " + b"y" * 70000), "headers_too_large"),
    "bad byte before the line gets too long": (head(first=b"GET /\x00" + b"a" * 9000 + b" HTTP/1.1"), "bad_request"),
    "bad byte after it": (head(first=b"GET /" + b"a" * 9000 + b"\x00 HTTP/1.1"), "uri_too_long"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_each_refusal_has_its_status(case: str) -> None:
    data, expected = ERRORS[case]
    assert error(data) == expected


LENGTHS = {
    "none": (head(), 0),
    "zero": (head(b"Content-Length: 0"), 0),
    "five": (head(b"content-LENGTH:5"), 5),
    "leading zeros": (head(b"Content-Length: 005"), 5),
    "18 digits": (head(b"Content-Length: 999999999999999999"), 999999999999999999),
    "chunked": (head(b"Transfer-Encoding: chunked"), None),
    "Chunked": (head(b"Transfer-Encoding: Chunked"), None),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_the_body_s_length(case: str) -> None:
    data, length = LENGTHS[case]
    request, keep = parse(data)
    assert request.length == length
    assert keep
    assert b"transfer-encoding" not in request.fields
    if length:
        assert request.fields.all(b"content-length") == [b"%d" % length]


TARGETS = {
    "origin form": (head(first=b"GET /a?b=c HTTP/1.1"), b"/a?b=c", b"a"),
    "double slash": (head(first=b"GET //a HTTP/1.1"), b"//a", b"a"),
    "absolute form": (head(first=b"GET http://a/x?y HTTP/1.1"), b"/x?y", b"a"),
    "scheme in capitals": (head(first=b"GET HTTP://A:80/ HTTP/1.1"), b"/", b"a:80"),
    "without a path": (head(first=b"GET http://a HTTP/1.1"), b"/", b"a"),
    "query without a path": (head(first=b"GET http://a?b HTTP/1.1"), b"/?b", b"a"),
    "target against Host": (head(first=b"GET http://b/ HTTP/1.1"), b"/", b"b"),
    "OPTIONS *": (head(first=b"OPTIONS * HTTP/1.1"), b"*", b"a"),
    "OPTIONS absolute": (head(first=b"OPTIONS http://b:81 HTTP/1.1"), b"*", b"b:81"),
    "CONNECT": (head(first=b"CONNECT B:443 HTTP/1.1"), b"B:443", b"b:443"),
    "IPv6": (b"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", b"/", b"[::1]:8080"),
    "Host in capitals": (b"GET / HTTP/1.1\r\nHost: A.B:80\r\n\r\n", b"/", b"a.b:80"),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", b"/", b""),
    "unknown method": (head(first=b"BREW / HTTP/1.1"), b"/", b"a"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_where_the_request_is_for(case: str) -> None:
    data, target, authority = TARGETS[case]
    request, _ = parse(data)
    assert (request.target, request.authority) == (target, authority)
    assert request.received == data.split(b" ")[1]


def test_the_target_wins_over_host_and_host_is_rewritten_in_its_place() -> None:
    request, _ = parse(head(b"X: y", first=b"GET http://Other:81/ HTTP/1.1"))
    assert rows(request) == [(b"Host", b"Other:81"), (b"X", b"y")]
    assert encode.request_head(request) == b"GET / HTTP/1.1\r\nHost: Other:81\r\nX: y\r\n\r\n"


KEEPING = {
    "1.1": (head(), True),
    "1.1 close": (head(b"Connection: close"), False),
    "1.1 close among others": (head(b"Connection: foo , CLOSE"), False),
    "1.1 close in a second field": (head(b"Connection: foo", b"Connection: close"), False),
    "1.0": (head(first=b"GET / HTTP/1.0"), False),
    "1.0 keep-alive": (head(b"Connection: Keep-Alive", first=b"GET / HTTP/1.0"), True),
    "proxy-connection means nothing": (head(b"Proxy-Connection: close"), True),
}


@pytest.mark.parametrize("case", KEEPING)
def test_whether_the_caller_keeps_the_connection(case: str) -> None:
    data, keep = KEEPING[case]
    request, found = parse(data)
    assert found is keep
    assert b"connection" not in request.fields
    assert b"proxy-connection" not in request.fields
    assert b"onnection" not in encode.request_head(request)


def test_hop_by_hop_fields_and_those_nominated_are_gone() -> None:
    request, _ = parse(
        head(b"A: 1", b"Connection: x-secret, Keep-Alive", b"Keep-Alive: 5", b"X-Secret: 2", b"x-secret: 3", b"B: 4")
    )
    assert rows(request) == [(b"Host", b"a"), (b"A", b"1"), (b"B", b"4")]
    assert encode.request_head(request) == b"POST /p?q HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 4\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "Authorization", "Cookie", "X-Forwarded-For", "Forwarded", "traceparent", "Date"]
)
def test_what_others_rest_on_cannot_be_nominated(name: str) -> None:
    value = b"a" if name == "Host" else b"5"
    lines = [] if name == "Host" else [name.encode() + b": 5"]
    request, _ = parse(head(*lines, b"Connection: %b" % name.encode()))
    assert request.fields.get(name.lower().encode()) == value


def test_trailers_are_asked_for_upstream_when_the_caller_takes_them() -> None:
    request, _ = parse(head(b"TE: gzip;q=0.5, Trailers", b"Connection: TE"))
    assert b"TE: trailers\r\nContent-Length: 0\r\nConnection: te\r\n" in encode.request_head(request)
    request, _ = parse(head(b"TE: gzip", b"Connection: TE"))
    assert b"te" not in request.fields


UPGRADES = {
    "websocket": (head(b"Connection: Upgrade", b"Upgrade: WebSocket", first=b"GET / HTTP/1.1"), b"websocket"),
    "not in Connection": (head(b"Upgrade: websocket", first=b"GET / HTTP/1.1"), b""),
    "HTTP/1.0": (head(b"Connection: upgrade", b"Upgrade: websocket", first=b"GET / HTTP/1.0"), b""),
    "with a body": (head(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5"), b""),
    "h2c with a body": (head(b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 5"), b""),
    "h2c": (head(b"Connection: upgrade, http2-settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"), b""),
    "TLS": (head(b"Connection: upgrade", b"Upgrade: TLS/1.0"), b""),
    "list": (head(b"Connection: upgrade", b"Upgrade: websocket, foo"), b""),
    "twice": (head(b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: foo"), b""),
    "CONNECT": (head(b"Connection: upgrade", b"Upgrade: websocket", first=b"CONNECT a:1 HTTP/1.1"), b"connect"),
}


@pytest.mark.parametrize("case", UPGRADES)
def test_which_requests_ask_for_a_tunnel(case: str) -> None:
    data, upgrade = UPGRADES[case]
    request, _ = parse(data)
    assert request.upgrade == upgrade
    assert b"upgrade" not in request.fields
    assert b"http2-settings" not in request.fields
    assert request.length == (5 if b"Length" in data else 0)


def test_expectations() -> None:
    request, _ = parse(head(b"Expect: 100-Continue", b"Content-Length: 5"))
    assert request.expects_continue
    assert b"expect" in request.fields
    request, _ = parse(head(b"Expect: 100-continue", b"Content-Length: 5", first=b"POST / HTTP/1.0"))
    assert not request.expects_continue


def test_white_space_around_a_value_is_not_the_value_s() -> None:
    request, _ = parse(head(b"A: \t b \t", b"B:c", b"C:", b"D:  "))
    assert rows(request)[1:] == [(b"A", b"b"), (b"B", b"c"), (b"C", b""), (b"D", b"")]


@pytest.mark.parametrize("case", [*REFUSED, *ERRORS])
def test_a_head_that_is_cut_is_never_judged_otherwise_than_whole(case: str) -> None:
    """The beginning may be refused early; then the whole is refused for the same reason."""
    data = REFUSED[case] if case in REFUSED else ERRORS[case][0]
    with pytest.raises(DownstreamError) as refused:
        parse(data)
    for cut in {*range(1, min(len(data), 300)), *range(300, len(data), 977)}:
        if found := request_head.fault(data[:cut], LIMITS):
            assert found == (refused.value.error, refused.value.detail)


# The grammar of RFC 9112 again, as one expression: what passes must match it.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
GRAMMAR = re.compile(
    rb"[A-Z_-]+ [!-\"$-~]+ HTTP/1\.[01]\r\n(?:"
    + TOKEN
    + rb":[ \t]*(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?[ \t]*\r\n)*\r\n"
)
PIECES = [
    b"GET", b"POST", b" ", b"/", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"Host", b": ", b":", b"a", b"Content-Length", b"5",
    b"Transfer-Encoding", b"chunked", b"\n", b"\r", b"\x00", b"\t", b",", b"Connection", b"close", b"Upgrade", b"h2c",
    b"Expect", b"100-continue", b"http://", b"\xff", b"@", b"#", b"X", b"\x0b", b"TE", b"trailers", b"keep-alive",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=14), st.booleans())
def test_any_bytes_pass_only_if_they_are_grammatical(pieces: list[bytes], framed: bool) -> None:
    middle = b"".join(pieces)
    data = (b"GET / HTTP/1.1\r\nHost: a\r\n" + middle if framed else middle) + b"\r\n\r\n"
    data = data[: data.find(b"\r\n\r\n") + 4]
    try:
        request, _ = parse(data)
    except DownstreamError:
        assert error(data) in TABLE
        return
    assert GRAMMAR.fullmatch(data)
    assert request_head.fault(data, LIMITS) is None
    agree(request)


NAMES = st.sampled_from([b"Accept", b"x-a", b"X-A", b"Cookie", b"Connection", b"Keep-Alive", b"TE", b"X-Tab", b"Via"])
VALUES = st.sampled_from([b"", b"a", b"a b", b"close", b"x-a", b"trailers", b"\xc3\xa9", b'"q"', b"a,b", b"a\tb"])


@given(st.lists(st.tuples(NAMES, st.sampled_from([b":", b": ", b":  ", b":\t"]), VALUES), max_size=8), st.booleans())
def test_what_leaves_is_what_came_in_by_another_s_judgement(
    lines: list[tuple[bytes, bytes, bytes]], edited: bool
) -> None:
    request, _ = parse(head(*(b"".join(line) for line in lines)))
    if edited:
        request.fields.set(b"x-a", b"X-A", b"new")
        request.fields.add(b"x-b", b"X-B", b"more")
    agree(request)


def agree(request: Request) -> None:
    """h11 reads from our bytes what we meant."""
    if request.upgrade:
        return
    sent = encode.request_head(request)
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(sent)
    event = peer.next_event()
    assert type(event) is h11.Request
    assert (event.method, event.target, event.http_version) == (request.method, request.target, b"1.1")
    raw = list(event.headers.raw_items())
    ours = (b"connection", b"transfer-encoding", b"content-length")
    expected = [(name, value) for _, name, value in request.fields]
    if b"host" not in request.fields:
        expected.append((b"Host", request.authority))
    assert [row for row in raw if row[0].lower() not in ours] == [row for row in expected if row[0].lower() not in ours]
    framing = {name.lower(): value for name, value in raw if name.lower() in ours[1:]}
    if request.length is None:
        assert framing == {b"transfer-encoding": b"chunked"}
    else:
        assert int(framing.get(b"content-length", b"0")) == request.length
    assert sent.endswith(b"\r\n\r\n")
    assert sent.count(b"\r\n\r\n") == 1


def told(data: bytes, seen: Seen) -> object:
    """All that a head means, or why it means nothing; edited as filters do, which must leave no trace."""
    try:
        asked, keep = request_head.parse(data, LIMITS, seen)
    except DownstreamError as fault:
        return fault.error, fault.detail
    fields = asked.fields
    meaning = (asked.method, asked.target, asked.received, asked.path, asked.query, asked.authority, asked.length)
    found = (*meaning, asked.minor, asked.expects_continue, asked.upgrade, keep, list(fields), dict(fields.index))
    sent = encode.request_head(asked)
    fields.set(b"x", b"X", b"1")
    fields.add(b"host", b"Host", b"elsewhere")
    fields.remove(b"host")
    return found, sent


def test_what_the_connection_sent_before_changes_nothing() -> None:
    named = [case[0] for table in (ERRORS, LENGTHS, TARGETS, KEEPING, UPGRADES) for case in table.values()]
    heads = [data for data in (*REFUSED.values(), *named) if len(data) < 2000]
    for data in heads:
        fresh = told(data, Seen())
        for before in heads:
            seen = Seen()
            told(before, seen)
            assert told(data, seen) == fresh
            assert told(data, seen) == fresh
