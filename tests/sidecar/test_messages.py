"""What is shown of messages holds no secret; the caller that is gone takes everything."""

from __future__ import annotations

import inspect

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import CONNECT, NOBODY, Call, Caller, Failure, Peer, Reply, Request, Response


def test_a_request_knows_its_path_and_hides_its_query():
    request = Request(b"GET", b"/a/b?token=secret", b"reviews:9080", fields((b"Cookie", b"secret")))
    assert (request.path, request.query, request.received) == (b"/a/b", b"token=secret", b"/a/b?token=secret")
    assert repr(request) == "<Request GET /a/b>"


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (Response(200, fields((b"Set-Cookie", b"secret"))), "<Response 200>"),
        (Reply(403, "denied", "no", body=b"secret"), "<Reply 403 denied>"),
        (Failure(CONNECT, "connect_refused", "why"), "<Failure connect_refused connect why>"),
        (Peer("10.0.0.1", 5), "<Peer 10.0.0.1:5>"),
        (Peer("10.0.0.1", 5, True, "spiffe://a/b"), "<Peer 10.0.0.1:5 spiffe://a/b>"),
    ],
)
def test_what_is_shown(made, shown):
    assert repr(made) == shown


def test_nobody_takes_all_that_a_caller_takes():
    methods = {name for name, _ in inspect.getmembers(Caller, inspect.isfunction) if not name.startswith("_")}
    for name in methods:
        told = len(inspect.signature(getattr(Caller, name)).parameters) - 1
        assert getattr(NOBODY, name)(*[None] * told) is (True if name == "send_data" else None)


def test_a_bare_call_cannot_resume():
    with pytest.raises(NotImplementedError):
        Call().resume()
