"""The frame: what callers must show, what follows from it, and how a caller learns why it is not let in."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.filters import authenticate
from sidewinder_sidecar.filters.authenticate.verdict import (
    INVALID,
    MALFORMED,
    SCOPE,
    UNAVAILABLE,
    Pending,
    Refusal,
    Verified,
)
from sidewinder_sidecar.filters.context import Context
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.snapshot.authentication import (
    ApiKeyProvider,
    ExternalProvider,
    Forward,
    IntrospectionProvider,
    Source,
)
from tests.support.calls import call
from tests.support.proofs import ALICE, BOB, CLIENT, KEYS, POLICY, Guarded, section

BY_KEY = ApiKeyProvider(name="keys", credentials=KEYS.name)
BY_QUERY = ApiKeyProvider(name="query", credentials=KEYS.name, sources=(Source(type="Query", name="key"),))
BY_TOKEN = IntrospectionProvider(
    name="idp", uri="http://127.0.0.1:81/introspect", credentials=CLIENT.name, required_scopes=("read",)
)
BY_SERVICE = ExternalProvider(name="own", uri="http://127.0.0.1:82/check", allow_headers=("x-user",))
GOOD, BAD = (b"X-Api-Key", ALICE.encode()), (b"X-Api-Key", b"swk_nobody")


def test_who_shows_a_key_passes_and_is_known() -> None:
    scene = Guarded(section(BY_KEY))
    scene.get(GOOD)
    assert scene.passed().fields[b"x-api-key"] == ALICE.encode()
    call = scene.last
    assert call.attributes == {
        "claims": {"team": "web", "plan": "gold", "key": "aaaaaaaaaa"},
        "subject": "aaaaaaaaaa",
        "plan": "gold",
        "provider": f"{POLICY}/keys",
    }
    assert (call.decision, call.status) == (f"{POLICY}/keys", 200)
    assert scene.counted == {"Allow": 1}
    scene.check()


def test_who_shows_nothing_learns_what_could_be_shown() -> None:
    scene = Guarded(section(BY_KEY, BY_TOKEN))
    caller = scene.get()
    assert (caller.status, scene.attempts) == (401, 0)
    assert caller.response is not None
    assert caller.response.fields.all(b"www-authenticate") == [
        b'ApiKey realm="sidewinder", name="x-api-key"',
        b'Bearer realm="sidewinder"',  # RFC 6750 section 3.1: no error code where nothing was sent
    ]
    assert caller.header(b"proxy-status") is not None
    assert scene.last.decision == f"{POLICY}/-"
    assert POLICY.encode() not in caller.body + b"".join(row[2] for row in caller.response.fields)
    assert scene.counted == {"Deny": 1}


def test_optional_lets_nobody_pass_but_no_wrong_key() -> None:
    scene = Guarded(section(BY_KEY, credentials="Optional"))
    scene.get()
    scene.passed()
    assert scene.last.attributes is None
    assert scene.get(BAD).status == 401
    assert scene.get((b"X-Api-Key", b"")).status == 400


def test_every_credential_that_is_sent_must_be_good() -> None:
    scene = Guarded(section(BY_KEY, BY_QUERY))
    scene.get(GOOD, target=b"/?key=" + BOB.encode())
    scene.passed()
    assert scene.last.attributes is not None
    assert scene.last.attributes["subject"] == "aaaaaaaaaa"  # the first that says something
    assert scene.get(GOOD, target=b"/?key=swk_no").status == 401
    assert scene.get(BAD, target=b"/?key=" + ALICE.encode()).status == 401


def test_all_wants_every_provider() -> None:
    scene = Guarded(section(BY_KEY, BY_QUERY, require="All"))
    assert scene.get(GOOD).status == 401
    scene.get(GOOD, target=b"/?key=" + ALICE.encode())
    scene.passed()
    optional = Guarded(section(BY_KEY, BY_QUERY, require="All", credentials="Optional"))
    assert optional.get(GOOD).status == 401
    optional.get()
    optional.passed()


TWICE = {
    "two headers": ((GOOD, (b"X-Api-Key", BOB.encode())), b"/"),
    "the same header twice": ((GOOD, GOOD), b"/"),
    "the same parameter twice": ((), b"/?key=a&key=b"),
}


@pytest.mark.parametrize(("pairs", "target"), TWICE.values(), ids=TWICE)
def test_two_credentials_of_one_kind_are_refused(pairs: tuple[tuple[bytes, bytes], ...], target: bytes) -> None:
    scene = Guarded(section(BY_KEY, BY_QUERY))
    caller = scene.get(*pairs, target=target)
    assert (caller.status, scene.attempts) == (400, 0)


def test_what_is_too_long_is_not_even_hashed() -> None:
    scene = Guarded(section(BY_KEY))
    assert scene.get((b"X-Api-Key", b"x" * 8193)).status == 400


def test_several_sections_must_all_be_met() -> None:
    scene = Guarded(section(BY_KEY), section(BY_QUERY))
    assert scene.get(GOOD).status == 401
    scene.get(GOOD, target=b"/?key=" + BOB.encode())
    scene.passed()
    assert scene.last.attributes is not None
    assert scene.last.attributes["subject"] == "aaaaaaaaaa"


def test_what_several_sections_read_is_taken_out_after_the_last() -> None:
    stripping = ApiKeyProvider(name="keys", credentials=KEYS.name, strip=True)
    for sections in (
        (section(stripping), section(stripping)),
        (section(stripping), section(BY_QUERY, credentials="Optional")),
    ):
        scene = Guarded(*sections)
        scene.get(GOOD)
        assert b"x-api-key" not in scene.passed().fields
        assert scene.last.attributes is not None
        assert "strip" not in scene.last.attributes


# Headers that are ours


FORWARDING = ApiKeyProvider(
    name="keys",
    credentials=KEYS.name,
    forward=(Forward("team", "x-team"), Forward("plan", "x-plan")),
    strip=True,
)
FORGED = ((b"X-Team", b"evil"), (b"x_team", b"evil"), (b"X-Plan", b"evil"), (b"X-Forwarded-Client-Cert", b"URI=evil"))


def test_claims_become_headers_that_nobody_can_forge() -> None:
    scene = Guarded(section(FORWARDING, credentials="Optional"))
    scene.get(GOOD, *FORGED)
    told = scene.passed().fields
    assert (told[b"x-team"], told[b"x-plan"]) == (b"web", b"gold")
    assert b"evil" not in b"".join(told.values())
    assert b"x-api-key" not in told
    scene.get(*FORGED)
    assert b"evil" not in b"".join(scene.passed().fields.values())


def test_nobody_is_forged_behind_the_body() -> None:
    scene = Guarded(section(FORWARDING))
    caller = scene.ask(b"POST", b"/", GOOD, length=None, body=None)
    caller.exchange.on_request_data(b"x")
    caller.exchange.on_request_end(fields((b"x-team", b"evil")))
    assert scene.passed().trailers is None


def test_a_claim_that_would_end_its_line_is_refused() -> None:
    provider = ApiKeyProvider(name="keys", credentials=KEYS.name, forward=(Forward("team", "x-team"),))
    scene = Guarded(section(provider))
    frame = authenticate.Frame(section(provider), context(scene))
    frame.providers[0].verify = lambda call, credential: Verified({"team": "web\r\nx-admin: 1"})
    reply = frame.apply(call(b"/", GOOD))
    assert reply is not None
    assert reply.status == 401  # type: ignore[union-attr]


def context(scene: Guarded) -> Any:
    return Context(scene.fleet.means, scene.wheel, {}, {KEYS.name: KEYS, CLIENT.name: CLIENT}, {})


# What is told


TOLD = {
    "invalid": (Refusal(INVALID, 'bad "quote"'), 401, b'error="invalid_token", error_description="bad \'quote\'"'),
    "malformed": (Refusal(MALFORMED, "two"), 400, b'error="invalid_request", error_description="two"'),
    "scope": (
        Refusal(SCOPE, "more", "read write"),
        403,
        b'error="insufficient_scope", error_description="more", scope="read write"',
    ),
}


def told_by(verdict: Refusal | Verified, provider: Any = BY_TOKEN) -> Any:
    frame = authenticate.Frame(section(provider), context(Guarded(section(BY_KEY))))
    frame.providers[0].verify = lambda call, credential: verdict
    return frame.apply(call(b"/", (b"Authorization", b"Bearer t")))


@pytest.mark.parametrize(("verdict", "status", "said"), TOLD.values(), ids=TOLD)
def test_refusals_are_told_as_rfc_6750_has_them(verdict: Refusal, status: int, said: bytes) -> None:
    reply = told_by(verdict)
    assert (reply.status, dict(reply.fields)[b"www-authenticate"]) == (status, b'Bearer realm="sidewinder", ' + said)


def test_who_cannot_be_asked_is_no_fault_of_the_caller() -> None:
    reply = told_by(Refusal(UNAVAILABLE, "not now"))
    assert (reply.status, reply.error, dict(reply.fields)) == (
        503,
        "authentication_unavailable",
        {b"retry-after": b"1"},
    )


def test_the_refusal_that_says_most_is_told() -> None:
    scene = Guarded(section(BY_TOKEN, BY_TOKEN_TOO))
    frame = authenticate.Frame(section(BY_TOKEN, BY_TOKEN_TOO), context(scene))
    verdicts = [Refusal(MALFORMED, "no JWT"), Refusal(INVALID, "not active")]
    for provider, verdict in zip(frame.providers, verdicts, strict=True):
        provider.verify = lambda call, credential, verdict=verdict: verdict
    reply = frame.apply(call(b"/", (b"Authorization", b"bearer t")))
    assert (reply.status, reply.detail) == (401, "not active")  # type: ignore[union-attr]


BY_TOKEN_TOO = IntrospectionProvider(name="other", uri="http://127.0.0.1:83/", credentials=CLIENT.name)


# Waiting


class Slow:
    """A provider that is asked and answers when the test says so."""

    def __init__(self, frame: authenticate.Frame) -> None:
        self.asked: list[Pending] = []
        self.gone = 0
        for provider in frame.providers:
            provider.verify = self.verify

    def verify(self, call: Any, credential: bytes) -> Pending:
        self.asked.append(Pending(self._on_gone))
        return self.asked[-1]

    def _on_gone(self, pending: Pending) -> None:
        self.gone += 1


def slow(scene: Guarded) -> Slow:
    """The frame of the scene's one section, waiting for the test."""
    guard = scene.proxy.plan.services["shop/reviews:9080"].guard
    assert guard is not None
    frame = guard.filters[0].__self__  # type: ignore[attr-defined]
    return Slow(frame)


