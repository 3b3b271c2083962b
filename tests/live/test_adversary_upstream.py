"""An upstream that stalls, resets, ends or lies at every point of an exchange, against a real process."""

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
    Script,
    judge,
    played,
)

pytestmark = pytest.mark.live

GET = b"GET / HTTP/1.1\r\nHost: @\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\nHost: @\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: @\r\nContent-Length: 6\r\n\r\nabcdef"
POST = PUT.replace(b"PUT", b"POST")
LARGE_PUT = b"PUT / HTTP/1.1\r\nHost: @\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
ASK: Script = (GET, DRAIN)
HEAD = b"HTTP/1.1 200 OK\r\n"
SIX = HEAD + b"Content-Length: 6\r\n\r\n"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
RETRY = {
    "retry": {
        "attempts": 1,
        "codes": [503],
        "conditions": ["ConnectFailure", "ResetBeforeRequest", "Reset", "Timeout"],
        "backoff": 0.01,
    }
}
TIMED = {"request_timeout": 0.4}
TRIED = {"backend_timeout": 0.3, **RETRY}
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
WEBSOCKET = b"GET / HTTP/1.1\r\nHost: @\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def lie(answer: bytes, error: str = "upstream_protocol", status: int = 502, said: str = "") -> Case:
    """An answer that is none."""
    return Case(ASK, ((BODY, answer, DRAIN),), status=status, error=error, said=said)


