"""Headers and query parameters of a match."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Request
from sidewinder_sidecar.router.conditions import header, parameters, query
from sidewinder_sidecar.snapshot.routes import ValueMatch


def request(target=b"/", *pairs):
    return Request(b"GET", target, b"h", fields(*pairs))


@pytest.mark.parametrize(
    ("spec", "value", "holds"),
    [
        (ValueMatch("X-Beta", "true"), b"true", True),
        (ValueMatch("x-beta", "true"), b"True", False),
        (ValueMatch("x-beta", "true"), None, False),
        (ValueMatch("x-beta", ""), b"", True),
        (ValueMatch("x-beta", "v[0-9]+", "RegularExpression"), b"v12", True),
        (ValueMatch("x-beta", "v[0-9]+", "RegularExpression"), b"v12x", False),
        (ValueMatch("x-beta", ".*", "RegularExpression"), None, False),
        (ValueMatch("x-beta", "ü", "Exact"), "ü".encode(), True),
    ],
)
def test_headers(spec, value, holds):
    assert header(spec)(request(b"/", *(() if value is None else ((b"X-Beta", value),)))) is holds


@pytest.mark.parametrize(
    ("spec", "target", "holds"),
    [
        (ValueMatch("v", "1"), b"/?v=1", True),
        (ValueMatch("v", "1"), b"/?a=2&v=1&b=3", True),
        (ValueMatch("v", "1"), b"/?v=2&v=1", False),
        (ValueMatch("v", "1"), b"/", False),
        (ValueMatch("v", ""), b"/?v", True),
        (ValueMatch("a b", "c d"), b"/?a%20b=c+d", True),
        (ValueMatch("v", "[0-9]+", "RegularExpression"), b"/?v=42", True),
        (ValueMatch("v", "[0-9]+", "RegularExpression"), b"/?v=x", False),
        (ValueMatch("v", "%zz"), b"/?v=%zz", True),
    ],
)
def test_parameters(spec, target, holds):
    assert query(spec)(request(target)) is holds


@pytest.mark.parametrize("make", [header, query])
def test_an_expression_that_is_none(make):
    with pytest.raises(ValueError, match="missing"):
        make(ValueMatch("x", "(", "RegularExpression"))


def test_what_is_parsed_is_remembered_within_bounds():
    for number in range(100):
        parameters(b"n=%d" % number)
    assert parameters.cache_info().currsize <= 32
