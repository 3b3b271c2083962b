"""Who may be relayed: the guard is asked before the way up is opened, silence decides nothing, a refusal says who."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.downstream.tcp import SILENCE_SECONDS
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.policies import MtlsSpec, PolicySpec
from tests.support.memory import backend, listener, service
from tests.support.redirected import Redirected

CLUSTER = "10.96.0.7"
QUERY = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
GET = b"GET /a HTTP/1.1\r\nHost: reviews\r\n\r\n"
STRICT = PolicySpec(name="p", mtls=MtlsSpec(mode="Strict", policy="shop/strict"))


def guarded(policy=STRICT, protocol="", **more):
    spec = service(backend="v1", addresses=(CLUSTER,), protocol=protocol, policy="p")
    return Redirected(listener(transparent=True, pass_through=True), spec, *backend("v1"), policy, **more)


@pytest.mark.parametrize("protocol", ["", "TCP"])
def test_who_may_not_is_refused_before_anything_is_opened(protocol):
    mesh = guarded(protocol=protocol)
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, QUERY)
    transport.settle()
    assert mesh.scene.attempts == 0
    [told] = mesh.told
    assert (told.error, told.decision, told.service) == ("denied", "shop/strict/mtls", "shop/reviews:9080")
    assert "strict" not in told.detail
    assert transport.aborted
    mesh.check()


def test_a_policy_that_is_broken_lets_nobody_in():
    mesh = guarded(PolicySpec(name="p", closed="shop/strict/mtls"))
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, QUERY)
    transport.settle()
    [told] = mesh.told
    assert (told.error, told.decision) == ("denied", "closed:shop/strict/mtls")
    mesh.check()


def test_silence_opens_nothing_for_who_may_not_and_the_word_is_waited_for():
    mesh = guarded(limits=Limits(idle_seconds=10.0))
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.wait(SILENCE_SECONDS + 1)
    assert mesh.scene.attempts == 0
    assert not transport.closing
    mesh.say(transport, GET)  # HTTP has an answer for who may not
    assert transport.sent.startswith(b"HTTP/1.1 403 ")
    transport.lose()
    assert mesh.told == []
    mesh.check()


def test_who_may_not_and_says_nothing_is_not_kept():
    mesh = guarded(limits=Limits(idle_seconds=10.0))
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.wait(SILENCE_SECONDS + 1)
    mesh.wait(10.0)
    transport.settle()
    [told] = mesh.told
    assert (told.error, told.protocol) == ("denied", "")
    assert mesh.scene.attempts == 0
    mesh.check()


def test_a_destination_of_no_service_is_guarded_by_the_listener():
    spec = listener(transparent=True, pass_through=True, policy="p")
    mesh = Redirected(spec, STRICT)
    transport = mesh.arrive("10.1.0.9", 5432)
    mesh.say(transport, QUERY)
    transport.settle()
    [told] = mesh.told
    assert (told.error, told.decision) == ("denied", "shop/strict/mtls")
    assert mesh.scene.attempts == 0
    mesh.check()


@pytest.mark.parametrize("said", [QUERY, b""], ids=["the caller speaks", "the upstream speaks first"])
def test_who_was_silent_while_the_policy_changed_is_judged_by_the_new_one(said):
    free = PolicySpec(name="p", mtls=MtlsSpec(mode="Permissive"))
    mesh = guarded(free)
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.wait(SILENCE_SECONDS + 0.05)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    spec = service(backend="v1", addresses=(CLUSTER,), policy="p")
    mesh.scene.adopt(listener(transparent=True, pass_through=True), spec, *backend("v1"), STRICT)
    if said:
        mesh.say(transport, said)
    else:
        attempt.data(b"220 hello")
    transport.settle()
    assert attempt.cancelled
    assert transport.sent == b""
    assert [told.error for told in mesh.told] == ["denied"]
    mesh.check()