def test_a_request_waits_and_goes_on() -> None:
    scene = Guarded(section(BY_KEY))
    asked = slow(scene).asked
    caller = scene.get(GOOD)
    assert (scene.attempts, caller.paused) == (0, True)
    asked[0].answer(Verified({"a": 1}, "me"))
    scene.passed()
    assert scene.last.attributes is not None
    assert scene.last.attributes["subject"] == "me"
    scene.check()


def test_a_request_waits_and_is_refused() -> None:
    scene = Guarded(section(BY_KEY))
    asked = slow(scene).asked
    caller = scene.get(GOOD)
    asked[0].answer(Refusal(INVALID, "no"))
    assert caller.status == 401
    scene.check()


def test_all_providers_wait_one_after_the_other() -> None:
    scene = Guarded(section(BY_KEY, BY_QUERY, require="All"))
    asked = slow(scene).asked
    scene.get(GOOD, target=b"/?key=x")
    asked[0].answer(Verified({"one": 1, "both": 1}))
    asked[1].answer(Verified({"two": 2, "both": 2}))
    scene.passed()
    assert scene.last.attributes is not None
    assert scene.last.attributes["claims"] == {"one": 1, "two": 2, "both": 1}
    scene.check()


def test_who_leaves_is_not_waited_for() -> None:
    scene = Guarded(section(BY_KEY))
    provider = slow(scene)
    caller = scene.get(GOOD)
    caller.exchange.on_caller_gone("caller_gone")
    assert provider.gone == 1
    provider.asked[0].answer(Verified({}))
    assert scene.attempts == 0
    scene.check()


