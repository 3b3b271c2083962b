"""API keys: known ones pass with their plan, all others are refused alike, and what is revoked or over is refused."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.snapshot.authentication import ApiKeyProvider, Credential, CredentialsSpec, Source
from tests.support.proofs import ALICE, BOB, KEYS, Guarded, section

BY_KEY = ApiKeyProvider(name="keys", credentials=KEYS.name)


def status(scene: Guarded, key: bytes) -> int:
    caller = scene.get((b"x-api-key", key))
    if not caller.status:
        scene.passed()
    return caller.status


WRONG = {
    "somebody else's secret": b"swk_aaaaaaaaaa_" + b"c" * 52,
    "an id that nobody has": b"swk_zzzzzzzzzz_" + b"b" * 52,
    "no id": b"swk__" + b"b" * 52,
    "upper case": ALICE.upper().encode(),
    "one letter less": ALICE[:-1].encode(),
    "one letter more": ALICE.encode() + b"b",
    "the id alone": b"aaaaaaaaaa",
    "its hash": KEYS.credentials[0].hash.encode(),
    "not ASCII": "swk_ä".encode(),
    "two in one": ALICE.encode() + b", " + BOB.encode(),
}


@pytest.mark.parametrize("key", WRONG.values(), ids=WRONG)
def test_what_is_no_key_is_refused(key: bytes) -> None:
    scene = Guarded(section(BY_KEY))
    assert status(scene, key) == 401
    assert scene.attempts == 0
    assert key.decode("latin-1") not in scene.last.detail


def test_a_key_ends_when_it_says() -> None:
    scene = Guarded(section(BY_KEY))
    assert status(scene, BOB.encode()) == 200
    scene.clock.advance(59.0)
    assert status(scene, BOB.encode()) == 200
    scene.clock.advance(1.5)
    assert status(scene, BOB.encode()) == 401
    assert status(scene, ALICE.encode()) == 200


def test_a_revoked_key_is_refused_with_the_next_request() -> None:
    scene = Guarded(section(BY_KEY))
    assert status(scene, ALICE.encode()) == 200
    scene.guard(section(BY_KEY), credentials=(CredentialsSpec(name=KEYS.name, credentials=KEYS.credentials[1:]),))
    assert status(scene, ALICE.encode()) == 401
    assert status(scene, BOB.encode()) == 200


def test_a_key_in_a_query_is_not_in_the_log() -> None:
    provider = ApiKeyProvider(
        name="keys", credentials=KEYS.name, sources=(Source(type="Query", name="key"),), strip=True
    )
    scene = Guarded(section(provider))
    scene.get(target=b"/a?x=1&key=" + ALICE.encode())
    assert scene.passed().target == b"/a?x=1"
    assert scene.last.request.received == b"/a?x=1&key=redacted"
    scene.get(target=b"/a?key=swk_wrong&y=2")
    assert scene.last.request.received == b"/a?key=redacted&y=2"


def test_keys_that_are_not_hashed_are_refused_before_they_serve() -> None:
    plain = CredentialsSpec(name=KEYS.name, credentials=(Credential(id="aaaaaaaaaa", hash=ALICE),))
    with pytest.raises(Refused) as refused:
        Guarded(section(BY_KEY), credentials=(plain,))
    assert ALICE not in str(refused.value)
    assert "aaaaaaaaaa" in str(refused.value)


def test_nobody_knows_while_the_secret_is_missing() -> None:
    gone = CredentialsSpec(name=KEYS.name, missing="there is no Secret")
    scene = Guarded(section(BY_KEY), credentials=(gone,))
    assert status(scene, ALICE.encode()) == 503
    assert scene.get().status == 401
