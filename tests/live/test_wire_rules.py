"""HTTP/1 through a real process, byte for byte on both sides: what is passed on, what is changed, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import h11
import pytest

from tests.support.adversary import (
    BODY,
    CLOSE,
    DRAIN,
    GOOD,
    OK,
    READ,
    SERVE,
    TOLD,
    Case,
    Outcome,
    Script,
    answer_of,
    judge,
    messages,
    played,
)

pytestmark = pytest.mark.live

Check = Callable[[Outcome], object]
END = b"Connection: close\r\n\r\n"


def get(line: bytes = b"GET / HTTP/1.1", *rows: bytes) -> Script:
    """One request on a connection of its own."""
    return (b"\r\n".join([line, b"Host: @", *rows, END]), DRAIN)


def says(answer: bytes, *steps: float | str | bytes) -> tuple[Script, ...]:
    return ((BODY, answer, *steps, SERVE),)


def up(outcome: Outcome) -> bytes:
    """What the upstream got of the request."""
    return outcome.heard[0]


def rows(message: bytes, role: type[h11.Sentinel]) -> list[tuple[str, str]]:
    """A message's fields as they are written, read by h11."""
    event = messages(message, role)[0][0]
    return [(name.decode(), value.decode()) for name, value in event.headers.raw_items()]


REPEATED = (b"X-One: 1", b"x-TWO: a", b"X-one: 2", b"Cookie: a=1", b"cookie: b=2")
TELLING = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX-b: 1\r\nset-cookie: b\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"

