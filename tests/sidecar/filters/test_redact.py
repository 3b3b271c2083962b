"""The section's filter leaves a note for logs and spans, and changes nothing else."""

from __future__ import annotations

from sidewinder_sidecar.filters import redact
from sidewinder_sidecar.snapshot.policies import RedactSpec
from sidewinder_sidecar.telemetry.redact import of, query
from tests.support.calls import call


def test_it_leaves_what_logs_and_spans_ask_for() -> None:
    apply = redact.build(RedactSpec(headers=("User-Agent",), query=("Email",)))
    asked = call(b"/a?email=x", (b"User-Agent", b"curl/8"))
    assert apply(asked) is None
    found = of(asked.attributes)
    assert found is not None
    assert found.headers == {b"user-agent"}
    assert query(asked.request.query, found) == b"email=[redacted]"
    assert asked.request.target == b"/a?email=x", "the application gets it all"


def test_it_keeps_what_others_have_left() -> None:
    asked = call(b"/")
    asked.attributes = {"subject": "ada"}
    redact.build(RedactSpec(query=("a",)))(asked)
    assert asked.attributes["subject"] == "ada"
