"""Complaints are seldom, and say how many were held back."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.filters.authenticate.complaint import SECONDS, Complaint


def test_a_server_that_is_away_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    complaint = Complaint("shop/public/idp", lambda: now)
    for _ in range(500):
        complaint.tell("no answer")
    assert caplog.messages == ["shop/public/idp: no answer"]
    now += SECONDS
    complaint.tell("status 500")
    assert caplog.messages[1:] == ["shop/public/idp: status 500 (499 more since the last line)"]
