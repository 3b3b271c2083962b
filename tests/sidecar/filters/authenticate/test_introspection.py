"""Introspection: what a server's answer means, how long it counts, and that a crowd asks once."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
import pytest

from sidewinder_sidecar.filters.authenticate import introspection
from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.snapshot.authentication import IntrospectionProvider
from tests.support.memory import Attempt
from tests.support.proofs import CLIENT, NOW, Guarded, section

PLAIN = IntrospectionProvider(name="idp", uri="http://127.0.0.1:81/introspect?x=1", credentials=CLIENT.name, cache=30.0)
TOKEN = (b"Authorization", b"Bearer t/+=")


def world(**changes: Any) -> Guarded:
    return Guarded(section(msgspec.structs.replace(PLAIN, **changes)))


def answer(attempt: Attempt, said: Any, status: int = 200) -> None:
    assert attempt.endpoint.address == ("127.0.0.1", 81)
    attempt.answer(status, said if isinstance(said, bytes) else json.dumps(said).encode())


def test_the_question_is_as_rfc_7662_has_it() -> None:
    scene = world()
    scene.get(TOKEN)
    asked = scene.attempt()
    assert (asked.method, asked.target, asked.ended) == (b"POST", b"/introspect?x=1", True)
    assert asked.body == b"token=t%2F%2B%3D&token_type_hint=access_token"
    assert asked.fields[b"authorization"] == b"Basic " + b64encode(b"me:hush%3A%2B")
    assert asked.fields[b"content-type"] == b"application/x-www-form-urlencoded"
    assert asked.fields[b"host"] == b"127.0.0.1:81"
    answer(asked, {"active": True, "sub": "alice", "scope": "read"})
    scene.passed()
    assert scene.last.attributes is not None
    assert (scene.last.attributes["subject"], scene.last.attributes["claims"]["scope"]) == ("alice", "read")
    scene.check()


REFUSED = {
    "not active": ({"active": False}, 401),
    "over": ({"active": True, "exp": NOW}, 401),
    "not yet": ({"active": True, "nbf": NOW + 61}, 401),
    "for somebody else": ({"active": True, "aud": ["other"]}, 401),
    "for nobody": ({"active": True}, 401),
    "too little": ({"active": True, "aud": "shop", "scope": "write reads"}, 403),
    "truth as text": ({"active": "true", "aud": "shop"}, 503),
    "truth as number": ({"active": 1, "aud": "shop"}, 503),
    "no word of it": ({"aud": "shop"}, 503),
    "no object": ([True], 503),
    "HTML": (b"<html>", 503),
    "nothing": (b"", 503),
    "said twice": (b'{"active": false, "active": true, "aud": "shop"}', 503),
    "an end that is no number": ({"active": True, "aud": "shop", "exp": "never"}, 503),
    "an end that is true": ({"active": True, "aud": "shop", "exp": True}, 503),
    "too deep": (b'{"active": true, "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 503),
    "10 MB": (b'{"active": true, "aud": "shop", "x": "' + b"x" * 10_000_000 + b'"}', 503),
}


@pytest.mark.parametrize(("said", "status"), REFUSED.values(), ids=REFUSED)
def test_everything_else_is_refused(said: Any, status: int) -> None:
    scene = world(audiences=("shop",), required_scopes=("read",))
    caller = scene.get(TOKEN)
    answer(scene.attempt(), said)
    assert (caller.status, scene.attempts) == (status, 1)
    if status == 403:
        assert b'scope="read"' in (caller.header(b"www-authenticate") or b"")
    scene.check()


@pytest.mark.parametrize("status", [401, 302, 204, 500])
def test_a_server_that_does_not_want_is_no_answer(status: int, caplog: pytest.LogCaptureFixture) -> None:
    scene = world()
    caller = scene.get(TOKEN)
    answer(scene.attempt(), {"active": True}, status)
    assert caller.status == 503
    assert f"status {status}" in caplog.text
    assert "t/+=" not in caplog.text + str(caller.body)


def test_a_server_that_is_slow_or_away_is_no_answer() -> None:
    scene = world(timeout=2.0)
    caller = scene.get(TOKEN)
    scene.clock.advance(1.9)
    assert not caller.status
    scene.clock.advance(0.2)
    assert (caller.status, scene.last.error) == (503, "authentication_unavailable")
    again = scene.get(TOKEN)
    scene.attempt().fail(CONNECT, "connect_refused")
    assert again.status == 503
    scene.check()


def test_an_answer_counts_for_its_time() -> None:
    scene = world()
    scene.get(TOKEN)
    answer(scene.attempt(), {"active": True})
    scene.passed()
    scene.clock.advance(29.0)
    scene.get(TOKEN)
    scene.passed()
    scene.clock.advance(2.0)
    scene.get(TOKEN)
    answer(scene.attempt(), {"active": False})
    assert scene.last.status == 401


def test_an_answer_never_counts_beyond_the_tokens_end() -> None:
    scene = world()
    scene.get(TOKEN)
    answer(scene.attempt(), {"active": True, "exp": NOW + 10})
    scene.passed()
    scene.clock.advance(11.0)
    scene.get(TOKEN)
    assert scene.attempt().method == b"POST"


def test_a_refused_token_is_asked_about_again_soon() -> None:
    scene = world()
    scene.get(TOKEN)
    answer(scene.attempt(), {"active": False})
    assert scene.get(TOKEN).status == 401
    assert scene.attempts == 1
    scene.clock.advance(introspection.REFUSED_SECONDS + 0.1)
    scene.get(TOKEN)
    assert scene.attempts == 2


def test_without_a_cache_every_request_asks() -> None:
    scene = world(cache=0.0)
    for count in (1, 3):
        scene.get(TOKEN)
        assert scene.attempts == count
        answer(scene.attempt(), {"active": True})
        scene.passed()


def test_a_crowd_asks_once() -> None:
    scene = world()
    crowd = [scene.get(TOKEN) for _ in range(100)]
    assert scene.attempts == 1
    crowd[0].exchange.on_caller_gone("caller_gone")
    answer(scene.attempt(), {"active": True})
    assert scene.attempts == 100  # the question, and the 99 that are still there
    for attempt in scene.opened[1:]:
        attempt.answer(200, b"")
    assert {caller.status for caller in crowd[1:]} == {200}
    scene.check()


def test_questions_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "AT_ONCE", 2)
    monkeypatch.setattr(introspection, "WAITING", 3)
    scene = world()
    callers = [scene.get((b"authorization", b"Bearer %d" % number)) for number in range(6)]
    assert scene.attempts == 2
    assert [caller.status for caller in callers] == [0, 0, 0, 0, 0, 503]
    scene.opened[0].answer(200, b'{"active": false}')
    assert (callers[0].status, scene.attempts) == (401, 3)
    callers[3].exchange.on_caller_gone("caller_gone")
    scene.opened[1].answer(200, b'{"active": false}')
    assert [question.body for question in scene.opened[2:]] == [
        b"token=2&token_type_hint=access_token",
        b"token=4&token_type_hint=access_token",  # nobody waits for what 3 is
    ]
    for question in scene.opened[2:]:
        question.answer(200, b'{"active": false}')
    scene.check()


def test_who_waited_too_long_for_his_turn_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "AT_ONCE", 1)
    scene = world(timeout=1.0)
    first, second = (scene.get((b"authorization", token)) for token in (b"Bearer 1", b"Bearer 2"))
    scene.clock.advance(1.1)
    assert (first.status, second.status, scene.attempts) == (503, 503, 1)
    scene.check()


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "MOST_KEPT", 10)
    monkeypatch.setattr(introspection, "KEPT_BYTES", 1000)
    scene = world()
    for number in range(50):
        scene.get((b"authorization", b"Bearer %d" % number))
        answer(scene.attempt(), {"active": True, "x": "y" * (200 if number > 25 else 0)})
        scene.passed()
    [server] = [kept for name, kept in scene.fleet.means.memory.items() if name.startswith("introspection")]
    assert 0 < len(server.kept) <= 10
    assert server.size <= 1000
    assert server.size == sum(known.size for known in server.kept.values())
    assert not server.asked


def test_what_is_known_outlives_a_configuration_and_each_judges_for_himself() -> None:
    scene = world()
    scene.get(TOKEN)
    answer(scene.attempt(), {"active": True, "aud": "shop"})
    scene.passed()
    scene.guard(section(msgspec.structs.replace(PLAIN, audiences=("other",))))
    assert scene.get(TOKEN).status == 401
    assert scene.attempts == 2


def test_a_client_without_a_name_asks_nobody() -> None:
    scene = Guarded(section(PLAIN), credentials=(msgspec.structs.replace(CLIENT, credentials=()),))
    assert (scene.get(TOKEN).status, scene.attempts) == (503, 0)
