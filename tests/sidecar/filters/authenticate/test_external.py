"""A service of the user's own: what it is told, what its answers mean, and what happens without one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidewinder_sidecar.filters.authenticate import external
from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.snapshot.authentication import ExternalProvider
from tests.support.memory import PEER
from tests.support.proofs import Guarded, section

PLAIN = ExternalProvider(name="own", uri="http://authz.example/check?app=shop", allow_headers=("x-user", "x-groups"))


def world(**changes: Any) -> Guarded:
    return Guarded(section(msgspec.structs.replace(PLAIN, **changes)))


def test_it_learns_what_is_asked_and_nothing_else() -> None:
    scene = world()
    scene.ask(
        b"POST",
        b"/a?b=1",
        (b"Authorization", b"Bearer t"),
        (b"Cookie", b"s=1"),
        (b"X-Other", b"secret"),
        (b"X-Forwarded-Uri", b"/forged"),
        body=b"hello",
    )
    asked = scene.attempt()
    assert (asked.method, asked.target, asked.body, asked.ended) == (b"GET", b"/check?app=shop", b"", True)
    assert asked.endpoint.address == ("authz.example", 80)
    assert asked.fields == {
        b"host": b"authz.example",
        b"user-agent": b"sidewinder-sidecar",
        b"authorization": b"Bearer t",
        b"cookie": b"s=1",
        b"x-forwarded-method": b"POST",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"reviews:9080",
        b"x-forwarded-uri": b"/a?b=1",
        b"x-forwarded-for": PEER.encoded,
    }
    asked.answer(200, b"welcome", (b"X-User", b"alice"), (b"X-Groups", b"a"), (b"x-groups", b"b"), (b"X-Else", b"no"))
    passed = scene.passed()
    assert (passed.method, passed.body) == (b"POST", b"hello")
    assert passed.fields[b"x-user"] == b"alice"
    assert b"x-else" not in passed.fields
    scene.check()


def test_who_calls_is_told_by_its_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PEER, "identity", "spiffe://cluster.local/ns/shop/sa/web")
    scene = world()
    scene.get()
    asked = scene.attempt()
    assert asked.fields[b"x-forwarded-client-cert"] == b"URI=spiffe://cluster.local/ns/shop/sa/web"
    asked.answer(204, b"")
    scene.passed()


def test_headers_that_it_may_set_come_from_nobody_else() -> None:
    scene = world()
    scene.get((b"X-User", b"forged"), (b"x_groups", b"admin"))
    scene.attempt().answer(200, b"")
    assert not {b"x-user", b"x_groups", b"x-groups"} & scene.passed().fields.keys()


def test_its_refusal_is_the_answer() -> None:
    scene = world()
    caller = scene.get()
    scene.attempt().answer(
        401,
        b"log in",
        (b"WWW-Authenticate", b"Own"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
        (b"X-Secret", b"1"),
    )
    assert (caller.status, caller.body) == (401, b"log in")
    assert caller.response is not None
    assert caller.header(b"www-authenticate") == b"Own"
    assert caller.response.fields.all(b"set-cookie") == [b"a=1", b"b=2"]
    assert caller.header(b"x-secret") is None
    assert scene.last.error == "unauthenticated"


def test_a_redirect_goes_to_the_caller_and_is_not_followed() -> None:
    scene = world()
    caller = scene.get()
    scene.attempt().answer(302, b"", (b"Location", b"https://login.example"))
    assert (caller.status, caller.header(b"location"), scene.attempts) == (302, b"https://login.example", 1)
    assert scene.last.error == "denied"


def test_of_a_long_refusal_the_beginning_is_told() -> None:
    scene = world()
    caller = scene.get()
    attempt = scene.attempt()
    attempt.answer(403)
    for _ in range(30):
        if not attempt.over:
            attempt.data(b"x" * 1000)
    assert (caller.status, len(caller.body)) == (403, external.MOST_BYTES)
    scene.check()


@pytest.mark.parametrize("fail_open", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize("how", ["500", "503", "away", "slow"])
def test_without_an_answer_the_policy_decides(how: str, fail_open: bool) -> None:
    scene = world(fail_open=fail_open)
    caller = scene.get((b"x-user", b"forged"))
    asked = scene.attempt()
    if how == "away":
        asked.fail(CONNECT, "connect_refused")
    elif how == "slow":
        scene.clock.advance(2.1)
    else:
        asked.answer(int(how), b"")
    if fail_open:
        assert b"x-user" not in scene.passed().fields
    else:
        assert (caller.status, scene.attempts) == (503, 1)
    scene.check()


def test_who_leaves_is_not_asked_about_any_more() -> None:
    scene = world()
    caller = scene.get()
    caller.exchange.on_caller_gone("caller_gone")
    assert scene.attempt().cancelled is not None
    scene.check()


def test_questions_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "AT_ONCE", 2)
    scene = world()
    callers = [scene.get() for _ in range(3)]
    assert [caller.status for caller in callers] == [0, 0, 503]
    callers[0].exchange.on_caller_gone("caller_gone")
    scene.get()
    assert scene.attempts == 3


WRONG = {
    "no host": {"uri": "http:///x"},
    "another scheme": {"uri": "ftp://authz.example"},
    "a user": {"uri": "http://me:hush@authz.example"},
    "a header of framing": {"allow_headers": ("content-length",)},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_what_cannot_be_asked_is_refused_before_it_serves(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        world(**changes)
    assert "hush" not in str(refused.value)