def test_a_bug_behind_an_answer_is_one_requests_alone(caplog: pytest.LogCaptureFixture) -> None:
    scene = Guarded(section(FORWARDING))
    asked = slow(scene).asked
    caller = scene.get(GOOD)
    asked[0].answer(Verified(None))  # type: ignore[arg-type]
    assert caller.status == 500
    assert "a bug while authenticating" in caplog.text
    assert ALICE not in caplog.text


# External beside others


def test_an_external_service_is_asked_where_nobody_else_accepts() -> None:
    scene = Guarded(section(BY_KEY, BY_SERVICE))
    scene.get(GOOD, (b"x-user", b"forged"))
    assert b"x-user" not in scene.passed().fields
    scene.get(BAD, (b"x-user", b"forged"))
    question = scene.attempt()
    assert question.endpoint.address == ("127.0.0.1", 82)
    question.answer(200, b"", (b"X-User", b"alice"))
    assert scene.passed().fields[b"x-user"] == b"alice"
    assert scene.last.decision == f"{POLICY}/own"


def test_with_optional_nobody_is_asked_about_nothing() -> None:
    scene = Guarded(section(BY_SERVICE, credentials="Optional"))
    scene.get()
    scene.passed()
    scene.get((b"cookie", b"session=1"))
    scene.attempt().answer(403, b"no")
    assert scene.last.status == 403


def test_a_section_without_providers_lets_nobody_build_it() -> None:
    with pytest.raises(Refused, match="at least one provider"):
        Guarded(section())


def test_all_asks_the_service_too() -> None:
    scene = Guarded(section(BY_SERVICE, BY_KEY, require="All"))
    assert (scene.get().status, scene.attempts) == (401, 0)
    caller = scene.get(BAD)
    assert (caller.status, scene.attempts) == (401, 0)  # keys come first: they cost nothing
    scene.get(GOOD)
    scene.attempt().answer(200, b"", (b"x-user", b"alice"))
    assert scene.passed().fields[b"x-user"] == b"alice"
    assert scene.last.attributes is not None
    assert scene.last.attributes["subject"] == "aaaaaaaaaa"
    refused = scene.get(GOOD)
    scene.attempt().answer(403, b"no")
    assert (refused.status, refused.body) == (403, b"no")
    scene.check()