CASES: dict[str, Case] = {
    # before the answer's head
    "not-there": Case(ASK, (), status=503, error="connect_refused", said="connection_refused"),
    "accepts-and-stalls": Case(ASK, ((STALL,),), status=504, error="idle"),
    "accepts-and-closes": Case(ASK, ((CLOSE,),), status=502, error="reset"),
    # A reset that overtakes the end of the handshake is a connection that failed, which another case is about.
    "accepts-and-resets": Case(ASK, ((0.2, RESET),), status=502, error="reset"),
    "reads-and-stalls": Case(ASK, ((BODY, STALL),), status=504, error="idle"),
    "reads-and-closes": Case(ASK, ((BODY, CLOSE),), status=502, error="reset", said="connection_terminated"),
    "reads-and-resets": Case(ASK, ((BODY, RESET),), status=502, error="reset"),
    "reads-and-half-closes": Case(ASK, ((BODY, HALF, DRAIN),), status=502, error="reset"),
    "in-head-stalls": Case(ASK, ((BODY, b"HTTP/1.1 2", STALL),), status=504, error="idle"),
    "in-head-closes": Case(ASK, ((BODY, b"HTTP/1.1 2", CLOSE),), status=502, error="reset"),
    "in-head-resets": Case(ASK, ((BODY, b"HTTP/1.1 200 OK\r\nConte", RESET),), status=502, error="reset"),
    "early-hints-then-closes": Case(ASK, ((BODY, EARLY, CLOSE),), status=502, error="reset"),
    "early-hints-then-stalls": Case(ASK, ((BODY, EARLY, STALL),), status=504, error="idle"),
    "early-hints-then-answers": Case(ASK, ((BODY, EARLY, 0.05, OK, SERVE),)),
    "reads-half-a-body-and-resets": Case((LARGE_PUT, DRAIN), ((READ, RESET),), status=502, error="reset", heard=False),
    "reads-half-a-body-and-stalls": Case(
        (LARGE_PUT * 20, DRAIN),
        ((READ, STALL),),
        status=504,
        error="idle",
    ),
    # after the head, in the body
    "head-then-stalls": Case(ASK, ((BODY, SIX, STALL),), whole=False, error="idle"),
    "head-then-closes": Case(ASK, ((BODY, SIX, CLOSE),), whole=False, error="incomplete"),
    "head-then-resets": Case(ASK, ((BODY, SIX, 0.1, RESET),), whole=False, error="incomplete"),
    "in-body-stalls": Case(ASK, ((BODY, SIX + b"abc", STALL),), whole=False, error="idle"),
    "in-body-closes": Case(ASK, ((BODY, SIX + b"abc", CLOSE),), whole=False, error="incomplete"),
    "in-body-half-closes": Case(ASK, ((BODY, SIX + b"abc", HALF, DRAIN),), whole=False, error="incomplete"),
    "in-body-resets": Case(ASK, ((BODY, SIX + b"abc", 0.1, RESET),), whole=False, error="incomplete"),
    "last-byte-missing": Case(ASK, ((BODY, SIX + b"abcde", CLOSE),), whole=False, error="incomplete"),
    "until-close-closes": Case(ASK, ((BODY, HEAD + b"\r\nabc", CLOSE),)),
    "until-close-stalls": Case(ASK, ((BODY, HEAD + b"\r\nabc", STALL),), whole=False, error="idle"),
    "until-close-resets": Case(ASK, ((BODY, HEAD + b"\r\nabc", 0.1, RESET),), whole=False, error="incomplete"),
    "until-close-closes-to-1.0": Case((OLD, DRAIN), ((BODY, HEAD + b"\r\nabc", CLOSE),)),
    "until-close-resets-to-1.0": Case(
        (OLD, DRAIN), ((BODY, HEAD + b"\r\nabc", 0.1, RESET),), whole=False, error="incomplete"
    ),
    "chunks-cut-to-1.0": Case(
        (OLD, DRAIN), ((BODY, CHUNKS + b"3\r\nabc\r\n", CLOSE),), whole=False, error="incomplete"
    ),
    # lies
    "no-http": lie(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    "http-0.9": lie(b"<html>hello</html>\r\n\r\n"),
    "version-2": lie(b"HTTP/2.0 200 OK\r\n\r\n"),
    "status-99": lie(b"HTTP/1.1 099 No\r\n\r\n"),
    "status-1000": lie(b"HTTP/1.1 1000 No\r\n\r\n"),
    "space-before-colon": lie(HEAD + b"A : b\r\nContent-Length: 0\r\n\r\n"),
    "folded-line": lie(HEAD + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
    "bare-line-feed": lie(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    "nul": lie(HEAD + b"A: \0\r\nContent-Length: 0\r\n\r\n"),
    "two-lengths": lie(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "length-and-coding": lie(HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "negative-length": lie(HEAD + b"Content-Length: -1\r\n\r\n"),
    "coding-not-last": lie(HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n"),
    "coding-in-1.0": lie(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "head-without-end": lie(HEAD + b"".join(b"x%d: y\r\n" % n for n in range(20_000)), "response_headers_too_large"),
    "too-many-fields": lie(HEAD + b"a: b\r\n" * 200 + b"\r\n", "response_headers_too_large"),
    "switches-unasked": lie(SWITCHED, "upgrade_failed", said="http_upgrade_failed"),
    "informs-without-end": lie(EARLY * 100),
    "bad-chunk": Case(
        ASK, ((BODY, CHUNKS + b"3\r\nabc\r\n", 0.1, b"zz\r\n", DRAIN),), whole=False, error="upstream_protocol"
    ),
    "chunk-longer": Case(
        ASK, ((BODY, CHUNKS + b"3\r\nabc\r\n", 0.1, b"1\r\nabc\r\n", DRAIN),), whole=False, error="upstream_protocol"
    ),
    "bad-trailer": Case(
        ASK,
        ((BODY, CHUNKS + b"3\r\nabc\r\n", 0.1, b"0\r\nContent-Length: 3\r\n\r\n", DRAIN),),
        whole=False,
        error="upstream_protocol",
    ),
    "more-than-it-said": Case(ASK, ((BODY, OK + b"more", DRAIN),)),
    "two-answers": Case(ASK, ((BODY, OK + OK, DRAIN),)),
    "an-answer-nobody-asked-for": Case(
        ASK, ((BODY, OK, 0.05, b"HTTP/1.1 500 Evil\r\nContent-Length: 0\r\n\r\n", DRAIN),)
    ),
    "an-answer-before-the-request": Case(ASK, ((OK, SERVE),)),
    "a-body-after-204": Case(ASK, ((BODY, b"HTTP/1.1 204 No\r\n\r\nbody", DRAIN),), status=204),
    "a-body-after-304": Case(ASK, ((BODY, b"HTTP/1.1 304 No\r\nContent-Length: 4\r\n\r\nbody", DRAIN),), status=304),
    # early answers to a body
    "final-answer-and-close": Case(
        (LARGE_PUT, DRAIN),
        ((READ, b"HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", DRAIN),),
        status=413,
    ),
    # retries
    "closed-then-good": Case(ASK, ((BODY, CLOSE), GOOD), rule=RETRY, retries=1, tries=2),
    "reset-then-good": Case(ASK, ((BODY, RESET), GOOD), rule=RETRY, retries=1, tries=2),
    "in-head-then-good": Case(ASK, ((BODY, b"HTTP/1.1 2", CLOSE), GOOD), rule=RETRY, retries=1, tries=2),
    "reset-twice": Case(ASK, ((BODY, RESET), (BODY, RESET)), rule=RETRY, status=502, error="reset", retries=1, tries=2),
    "busy-then-good": Case(ASK, ((BODY, BUSY, SERVE),), rule=RETRY, retries=1, tries=1),
    "busy-with-a-stalled-body-then-good": Case(ASK, ((BODY, BUSY[:-2], STALL), GOOD), rule=RETRY, retries=1, tries=2),
    "busy-with-a-cut-body-then-good": Case(ASK, ((BODY, BUSY[:-2], CLOSE), GOOD), rule=RETRY, retries=1, tries=2),
    "busy-with-an-endless-body-then-good": Case(
        ASK, ((BODY, b"HTTP/1.1 503 Busy\r\n\r\n", b"x" * 5_000_000, CLOSE), GOOD), rule=RETRY, retries=1, tries=2
    ),
    "busy-twice": Case(ASK, ((BODY, BUSY, TOLD, BUSY, SERVE),), rule=RETRY, status=503, retries=1, tries=1),
    "busy-then-the-kept-connection-dies": Case(ASK, ((BODY, BUSY, TOLD, RESET), GOOD), rule=RETRY, retries=2, tries=2),
    "cut-answer-is-not-retried": Case(
        ASK, ((BODY, SIX + b"abc", CLOSE), GOOD), rule=RETRY, whole=False, error="incomplete", tries=1
    ),
    "slow-then-good": Case(ASK, ((BODY, STALL), GOOD), rule=TRIED, retries=1, tries=2),
    "slow-twice": Case(
        ASK, ((BODY, STALL), (BODY, STALL)), rule=TRIED, status=504, error="try_timeout", retries=1, tries=2
    ),
    "slow-in-head-then-good": Case(ASK, ((BODY, b"HTTP/1.1 2", STALL), GOOD), rule=TRIED, retries=1, tries=2),
    "slow-in-body-is-cut": Case(
        ASK, ((BODY, SIX + b"abc", STALL), GOOD), rule=TRIED, whole=False, error="try_timeout", tries=1
    ),
    "body-sent-again": Case((PUT, DRAIN), ((BODY, RESET), GOOD), rule=RETRY, retries=1, tries=2, heard=True),
    "body-sent-again-after-half": Case(
        (PUT[:-3], 0.2, PUT[-3:], DRAIN), ((READ, RESET), GOOD), rule=RETRY, retries=1, tries=2, heard=True
    ),
    "large-body-not-sent-again": Case(
        (LARGE_PUT, DRAIN), ((READ, RESET), GOOD), rule=RETRY, status=502, error="reset", tries=1, said="too large"
    ),
    "post-is-not-sent-again": Case(
        (POST, DRAIN), ((BODY, RESET), GOOD), rule=RETRY, status=502, error="reset", tries=1
    ),
    "post-with-a-key-is": Case(
        (POST.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: 1\r\n\r\n"), DRAIN),
        ((BODY, RESET), GOOD),
        rule=RETRY,
        retries=1,
        tries=2,
        heard=True,
    ),
    "not-there-twice": Case(ASK, (), rule=RETRY, status=503, error="connect_refused", retries=1),
    # the request's time
    "late-head": Case(ASK, ((BODY, STALL),), rule=TIMED, status=504, error="deadline", said="http_response_timeout"),
    "late-in-head": Case(ASK, ((BODY, b"HTTP/1.1 2", STALL),), rule=TIMED, status=504, error="deadline"),
    "late-in-body": Case(ASK, ((BODY, SIX + b"abc", STALL),), rule=TIMED, whole=False, error="deadline"),
    "no-time-for-a-retry": Case(
        ASK,
        ((BODY, 0.2, BUSY, SERVE),),
        rule={**TIMED, "retry": {"attempts": 5, "codes": [503], "backoff": 86_000.0, "max_backoff": 86_000.0}},
        status=503,
        tries=1,
        said="no time is left",
    ),
    # 100-continue
    "continue-then-closes": Case(
        (PUT.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"), DRAIN),
        ((READ, CONTINUE, CLOSE),),
        status=502,
        error="reset",
    ),
    "continue-refused": Case(
        (PUT[:-6].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"), DRAIN),
        ((READ, b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", DRAIN),),
        status=417,
    ),
    # tunnels
    "tunnel-upstream-closes": Case((WEBSOCKET, b"a", DRAIN), ((READ, SWITCHED + b"b", TOLD, CLOSE),), status=101),
    "tunnel-upstream-resets": Case(
        (WEBSOCKET, b"a", DRAIN), ((READ, SWITCHED + b"b", 0.1, RESET),), status=101, error="incomplete"
    ),
    "tunnel-upstream-stalls": Case(
        (WEBSOCKET, b"a", DRAIN), ((READ, SWITCHED + b"b", STALL),), status=101, error="idle"
    ),
    "tunnel-caller-closes": Case((WEBSOCKET, READ, CLOSE), ((READ, SWITCHED, DRAIN),), status=101),
    "tunnel-caller-half-closes": Case(
        (WEBSOCKET, READ, b"a", HALF, DRAIN), ((READ, SWITCHED, DRAIN, b"bye", CLOSE),), status=101
    ),
    "tunnel-caller-resets": Case(
        (WEBSOCKET, READ, b"a", RESET), ((READ, SWITCHED, DRAIN),), status=101, error="caller_gone"
    ),
    "tunnel-refused": Case((WEBSOCKET, DRAIN), (GOOD,)),
    "tunnel-of-another-kind": Case(
        (WEBSOCKET, DRAIN),
        ((READ, SWITCHED.replace(b"websocket", b"other"), DRAIN),),
        status=502,
        error="upgrade_failed",
    ),
    "connect-not-there": Case(
        (b"CONNECT @:80 HTTP/1.1\r\nHost: @:80\r\n\r\n", DRAIN), (), status=503, error="connect_refused"
    ),
}

# A chunked answer, cut at every border.
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
ENDS: dict[str, tuple[Script, str]] = {
    "closes": ((CLOSE,), "incomplete"),
    "resets": ((0.1, RESET), "incomplete"),
    "stalls": ((STALL,), "idle"),
}
for place, sent in BORDERS.items():
    for how, (steps, error) in ENDS.items():
        CASES[f"chunks-{place}-{how}"] = Case(ASK, ((BODY, CHUNKS + sent, *steps),), whole=False, error=error)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with played(tmp_path_factory.mktemp("upstream"), CASES) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_an_upstream(outcomes: dict[str, Outcome], name: str) -> None:
    judge(CASES[name], outcomes[name])
