"""A verdict that is not there yet, and that nothing of a caller is printed."""

from __future__ import annotations

from sidewinder_sidecar.filters.authenticate.verdict import INVALID, Pending, Refusal, Verdict, Verified


def test_a_pending_verdict_is_told_once() -> None:
    told: list[Verdict] = []
    pending, verdict = Pending(), Refusal(INVALID, "no")
    pending.then = told.append
    pending.answer(verdict)
    pending.answer(verdict)
    assert told == [verdict]


def test_who_does_not_wait_any_more_is_not_told() -> None:
    told: list[Verdict] = []
    gone: list[Pending] = []
    pending = Pending(gone.append)
    pending.then = told.append
    pending.cancel()
    pending.cancel()
    pending.answer(Verified({}))
    assert (gone, told) == ([pending], [])


def test_claims_are_not_printed() -> None:
    assert "alice" not in repr(Verified({"sub": "alice"}, "alice"))
    assert repr(Refusal(INVALID, "no")) == "<Refusal invalid_token no>"