PASSED: dict[str, tuple[Case, Check]] = {
    "names-order-and-repetition-up": (
        Case(get(b"GET / HTTP/1.1", *REPEATED)),
        lambda seen: (
            [row for row in rows(up(seen), h11.SERVER) if row[0].lower() in ("x-one", "x-two", "cookie")]
            == [("X-One", "1"), ("x-TWO", "a"), ("X-one", "2"), ("Cookie", "a=1"), ("cookie", "b=2")]
        ),
    ),
    "names-order-and-repetition-down": (
        Case(get(), says(TELLING)),
        lambda seen: b"Set-Cookie: a\r\nX-b: 1\r\nset-cookie: b\r\n" in seen.received,
    ),
    "pipelined-in-order": (
        Case(
            (b"".join(b"GET /%d HTTP/1.1\r\nHost: @\r\n\r\n" % n for n in range(5)) + get()[0], DRAIN),  # type: ignore[operator]
        ),
        lambda seen: (
            seen.received.count(b"HTTP/1.1 200") == 6
            and re.findall(rb"GET /(\d?) ", b"".join(seen.heard))[:6] == [b"0", b"1", b"2", b"3", b"4", b""]
        ),
    ),
    "absolute-form": (
        Case((b"GET http://@/x?y HTTP/1.1\r\nHost: other\r\n" + END, DRAIN)),
        lambda seen: up(seen).startswith(b"GET /x?y HTTP/1.1\r\n") and b"Host: absolute-form\r\n" in up(seen),
    ),
    "options-star": (Case(get(b"OPTIONS * HTTP/1.1")), lambda seen: up(seen).startswith(b"OPTIONS * HTTP/1.1\r\n")),
    "http-1.0-is-1.1-above": (
        Case((b"GET / HTTP/1.0\r\nHost: @\r\n\r\n", DRAIN)),
        lambda seen: up(seen).startswith(b"GET / HTTP/1.1\r\n") and b"chunked" not in seen.received,
    ),
    "http-1.0-may-keep-alive": (
        Case(
            (
                b"GET / HTTP/1.0\r\nHost: @\r\nConnection: keep-alive\r\n\r\n",
                TOLD,
                b"GET / HTTP/1.0\r\nHost: @\r\n\r\n",
                DRAIN,
            )
        ),
        lambda seen: seen.received.count(b" 200 OK") == 2 and re.search(rb"(?i)connection: keep-alive", seen.received),
    ),
    "http-1.0-gets-chunks-until-close": (
        Case((b"GET / HTTP/1.0\r\nHost: @\r\n\r\n", DRAIN), says(CHUNKED)),
        lambda seen: seen.received.endswith(b"\r\n\r\nabc") and seen.ending == "eof",
    ),
    "continue-end-to-end": (
        Case(
            (b"PUT / HTTP/1.1\r\nHost: @\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" + END, READ, b"abc", DRAIN),
            ((READ, b"HTTP/1.1 100 Continue\r\n\r\n", BODY, OK, SERVE),),
            heard=True,
        ),
        lambda seen: seen.received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
    ),
    "early-hints": (
        Case(get(), says(EARLY, 0.05, OK)),
        lambda seen: seen.received.startswith(EARLY + b"HTTP/1.1 200 OK"),
    ),
    "early-hints-not-to-1.0": (
        Case((b"GET / HTTP/1.0\r\nHost: @\r\n\r\n", DRAIN), says(EARLY, 0.05, OK)),
        lambda seen: b"103" not in seen.received,
    ),
    "chunks-and-trailers-down": (
        Case(get(b"GET / HTTP/1.1", b"TE: trailers"), says(CHUNKED)),
        lambda seen: seen.received.endswith(b"3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n") and b"TE: trailers" in up(seen),
    ),
    "chunks-and-trailers-up": (
        Case(
            (
                b"PUT / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n"
                + END
                + b"3;x\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n",
                DRAIN,
            ),
            heard=True,
        ),
        lambda seen: b"3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n" in up(seen) and b"Content-Length" not in up(seen),
    ),
    "head-has-no-body": (
        Case(get(b"HEAD / HTTP/1.1"), says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), whole=False),
        lambda seen: seen.received.endswith(b"\r\n\r\n") and b"Content-Length: 5\r\n" in seen.received,
    ),
    "204-has-no-length": (
        Case(get(), says(b"HTTP/1.1 204 No Content\r\n\r\n"), status=204),
        lambda seen: b"ontent-" not in seen.received and b"chunked" not in seen.received,
    ),
    "304-keeps-its-length": (
        Case(get(), says(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: a\r\n\r\n"), status=304),
        lambda seen: b"Content-Length: 5\r\nETag: a\r\n" in seen.received and seen.received.endswith(b"\r\n\r\n"),
    ),
    "until-close-becomes-chunks": (
        Case(get(), ((BODY, b"HTTP/1.1 200 OK\r\n\r\nabc", CLOSE),)),
        lambda seen: seen.received.endswith(b"3\r\nabc\r\n0\r\n\r\n"),
    ),
    "nominated-fields-go": (
        Case(
            get(
                b"GET / HTTP/1.1",
                b"Connection: x-mine, keep-alive",
                b"X-Mine: 1",
                b"Keep-Alive: 5",
                b"Proxy-Connection: a",
                b"TE: gzip",
                b"X-Kept: 1",
            ),
            says(
                b"HTTP/1.1 200 OK\r\nConnection: x-theirs\r\nX-Theirs: 1\r\nKeep-Alive: timeout=9\r\n"
                b"Content-Length: 0\r\n\r\n"
            ),
        ),
        lambda seen: (
            not re.search(rb"(?i)x-mine|keep-alive|proxy-connection|\nte:|x-theirs", up(seen) + seen.received)
            and b"X-Kept: 1\r\n" in up(seen)
        ),
    ),
    "forwarded-is-replaced": (
        Case(
            get(
                b"GET / HTTP/1.1",
                b"X-Forwarded-For: 6.6.6.6",
                b"X-Forwarded-Proto: https",
                b"X-Forwarded-Host: evil",
                b"Forwarded: for=6.6.6.6",
            )
        ),
        lambda seen: not re.search(rb"6\.6\.6\.6|https|evil", up(seen)) and b"x-forwarded-proto: http\r\n" in up(seen),
    ),
    "request-id-is-kept-or-made": (
        Case(get(b"GET / HTTP/1.1", b"X-Request-Id: abc-1")),
        lambda seen: b"X-Request-Id: abc-1\r\n" in up(seen),
    ),
    "trace-is-continued": (
        Case(
            get(
                b"GET / HTTP/1.1",
                b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                b"tracestate: a=b",
            )
        ),
        lambda seen: (
            re.search(rb"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-(?!00f067aa)[0-9a-f]{16}-01\r\n", up(seen))
            and b"tracestate: a=b\r\n" in up(seen)
        ),
    ),
    "a-bad-trace-is-not": (
        Case(
            get(
                b"GET / HTTP/1.1",
                b"traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                b"tracestate: a=b",
            )
        ),
        lambda seen: b"tracestate" not in up(seen) and b"-0000000000000000000" not in up(seen).lower(),
    ),
    "deadline-shrinks": (
        Case(get(b"GET / HTTP/1.1", b"x-request-deadline: 5s"), rule={"request_timeout": 2.0}),
        lambda seen: 1900 < int(re.findall(rb"x-request-deadline: (\d+)ms", up(seen))[0]) <= 2000,
    ),
    "grpc-deadline-shrinks": (
        Case(get(b"GET / HTTP/1.1", b"grpc-timeout: 1500m")),
        lambda seen: (
            1400 < int(re.findall(rb"grpc-timeout: (\d+)m", up(seen))[0]) <= 1500
            and 1400 < int(re.findall(rb"x-request-deadline: (\d+)ms", up(seen))[0]) <= 1500
        ),
    ),
    "an-endless-deadline-is-ignored": (
        Case(get(b"GET / HTTP/1.1", b"x-request-deadline: soon")),
        lambda seen: up(seen),
    ),
    "a-refusal-as-json": (
        Case(get(b"GET / HTTP/1.1", b"Accept: application/json"), (), status=503, error="connect_refused"),
        lambda seen: json.loads(seen.received.partition(b"\r\n\r\n")[2]).keys() == {"status", "error", "detail"},
    ),
    "a-refusal-as-text": (
        Case(get(), (), status=503, error="connect_refused"),
        lambda seen: seen.received.partition(b"\r\n\r\n")[2].startswith(b"connect_refused: "),
    ),
    "a-refusal-to-head": (
        Case(get(b"HEAD / HTTP/1.1"), (), status=503, error="connect_refused", whole=False),
        lambda seen: seen.received.endswith(b"\r\n\r\n") and b"proxy-status" in seen.received,
    ),
    "no-weight": (
        Case(get(), rule={"backends": [{"backend": "no-weight", "weight": 0}]}, status=500, error="no_backend"),
        lambda seen: b"proxy_configuration_error" in seen.received,
    ),
    "another-method-has-no-route": (
        Case(get(b"DELETE / HTTP/1.1"), rule={"matches": [{"method": "GET"}]}, status=404, error="no_route"),
        lambda seen: b"destination_not_found" in seen.received,
    ),
}
REFUSED: dict[str, tuple[bytes, int]] = {
    "length-and-coding": (
        b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two-lengths": (b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "lengths-listed": (b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: 3, 4\r\n\r\nabcd", 400),
    "length-with-sign": (b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: +3\r\n\r\nabc", 400),
    "length-in-hex": (b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: 0x3\r\n\r\nabc", 400),
    "coding-not-chunked": (b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    "coding-unknown": (b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "coding-not-last": (b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
    "coding-twice": (
        b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "coding-in-1.0": (b"POST / HTTP/1.0\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "bare-carriage-return": (b"GET / HTTP/1.1\r\nHost: @\r\nA: b\rc\r\n\r\n", 400),
    "bare-line-feed": (b"GET / HTTP/1.1\nHost: @\n\n", 400),
    "line-feed-in-a-field": (b"GET / HTTP/1.1\r\nHost: @\r\nA: b\nC: d\r\n\r\n", 400),
    "nul": (b"GET / HTTP/1.1\r\nHost: @\r\nA: \0\r\n\r\n", 400),
    "space-before-colon": (b"GET / HTTP/1.1\r\nHost: @\r\nA : b\r\n\r\n", 400),
    "folded": (b"GET / HTTP/1.1\r\nHost: @\r\nA: b\r\n c\r\n\r\n", 400),
    "folded-first": (b"GET / HTTP/1.1\r\n Host: @\r\n\r\n", 400),
    "two-hosts": (b"GET / HTTP/1.1\r\nHost: @\r\nHost: @\r\n\r\n", 400),
    "no-host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "userinfo": (b"GET / HTTP/1.1\r\nHost: u:p@@a\r\n\r\n", 400),
    "userinfo-in-target": (b"GET http://u@@a/ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    "non-ascii-target": ("GET /ü HTTP/1.1\r\nHost: @\r\n\r\n".encode(), 400),
    "control-in-target": (b"GET /\x01 HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    "fragment": (b"GET /#a HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    "version-1.2": (b"GET / HTTP/1.2\r\nHost: @\r\n\r\n", 505),
    "version-2.0": (b"GET / HTTP/2.0\r\nHost: @\r\n\r\n", 505),
    "version-0.9": (b"GET /\r\n\r\n", 400),
    "lower-case-method": (b"get / HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    "chunk-size-signed": (b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", 400),
    "chunk-size-too-large": (
        b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        400,
    ),
    "chunk-line-feed": (b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400),
    "trailer-forbidden": (
        b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n",
        400,
    ),
    "expectation": (b"POST / HTTP/1.1\r\nHost: @\r\nExpect: coffee\r\n\r\n", 417),
    "too-many-fields": (b"GET / HTTP/1.1\r\nHost: @\r\n" + b"a: b\r\n" * 101 + b"\r\n", 431),
    "connect-without-port": (b"CONNECT @ HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    "star-to-get": (b"GET * HTTP/1.1\r\nHost: @\r\n\r\n", 400),
    "nobody's-host": (b"GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n", 404),
}
ERRORS = {
    400: "bad_request",
    404: "no_route",
    417: "expectation_failed",
    431: "headers_too_large",
    501: "not_implemented",
    505: "version_not_supported",
}
CASES = {name: case for name, (case, _) in PASSED.items()} | {
    f"refused-{name}": Case((request, DRAIN), (GOOD,), status=status, error=ERRORS[status])
    for name, (request, status) in REFUSED.items()
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with played(tmp_path_factory.mktemp("rules"), CASES) as found:
        yield found


@pytest.mark.parametrize("name", PASSED)
def test_passed_on(outcomes: dict[str, Outcome], name: str) -> None:
    case, check = PASSED[name]
    outcome = outcomes[name]
    judge(case._replace(upstream=()) if name == "no-weight" else case, outcome)  # whose next request fares no better
    assert check(outcome), outcome


@pytest.mark.parametrize("name", REFUSED)
def test_refused(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[f"refused-{name}"]
    judge(CASES[f"refused-{name}"], outcome)
    assert len(outcome.heard) == 1, "it went up"  # the next, good request alone did
    assert answer_of(outcome.received, outcome.ending)[2]["proxy-status"].count("error=") == 1


def test_what_goes_up_reads_one_way(outcomes: dict[str, Outcome]) -> None:
    """To h11 as well: every byte that reached an upstream is part of a request, and none is left over."""
    read = 0
    for name, outcome in outcomes.items():
        for heard in outcome.heard:
            reader = h11.Connection(h11.SERVER)
            reader.receive_data(heard)
            while (event := reader.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    read += 1
                    reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    reader.send(h11.EndOfMessage())
                    reader.start_next_cycle()
            assert reader.trailing_data[0] == b"", (name, heard)
    assert read > len(PASSED)
