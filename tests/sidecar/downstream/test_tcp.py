"""A redirected connection finds its service and what it speaks, and loses no byte on the way. No sockets, no time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidewinder_sidecar.downstream import http1, sniff, tcp
from sidewinder_sidecar.downstream.tcp import SILENCE_SECONDS, UNDECIDED_SECONDS
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from tests.support.memory import backend, listener, service
from tests.support.redirected import POD, Redirected

GET = b"GET /a HTTP/1.1\r\nHost: reviews\r\n\r\n"
QUERY = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
CLUSTER = "10.96.0.7"
OUT = listener(transparent=True, pass_through=True)


def shop(protocol="", addresses=1, **options):
    options.setdefault("limits", None)
    limits = options.pop("limits")
    spec = service(backend="v1", addresses=(CLUSTER,), protocol=protocol)
    return Redirected(OUT, spec, *backend("v1", addresses), limits=limits, **options)


def answer(scene, transport, body=b"ok"):
    scene.attempt().answer(200, body)
    return transport.sent


@pytest.mark.parametrize("cut", range(1, len(GET)))
def test_a_request_is_an_exchange_however_it_is_cut(cut):
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, GET[:cut], GET[cut:])
    assert isinstance(transport.protocol, http1.Connection)
    assert mesh.scene.attempt().target == b"/a"
    assert answer(mesh.scene, transport).endswith(b"ok")
    [call] = mesh.scene.records
    assert (call.service, call.peer.address, call.peer.destination) == ("shop/reviews:9080", POD, (CLUSTER, 9080))
    transport.lose()
    mesh.check()
    assert mesh.told == []


@pytest.mark.parametrize("said", [QUERY, sniff.PREFACE + b"more", b"SET a b\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("one", [True, False])
def test_anything_else_is_relayed_with_every_byte(said, one):
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, *([said] if one else [said[n : n + 1] for n in range(len(said))]))
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    assert attempt.body == said
    attempt.data(b"answer")
    assert transport.sent == b"answer"
    transport.hear_eof()
    attempt.end()
    transport.settle()
    [told] = mesh.told
    assert (told.protocol, told.service, told.backend) == (sniff.judge(said), "shop/reviews:9080", "v1")
    assert (told.bytes_in, told.bytes_out, told.error) == (len(said), 6, "")
    mesh.check()


def test_a_caller_that_waits_before_its_request_is_still_judged():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.wait(60)
    attempt = mesh.scene.attempt()  # silence has opened the upstream
    attempt.open_tunnel()
    mesh.wait(60)
    mesh.say(transport, GET)
    assert attempt.cancelled == "not needed"
    assert answer(mesh.scene, transport).endswith(b"ok")
    assert mesh.scene.attempts == 2
    transport.lose()
    mesh.check()
    assert mesh.told == []


def test_a_server_that_speaks_first_is_relayed():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.wait(SILENCE_SECONDS + 0.02)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    attempt.data(b"220 hello\r\n")
    mesh.say(transport, b"GET / HTTP/1.1\r\n\r\n")  # no request any more
    assert (transport.sent, attempt.body) == (b"220 hello\r\n", b"GET / HTTP/1.1\r\n\r\n")
    attempt.end()
    transport.hear_eof()
    transport.settle()
    assert [told.protocol for told in mesh.told] == [sniff.OTHER]
    mesh.check()


def test_half_a_word_is_waited_for_and_then_relayed():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, b"HELO")
    mesh.wait(UNDECIDED_SECONDS - 0.1)
    assert mesh.scene.attempts == 0
    mesh.wait(0.2)
    mesh.scene.attempt().open_tunnel()
    assert mesh.scene.attempt().body == b"HELO"
    transport.lose()
    assert [(told.protocol, told.error) for told in mesh.told] == [(sniff.OTHER, "caller_gone")]
    mesh.check()


def test_what_is_said_while_the_upstream_is_being_connected_waits_with_the_caller():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, QUERY)
    assert not transport.reading
    mesh.say(transport, b"in flight")  # one read that was on its way
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    assert attempt.body == QUERY + b"in flight"
    assert transport.reading
    attempt.writable = False
    mesh.say(transport, b"x")
    assert not transport.reading
    attempt.write_on()
    assert transport.reading
    transport.lose()
    mesh.check()


def test_a_caller_that_does_not_read_pauses_the_upstream():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, QUERY)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    transport.room = 0
    attempt.data(b"x" * 100_000)
    assert attempt.paused
    transport.take()
    assert not attempt.paused
    transport.lose()
    mesh.check()


@pytest.mark.parametrize("said", [b"", b"GE", QUERY])
def test_a_caller_that_half_closes_is_served_to_the_end(said):
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, *([said] if said else []))
    transport.hear_eof()
    assert not transport.closing
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    assert (attempt.body, attempt.ended) == (said, True)
    attempt.data(b"all of it")
    attempt.end()
    assert transport.sent == b"all of it"
    transport.settle()
    assert [(told.bytes_in, told.error) for told in mesh.told] == [(len(said), "")]
    mesh.check()


def test_a_request_with_its_end_is_answered():
    mesh = shop()
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, GET)
    transport.hear_eof()
    assert answer(mesh.scene, transport).endswith(b"ok")
    assert transport.ended
    transport.lose()
    mesh.check()


def test_http_is_never_relayed():
    mesh = shop(protocol="HTTP")
    for said in (QUERY + b"\r\n\r\n", sniff.PREFACE):
        transport = mesh.arrive(CLUSTER, 9080)
        assert isinstance(transport.protocol, http1.Connection)
        mesh.say(transport, said)
        assert transport.sent.startswith(b"HTTP/1.1 400 ")
        transport.lose()
    assert mesh.scene.attempts == 0
    assert [call.error for call in mesh.scene.records] == ["bad_request", "bad_request"]
    mesh.check()


def test_tcp_is_never_looked_into():
    mesh = shop(protocol="TCP")
    transport = mesh.arrive(CLUSTER, 9080)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    mesh.say(transport, GET)
    assert attempt.body == GET
    transport.lose()
    assert mesh.scene.records == []
    mesh.check()


@pytest.mark.parametrize("said", [GET, QUERY])
def test_an_address_of_no_service_is_passed_on_to_wherever_its_authority_points(said):
    mesh = shop()
    transport = mesh.arrive("192.0.2.9", 443)
    mesh.say(transport, said)
    assert mesh.scene.attempt().endpoint.address == ("192.0.2.9", 443)
    transport.lose()
    assert [told.backend for told in (*mesh.told, *mesh.scene.records)] == ["outside"]


@pytest.mark.parametrize(
    ("to", "error"),
    [
        (("192.0.2.9", 80), "no_route"),  # nothing passes through
        (("127.0.0.1", 15001), "loop"),  # not redirected
        ((POD, 15001), "loop"),  # the pod calls its own proxy
    ],
)
def test_what_leads_nowhere_is_refused_in_its_own_words(to, error):
    spec = service(backend="v1", addresses=(CLUSTER,))
    mesh = Redirected(listener(transparent=True), spec, *backend("v1"))
    asks, speaks, waits = (mesh.arrive(*to) for _ in range(3))
    mesh.say(asks, GET)
    assert b"proxy-status: sidewinder; error=" in asks.sent
    mesh.say(speaks, QUERY)
    assert speaks.aborted
    assert not waits.closing
    mesh.wait(SILENCE_SECONDS + 0.02)
    assert waits.aborted
    for transport in (asks, speaks, waits):
        transport.lose()
    assert [call.error for call in mesh.scene.records] == [error]
    assert [told.error for told in mesh.told] == [error, error]
    assert mesh.scene.attempts == 0
    mesh.check()


def test_the_pods_own_address_may_be_called_where_nothing_passes_through():
    mesh = Redirected(listener(transparent=True), service(backend="v1"), *backend("v1"))
    transport = mesh.arrive(POD, 8080)
    mesh.say(transport, GET)
    assert mesh.scene.attempt().endpoint.address == (POD, 8080)
    transport.lose()


class Operator:
    """Who is asked; answers when the test says so."""

    def __init__(self):
        self.keys = []
        self.done = None
        self.cancelled = False

    def __call__(self, key, done):
        self.keys.append(key)
        self.done = done
        return self

    def cancel(self):
        self.cancelled = True


def lazy(operator, *resources):
    mesh = Redirected(OUT, ProxySpec(name="self", namespace="shop", lazy=True), *resources)
    mesh.scene.proxy.fetch = operator
    return mesh


KNOWN = (service(backend="v1", addresses=(CLUSTER,)), *backend("v1"))


def test_an_unknown_destination_is_asked_for_once_and_what_is_said_waits():
    operator = Operator()
    mesh = lazy(operator)
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, GET[:3], GET[3:])
    mesh.wait(1.5)
    assert (operator.keys, mesh.scene.attempts) == (["10.96.0.7:9080"], 0)
    mesh.scene.adopt(OUT, ProxySpec(name="self", namespace="shop", lazy=True), *KNOWN)
    operator.done()
    assert answer(mesh.scene, transport).endswith(b"ok")
    assert mesh.scene.records[0].service == "shop/reviews:9080"
    transport.lose()
    mesh.check()


@pytest.mark.parametrize("said", [b"", GET, QUERY])
def test_what_nobody_knows_goes_on_to_where_it_wanted(said):
    operator = Operator()
    mesh = lazy(operator)
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, *([said] if said else []))
    operator.done()
    mesh.wait(0.1)
    assert mesh.scene.attempt().endpoint.address == (CLUSTER, 9080)
    transport.lose()


def test_little_is_kept_while_the_operator_is_asked():
    mesh = lazy(Operator())
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, b"x" * tcp.UNREAD)
    assert transport.reading
    mesh.say(transport, b"x")
    assert not transport.reading
    mesh.scene.proxy.fetch.done()
    mesh.scene.attempt().open_tunnel()
    assert len(mesh.scene.attempt().body) == tcp.UNREAD + 1
    assert transport.reading
    transport.lose()


def test_a_caller_that_leaves_meanwhile_is_not_answered_for():
    operator = Operator()
    mesh = lazy(operator)
    transport = mesh.arrive(CLUSTER, 9080)
    transport.lose()
    assert operator.cancelled
    mesh.check()


def test_nobody_is_asked_for_what_is_known_or_where_all_is():
    operator = Operator()
    mesh = lazy(operator, *KNOWN)
    mesh.arrive(CLUSTER, 9080).lose()
    mesh.scene.adopt(OUT)
    mesh.arrive("192.0.2.9", 80).lose()
    assert operator.keys == []
    mesh.check()


def test_inbound_the_port_decides_and_the_rest_passes_on_to_the_pod_itself():
    inbound = replace(listener(name="in", transparent=True, pass_through=True), direction="Inbound", port=15006)
    own = replace(service(name="inbound-8080", backend="v1", domains=()), port=8080)
    mesh = Redirected(inbound, own, *backend("v1"), listener="in")
    for port, address in ((8080, "10.0."), (9999, "10.1.0.6")):
        transport = mesh.arrive("10.1.0.6", port)
        mesh.say(transport, GET)
        assert mesh.scene.attempt().endpoint.address[0].startswith(address)
        transport.lose()
    refused = mesh.arrive("10.1.0.6", 15006)
    mesh.say(refused, GET)
    assert refused.sent.startswith(b"HTTP/1.1 508 ")


def test_more_connections_than_the_limit_are_turned_away():
    mesh = shop(limits=Limits(connections=1))
    first = mesh.arrive(CLUSTER, 9080)
    second = mesh.arrive(CLUSTER, 9080)
    assert (second.aborted, first.closing, mesh.listener.turned_away) == (True, False, 1)
    for transport in (first, second):
        transport.lose()
    assert [told.error for told in mesh.told] == ["overloaded"]
    mesh.check()


def test_a_drain_ends_what_is_silent_and_lets_the_rest_come_to_rest():
    mesh = shop()
    silent, busy = mesh.arrive(CLUSTER, 9080), mesh.arrive(CLUSTER, 9080)
    mesh.say(busy, QUERY)
    attempt = mesh.scene.attempt()
    attempt.open_tunnel()
    mesh.listener.drain()
    assert silent.ended
    silent.lose()
    for _ in range(3):
        mesh.wait(0.8)
        attempt.data(b"x")
    assert not busy.closing
    mesh.wait(2.5)
    assert busy.aborted
    busy.lose()
    assert [told.error for told in mesh.told] == ["draining"]
    mesh.check()


def test_a_listener_that_the_plan_names_no_more_serves_nobody():
    mesh = shop()
    mesh.listener.name = "gone"
    transport = mesh.arrive(CLUSTER, 9080)
    mesh.say(transport, GET)
    assert transport.sent.startswith(b"HTTP/1.1 503 ")
    transport.lose()
    mesh.check()
