"""The error table is whole, and its answers are valid HTTP whatever the detail says."""

from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.errors import LONGEST_DETAIL, TABLE, refusal, render
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Reply, Request

ITEM = re.compile(rb'sidewinder; error=[a-z_]+; details="((?:[ !#-\[\]-~]|\\["\\])*)"')


def request(method=b"GET", *pairs):
    return Request(method, b"/", b"reviews", fields(*pairs))


@pytest.mark.parametrize("error", TABLE)
def test_every_row_is_an_answer(error):
    rule = TABLE[error]
    assert 400 <= rule.status <= 599
    assert 0 <= rule.grpc <= 16
    assert rule.retry in ("", "ConnectFailure", "ResetBeforeRequest", "Reset", "Timeout")
    assert rule.meaning
    assert rule.flag
    assert set(rule.type) <= set(string.ascii_lowercase + "_")
    response, body = render(refusal(error), request(), "sidewinder")
    assert response.status == rule.status
    assert ITEM.fullmatch(response.fields.get(b"proxy-status"))
    assert rule.meaning.encode() in body
    assert response.fields.get(b"content-length") == b"%d" % len(body)


@given(st.text())
def test_any_detail_is_a_string_of_rfc_8941(detail):
    response, _ = render(Reply(503, "bug", detail), request(), "sidewinder")
    found = ITEM.fullmatch(response.fields.get(b"proxy-status"))
    assert found
    assert len(found[1].replace(b"\\\\", b"x").replace(b'\\"', b"x")) <= LONGEST_DETAIL


def test_a_proxy_name_that_is_no_token_is_quoted():
    response, _ = render(refusal("bug"), request(), 'my "proxy"')
    assert response.fields.get(b"proxy-status").startswith(b'"my \\"proxy\\""; error=')


@pytest.mark.parametrize("accept", [b"application/json", b"text/html, application/problem+JSON"])
def test_json_for_who_reads_json(accept):
    response, body = render(Reply(404, "no_route", 'no "rule"'), request(b"GET", (b"Accept", accept)), "sidewinder")
    assert response.fields.get(b"content-type") == b"application/json"
    assert json.loads(body) == {"status": 404, "error": "no_route", "detail": 'no "rule"'}


@pytest.mark.parametrize("asked", [None, request(), request(b"GET", (b"Accept", b"*/*"))])
def test_text_for_everybody_else(asked):
    response, body = render(Reply(404, "no_route", "nobody"), asked, "sidewinder")
    assert response.fields.get(b"content-type").startswith(b"text/plain")
    assert body == b"no_route: nobody\n"


def test_head_tells_the_length_of_what_it_does_not_send():
    response, body = render(refusal("no_route"), request(b"HEAD"), "sidewinder")
    assert body == b""
    assert int(response.fields.get(b"content-length")) == response.length > 10


@pytest.mark.parametrize("error", ["overloaded", "draining"])
def test_who_comes_too_early_is_told_when_to_come_again(error):
    assert render(refusal(error), request(), "sidewinder")[0].fields.get(b"retry-after") == b"1"


def test_an_answer_that_is_no_refusal_has_no_proxy_status():
    response, body = render(Reply(302, fields=((b"Location", b"/there"),), body=b""), request(), "sidewinder")
    assert response.fields.get(b"location") == b"/there"
    assert (response.fields.get(b"proxy-status"), response.fields.get(b"content-length"), body) == (None, b"0", b"")


def test_no_content_has_none():
    response, body = render(Reply(204, body=b"not this"), request(), "sidewinder")
    assert (body, response.length, response.fields.get(b"content-length")) == (b"", 0, None)
