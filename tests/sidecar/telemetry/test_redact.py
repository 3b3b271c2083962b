"""What stays hidden, however a parameter's name is written."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.telemetry import redact
from sidewinder_sidecar.telemetry.redact import Redaction

POLICY = Redaction(frozenset({b"user-agent"}), frozenset({b"email"}))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"", b""),
        (b"page=2&token=s3cret", b"page=2&token=[redacted]"),
        (b"TOKEN=s3cret", b"TOKEN=[redacted]"),
        (b"%74oken=s3cret", b"%74oken=[redacted]"),
        (b"token%5B%5D=s3cret", b"token%5B%5D=[redacted]"),
        (b"a;token=s3cret", b"a;token=[redacted]"),
        (b"+token=s3cret", b"+token=[redacted]"),
        (b"api_key=s3=cret&api_key=more", b"api_key=[redacted]&api_key=[redacted]"),
        (b"access_token=&key", b"access_token=[redacted]&key"),
        (b"tokens=3&keyword=x", b"tokens=3&keyword=x"),
        (b"%ff%=1", b"%ff%=1"),
    ],
)
def test_tokens_are_hidden_without_any_policy(written: bytes, shown: bytes) -> None:
    assert redact.query(written, None) == shown


def test_a_policy_adds_to_that() -> None:
    assert redact.query(b"email=a@b&token=c&page=1", POLICY) == b"email=[redacted]&token=[redacted]&page=1"
    assert redact.target(b"/a?email=x", POLICY) == b"/a?email=[redacted]"
    assert [redact.target(one, POLICY) for one in (b"/a", b"/a?")] == [b"/a", b"/a?"]


@pytest.mark.parametrize(
    ("name", "policy", "shown"),
    [(b"user-agent", POLICY, b"[redacted]"), (b"x-request-id", POLICY, b"v"), (b"user-agent", None, b"v")],
    ids=["named", "another", "no policy"],
)
def test_headers_are_hidden_where_a_policy_says_so(name: bytes, policy: Redaction | None, shown: bytes) -> None:
    assert redact.header(name, b"v", policy) == shown
    assert redact.header(name, b"", policy) == b"", "what was not sent is not hidden"


def test_a_call_has_its_policys_or_none() -> None:
    assert redact.of(None) is None
    assert redact.of({"claims": {}}) is None
    assert redact.of({redact.ATTRIBUTE: POLICY}) is POLICY
