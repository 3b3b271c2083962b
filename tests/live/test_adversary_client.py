"""A caller that stalls, resets, half-closes or lies at every point of an exchange, against a real process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.adversary import (
    BODY,
    CLOSE,
    DRAIN,
    GOOD,
    HALF,
    OK,
    READ,
    RESET,
    SERVE,
    STALL,
    TOLD,
    Case,
    Outcome,
    judge,
    played,
)

pytestmark = pytest.mark.live

GET = b"GET / HTTP/1.1\r\nHost: @\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENT = (BODY, STALL)  # an upstream that reads and says nothing
LARGE = (BODY, b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", b"x" * 9_000_000, SERVE)

CASES: dict[str, Case] = {
    # before, in and after the head
    "nothing-stall": Case((DRAIN,), status=0, error=None),
    "nothing-half-close": Case((HALF, DRAIN), status=0, error=None),
    "nothing-reset": Case((RESET,), status=0, error=None),
    "in-head-stall": Case((b"GET / HTTP/1.1\r\nHo", DRAIN), status=408, error="request_timeout"),
    "in-head-slow": Case(
        (b"GET / HTTP/1.1\r\n", 0.2, b"Host: a\r\n", 0.2, b"a: b\r\n", 0.2, b"c: d", DRAIN),
        status=408,
        error="request_timeout",
    ),
    "in-head-half-close": Case((b"GET / HTTP/1.1\r\nHo", HALF, DRAIN), status=0, error=None),
    "in-head-reset": Case((b"GET / HTTP/1.1\r\nHo", RESET), status=0, error=None),
    "after-head-half-close": Case((GET, HALF, DRAIN), heard=True),
    "after-head-half-close-nobody-answers": Case((GET, HALF, DRAIN), (SILENT,), status=0, error="caller_gone"),
    "after-head-reset": Case((GET, 0.1, RESET), (SILENT,), status=0, error="caller_gone"),
    "after-head-stall": Case((GET, DRAIN)),
    "between-requests-stall": Case((GET, TOLD, DRAIN)),
    "between-requests-reset": Case((GET, TOLD, RESET)),
    "second-head-stall": Case((GET, TOLD, b"GET / HT", DRAIN)),
    # lies
    "no-http": Case((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", DRAIN), status=400, error="bad_request"),
    "http-2-preface": Case((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", DRAIN), status=400, error="bad_request"),
    "two-lengths": Case(
        (b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", DRAIN),
        status=400,
        error="bad_request",
    ),
    "more-than-it-said": Case((POST, b"0123456789", b"smuggled", DRAIN), heard=True),
    "less-than-it-said-then-half-close": Case((POST, b"012", HALF, DRAIN), status=0, error="caller_gone", heard=False),
    "head-without-end": Case(
        (b"GET / HTTP/1.1\r\nHost: @\r\n", b"".join(b"x%d: y\r\n" % n for n in range(20_000)), DRAIN),
        status=431,
        error="headers_too_large",
    ),
    "line-without-end": Case((b"GET /" + b"x" * 100_000, DRAIN), status=414, error="uri_too_long"),
    # in the body
    "in-body-stall": Case((POST, b"012", DRAIN), (SILENT,), status=408, error="request_timeout", heard=False),
    "in-body-reset": Case((POST, b"012", 0.1, RESET), (SILENT,), status=0, error="caller_gone", heard=False),
    "in-body-slow-but-moving": Case((POST, b"012", 0.3, b"345", 0.3, b"678", 0.3, b"9", TOLD, CLOSE), heard=True),
    "expects-100-and-stalls": Case(
        (POST[:-2] + b"Expect: 100-continue\r\n\r\n", DRAIN),
        ((READ, b"HTTP/1.1 100 Continue\r\n\r\n", BODY, OK, SERVE),),
        status=408,
        error="request_timeout",
        heard=False,
    ),
    "expects-100-and-leaves": Case(
        (POST[:-2] + b"Expect: 100-continue\r\n\r\n", TOLD, RESET),
        ((READ, b"HTTP/1.1 100 Continue\r\n\r\n", BODY, OK, SERVE),),
        status=0,
        error="caller_gone",
        heard=False,
    ),
    "bad-chunk-size": Case(
        (CHUNKED, b"5\r\nhello\r\nzz\r\n", DRAIN), (GOOD,), status=400, error="bad_request", heard=False
    ),
    "chunk-longer-than-its-size": Case(
        (CHUNKED, b"2\r\nhello\r\n0\r\n\r\n", DRAIN), (GOOD,), status=400, error="bad_request", heard=False
    ),
    "extension-without-end": Case(
        (CHUNKED, b"5;" + b"a" * 100_000, DRAIN), (GOOD,), status=400, error="bad_request", heard=False
    ),
    "forbidden-trailer": Case(
        (CHUNKED, b"0\r\nHost: b\r\n\r\n", DRAIN), (GOOD,), status=400, error="bad_request", heard=False
    ),
    "trailers-without-end": Case(
        (CHUNKED, b"0\r\n" + b"a: b\r\n" * 5_000, DRAIN), (GOOD,), status=400, error="bad_request", heard=False
    ),
    # in the answer
    "answer-not-read": Case((GET, READ, STALL), (LARGE,), whole=False, error="idle"),
    "answer-reset": Case((GET, READ, RESET), (LARGE,), whole=False, error="caller_gone"),
    "answer-half-closed": Case((GET, READ, HALF, DRAIN), (LARGE,)),
    "answer-before-the-body-ended": Case(
        (POST, b"012", DRAIN),
        ((READ, b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", DRAIN),),
        status=413,
        heard=False,
    ),
    # while it is tried again
    "retry-reset": Case(
        (GET, 0.2, RESET),
        ((READ, RESET), SILENT),
        status=0,
        error="caller_gone",
        retries=1,
        rule={"retry": {"attempts": 1, "conditions": ["Reset"], "backoff": 0.01}},
    ),
    "retry-half-close": Case(
        (GET, HALF, DRAIN),
        ((READ, RESET), GOOD),
        retries=1,
        rule={"retry": {"attempts": 1, "conditions": ["Reset"], "backoff": 0.01}},
    ),
    "body-reset-while-tried-again": Case(
        (POST.replace(b"POST", b"PUT"), b"012", 0.2, RESET),
        ((READ, RESET), (BODY, OK, SERVE)),
        status=0,
        error="caller_gone",
        retries=1,
        heard=False,
        rule={"retry": {"attempts": 1, "conditions": ["Reset"], "backoff": 0.01}},
    ),
    # what pipelines
    "pipelined-then-half-close": Case((GET + GET + GET, HALF, DRAIN)),
    "pipelined-then-reset": Case((GET + GET + GET, 0.1, RESET), (SILENT,), status=0, error="caller_gone"),
    "pipelined-then-a-lie": Case((GET + b"GET / HTTP/1.1\r\n\r\n", DRAIN)),
}

# A chunked body, cut at every border: (what was sent, ending).
BORDERS = {
    "before-size": b"",
    "in-size": b"1",
    "in-size-line": b"10\r",
    "after-size": b"10\r\n",
    "in-data": b"10\r\n01234567",
    "after-data": b"10\r\n0123456789abcdef",
    "in-data-end": b"10\r\n0123456789abcdef\r",
    "after-chunk": b"10\r\n0123456789abcdef\r\n",
    "in-last": b"10\r\n0123456789abcdef\r\n0",
    "in-last-line": b"10\r\n0123456789abcdef\r\n0\r",
    "before-trailers": b"10\r\n0123456789abcdef\r\n0\r\n",
    "in-trailer": b"10\r\n0123456789abcdef\r\n0\r\na: ",
    "after-trailer": b"10\r\n0123456789abcdef\r\n0\r\na: b\r\n",
    "in-end": b"10\r\n0123456789abcdef\r\n0\r\na: b\r\n\r",
}
for place, sent in BORDERS.items():
    CASES[f"chunks-{place}-half-close"] = Case(
        (CHUNKED, sent, HALF, DRAIN), (SILENT,), status=0, error="caller_gone", heard=False
    )
    CASES[f"chunks-{place}-reset"] = Case(
        (CHUNKED, sent, 0.05, RESET), (SILENT,), status=0, error="caller_gone", heard=False
    )
    CASES[f"chunks-{place}-stall"] = Case(
        (CHUNKED, sent, DRAIN), (SILENT,), status=408, error="request_timeout", heard=False
    )


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with played(tmp_path_factory.mktemp("client"), CASES) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_a_caller(outcomes: dict[str, Outcome], name: str) -> None:
    judge(CASES[name], outcomes[name])
