"""Two answers: what counts as different, and what of it may be told."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.filters.mirror.answer import LONGEST_VALUE, MOST_READ, MOST_TOLD, Answer, differences
from sidewinder_sidecar.messages import Response
from sidewinder_sidecar.telemetry.redact import Redaction


def answer(status=200, *rows, body=b"", parts=1):
    made = Answer()
    made.head(Response(status, fields(*rows)))
    size = max(1, -(-len(body) // parts))
    for start in range(0, len(body), size):
        made.data(body[start : start + size])
    made.end("")
    return made


def between(one, other, redaction=None):
    return differences(one, other, redaction)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(answer(body=b"abcdef"), answer(body=b"abcdef", parts=3), id="pieces"),
        pytest.param(
            answer(200, (b"Date", b"1"), (b"Age", b"2"), (b"X-Response-Time", b"7ms")),
            answer(200, (b"x-request-id", b"3")),
            id="ignored",
        ),
        pytest.param(
            answer(200, (b"A", b"1"), (b"B", b"2")), answer(200, (b"b", b"2"), (b"a", b"1")), id="order, case"
        ),
        pytest.param(answer(200, (b"content-length", b"0")), answer(), id="framing"),
        pytest.param(
            answer(200, (b"set-cookie", b"sid=1; Path=/")),
            answer(200, (b"set-cookie", b"sid=2; Path=/")),
            id="a session",
        ),
        pytest.param(answer(), answer(body=b""), id="nothing"),
    ],
)
def test_what_is_the_same(one, other):
    assert between(one, other) == {}


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        pytest.param(answer(200), answer(201), {"status"}, id="status"),
        pytest.param(answer(200, (b"a", b"1")), answer(200, (b"a", b"2")), {"headers"}, id="value"),
        pytest.param(answer(200, (b"a", b"1")), answer(), {"headers"}, id="missing"),
        pytest.param(
            answer(200, (b"set-cookie", b"sid=1")),
            answer(200, (b"set-cookie", b"id=1")),
            {"headers"},
            id="other cookies",
        ),
        pytest.param(
            answer(200, (b"a", b"1"), (b"a", b"2")), answer(200, (b"a", b"2"), (b"a", b"1")), {"headers"}, id="repeated"
        ),
        pytest.param(answer(body=b"abc"), answer(body=b"abd"), {"body"}, id="body"),
        pytest.param(answer(body=b"abc"), answer(body=b"ab"), {"body"}, id="shorter"),
        pytest.param(answer(500, body=b"x"), answer(200, (b"a", b"1")), {"status", "headers", "body"}, id="all"),
    ],
)
def test_what_differs(one, other, what):
    assert set(between(one, other)) == what


def test_only_so_much_of_a_body_is_compared():
    long, longer = b"x" * MOST_READ + b"1", b"x" * MOST_READ + b"2234"
    assert between(answer(body=long), answer(body=longer, parts=7)) == {}
    assert set(between(answer(body=long), answer(body=long[:-1]))) == {"body"}, "one of them ends there"
    assert answer(body=longer).size == MOST_READ + 1


def test_only_values_without_secrets_are_told():
    hidden = (b"set-cookie", b"location", b"authorization", b"x-token", b"www-authenticate", b"etag")
    one = answer(200, (b"content-type", b"text/plain"), *((name, b"secret-1") for name in hidden))
    other = answer(200, (b"content-type", b"text/html"), *((name, b"secret-2") for name in hidden))
    told = between(one, other)["headers"]
    assert {"name": "content-type", "original": "text/plain", "mirror": "text/html"} in told
    assert len(told) == 1 + len(hidden)
    assert "secret" not in repr(told)


def test_a_policy_hides_more():
    one, other = answer(200, (b"server", b"a")), answer(200)
    redaction = Redaction(frozenset({b"server"}), frozenset())
    assert between(one, other, redaction)["headers"] == [{"name": "server", "original": "[redacted]", "mirror": None}]


def test_a_sample_is_bounded():
    one = answer(200, *((b"x-%d" % number, b"v" * 999) for number in range(100)))
    told = between(one, answer(200, (b"server", b"v" * 999)))["headers"]
    assert len(told) == MOST_TOLD
    assert told[0]["mirror"] == "v" * LONGEST_VALUE


@pytest.mark.parametrize(
    ("error", "head", "whole"), [("", True, True), ("incomplete", True, False), ("", False, False)]
)
def test_whole_is_a_head_and_no_error(error, head, whole):
    made = Answer()
    if head:
        made.head(Response(200, fields()))
    made.end(error)
    assert (made.ended, made.whole) == (True, whole)
