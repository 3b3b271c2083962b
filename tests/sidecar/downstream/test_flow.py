"""A relayed connection's way to an endpoint: the next one if it cannot be reached, its limits, what is told of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidewinder_sidecar.downstream.flow import MOST_TRIES
from sidewinder_sidecar.messages import ANSWERING, CONNECT
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, BreakerSpec, ConcurrencySpec, EndpointsSpec, LimitsSpec
from tests.support.memory import backend, listener, service
from tests.support.redirected import Redirected

CLUSTER = "10.96.0.7"
OUT = listener(transparent=True, pass_through=True)


def shop(addresses=1, **options):
    spec = service(backend="v1", addresses=(CLUSTER,), protocol="TCP")
    return Redirected(OUT, spec, *backend("v1", addresses), **options)


def test_another_endpoint_is_tried_while_nothing_was_sent():
    mesh = shop(addresses=3)
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, b"first words")
    for _ in range(2):
        mesh.scene.attempt().fail(CONNECT, "connect_refused")
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    assert attempt.body == b"first words"
    assert len({tried.endpoint for tried in mesh.scene.opened}) == mesh.scene.attempts == 3
    transport.hear_eof()
    attempt.end()
    transport.settle()
    [told] = mesh.told
    assert (told.retries, told.error, told.address) == (2, "", attempt.endpoint.address)
    assert told.started <= told.connected <= told.ended
    mesh.check()


def test_a_connection_that_cannot_be_made_counts_for_the_breaker_and_one_that_can_does():
    policies = {"breaker": BreakerSpec(consecutive=1, open_seconds=1.0)}
    mesh = Redirected(OUT, service(backend="v1", addresses=(CLUSTER,), protocol="TCP"), *backend("v1", 2, **policies))
    transport = mesh.arrive(CLUSTER, 9080)
    bad = mesh.scene.attempt().endpoint
    mesh.scene.attempt().fail(CONNECT, "connect_refused")
    mesh.scene.attempt().open_tunnel()
    assert not bad.usable
    mesh.wait(1.1)
    other = mesh.arrive(CLUSTER, 9080)
    probe = mesh.scene.attempt()
    assert (probe.endpoint, bad.probing) == (bad, True)
    probe.open_tunnel()
    assert bad.usable
    for one in (transport, other):
        one.lose()
    mesh.check()


def test_a_probe_whose_caller_leaves_is_given_to_the_next_connection():
    policies = {"breaker": BreakerSpec(consecutive=1, open_seconds=1.0)}
    mesh = Redirected(OUT, service(backend="v1", addresses=(CLUSTER,), protocol="TCP"), *backend("v1", 2, **policies))
    transport = mesh.arrive(CLUSTER, 9080)
    bad = mesh.scene.attempt().endpoint
    mesh.scene.attempt().fail(CONNECT, "connect_refused")
    transport.lose()
    mesh.wait(1.1)
    mesh.arrive(CLUSTER, 9080).lose()
    again = mesh.arrive(CLUSTER, 9080)
    assert [attempt.endpoint for attempt in mesh.scene.opened[2:]] == [bad, bad]
    again.lose()
    mesh.check()


def test_a_full_endpoint_is_passed_over():
    limits = {"concurrency": ConcurrencySpec(endpoint=LimitsSpec(connections=1))}
    mesh = Redirected(OUT, service(backend="v1", addresses=(CLUSTER,), protocol="TCP"), *backend("v1", 2, **limits))
    callers = [mesh.arrive(CLUSTER, 9080) for _ in range(3)]
    assert {attempt.endpoint for attempt in mesh.scene.opened} == set(mesh.scene.made)
    mesh.wait(0.1)
    assert [caller.aborted for caller in callers] == [False, False, True]
    assert mesh.scene.fleet.backends["v1"].limits.refused["connections"] == 1
    for caller in callers:
        caller.lose()
    mesh.check()


def test_a_relayed_connection_counts_as_one_request():
    limits = {"concurrency": ConcurrencySpec(whole=LimitsSpec(requests=1))}
    mesh = Redirected(OUT, service(backend="v1", addresses=(CLUSTER,), protocol="TCP"), *backend("v1", 2, **limits))
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.scene.attempt().open_tunnel()
    refused = mesh.arrive(CLUSTER, 9080)
    mesh.wait(0.1)
    assert refused.aborted
    refused.lose()
    assert [(told.error, told.detail) for told in mesh.told] == [("overloaded", "1 requests to v1 run already")]
    transport.lose()
    assert mesh.scene.fleet.backends["v1"].limits.requests == 0
    assert mesh.scene.attempts == 1
    mesh.check()


@pytest.mark.parametrize(("addresses", "tries"), [(1, 1), (2, 2), (9, MOST_TRIES)])
def test_no_endpoint_is_tried_twice_and_not_all_of_many(addresses, tries):
    mesh = shop(addresses=addresses)
    transport = mesh.arrive(CLUSTER, 9080)
    while not transport.aborted:
        mesh.scene.attempt().fail(CONNECT, "connect_timeout", "no connection within 5 s")
    transport.lose()
    assert len({tried.endpoint for tried in mesh.scene.opened}) == mesh.scene.attempts == tries
    assert [(told.error, told.detail) for told in mesh.told] == [("connect_timeout", "no connection within 5 s")]
    mesh.check()


def test_a_connection_that_breaks_is_broken_on_the_other_side_too():
    mesh = shop(addresses=3)
    transport = mesh.arrive(CLUSTER, 9080)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    mesh.say(transport, b"x")
    attempt.fail(ANSWERING, "incomplete")
    assert transport.aborted
    transport.lose()
    assert mesh.scene.attempts == 1
    assert [(told.error, told.bytes_in) for told in mesh.told] == [("incomplete", 1)]
    mesh.check()


def test_an_upstream_that_ends_first_may_still_be_spoken_to():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    attempt.end()
    assert transport.eof
    assert not transport.closing
    mesh.say(transport, b"the rest")
    transport.hear_eof()
    transport.settle()
    assert (attempt.body, attempt.ended, transport.closing) == (b"the rest", True, True)
    mesh.check()


def test_what_nothing_moves_on_ends():
    mesh = shop(limits=Limits(tunnel_idle_seconds=10))
    transport = mesh.arrive(CLUSTER, 9080)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    for _ in range(3):
        mesh.wait(9)
        attempt.data(b"x")
    assert not transport.closing
    mesh.wait(21)
    assert transport.aborted
    assert attempt.cancelled == "idle"
    transport.lose()
    assert [(told.error, told.detail) for told in mesh.told] == [("idle", "nothing moved for 10 s")]
    mesh.check()


def test_what_lasts_too_long_ends_however_much_moves():
    mesh = shop(limits=Limits(stream_seconds=20))
    transport = mesh.arrive(CLUSTER, 9080)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    for _ in range(19):
        mesh.wait(1)
        attempt.data(b"x")
    assert not transport.closing
    mesh.wait(1.1)
    assert transport.aborted
    transport.lose()
    assert [(told.error, told.detail) for told in mesh.told] == [("deadline", "20 s are over")]
    mesh.check()


def test_the_end_of_the_drain_time_ends_all():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.scene.attempt().open_tunnel()
    for running in tuple(mesh.scene.proxy.running):
        running.abort("draining", "the time is over")
    assert transport.aborted
    transport.lose()
    assert [told.error for told in mesh.told] == ["draining"]
    mesh.check()


def test_no_endpoint_and_no_backend_are_told():
    nobody = BackendSpec(name="v1", endpoints="v1"), EndpointsSpec(name="v1")
    for resources, error in (
        ((service(backend="v1", addresses=(CLUSTER,), protocol="TCP"), *nobody), "no_endpoints"),
        ((service(addresses=(CLUSTER,), protocol="TCP"),), "no_backend"),
    ):
        mesh = Redirected(OUT, *resources)
        transport = mesh.arrive(CLUSTER, 9080)
        mesh.wait(0.1)
        assert transport.aborted
        transport.lose()
        assert [told.error for told in mesh.told] == [error]
        mesh.check()


def headless(**options):
    how, who = backend("v1", 3)
    unready = replace(who.endpoints[1], ready=False)
    who = replace(who, endpoints=(who.endpoints[0], unready, who.endpoints[2]))
    return Redirected(OUT, service(backend="v1", headless=True, **options), how, who), unready


def test_a_headless_service_is_reached_at_the_endpoint_that_was_dialled():
    mesh, unready = headless()
    transport = mesh.arrive(unready.address, 9080)  # its peers may want it before it is ready
    mesh.say(transport, b"\x00")
    assert mesh.scene.attempt().endpoint.address == (unready.address, 9080)
    mesh.scene.attempt().fail(CONNECT, "connect_refused")
    assert transport.aborted  # and nowhere else
    transport.lose()
    assert [(told.service, told.error) for told in mesh.told] == [("shop/reviews:9080", "connect_refused")]
    mesh.check()


def test_a_request_to_a_headless_service_too():
    mesh, unready = headless()
    transport = mesh.arrive(unready.address, 9080)
    for _ in range(5):
        mesh.say(transport, b"GET / HTTP/1.1\r\nHost: reviews-1.reviews\r\n\r\n")
        assert mesh.scene.attempt().endpoint.address == (unready.address, 9080)
        mesh.scene.attempt().answer(200, b"")
    transport.lose()
    assert {call.service for call in mesh.scene.records} == {"shop/reviews:9080"}
    mesh.check()
