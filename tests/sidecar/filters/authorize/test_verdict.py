"""What a verdict tells the caller, and what it tells the log."""

from __future__ import annotations

from sidewinder_sidecar.errors import render
from sidewinder_sidecar.filters.authorize.verdict import PASSED, Verdict


def test_a_refusal_names_nothing() -> None:
    verdict = Verdict("shop/secret-policy", "secret-rule", False)
    assert verdict.reply is not None
    response, body = render(verdict.reply, None, "sidewinder")
    told = b" ".join(value for _, _, value in response.fields) + body
    assert response.status == 403
    assert b"http_request_denied" in told
    assert b"secret" not in told
    assert verdict.decision == verdict.reply.decision == "shop/secret-policy/secret-rule"
    assert verdict.action == "Deny"


def test_audit_refuses_nobody() -> None:
    verdict = Verdict("shop/trial", "rule", False, audit=True)
    assert (verdict.allowed, verdict.reply, verdict.action) == (True, None, "Audit")
    assert verdict.decision == "audit:shop/trial/rule"


def test_who_was_not_asked_says_nothing() -> None:
    assert (PASSED.allowed, PASSED.decision, PASSED.reply) == (True, "", None)


def test_repr() -> None:
    assert repr(Verdict("shop/policy", "rule", True)) == "<Verdict Allow shop/policy/rule>"
