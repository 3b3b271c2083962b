"""Retries over several proxies, and upstreams that ask to be left alone: what the next hop is told and charged."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import CONNECT, UNSENT, Peer, Request
from sidewinder_sidecar.resilience.retry import ATTEMPT, LONGEST_PAUSE
from sidewinder_sidecar.snapshot.routes import RetrySpec
from sidewinder_sidecar.snapshot.upstreams import BudgetSpec
from tests.support.memory import Scene, backend, rule, shop

RETRY = RetrySpec(attempts=2, codes=(429, 503), backoff=0.025, max_backoff=0.25)
BACKOFF = 0.3  # longer than any
NEIGHBOUR = Peer("10.9.9.9", 40000, True, "spiffe://cluster.local/ns/shop/sa/web")
STRANGER = Peer("192.0.2.1", 40000)


def hop(direction="Outbound", addresses=3, budget=None, **options):
    options.setdefault("retry", RETRY)
    made = (backend("v1", addresses, budget=budget or BudgetSpec()),)
    listener, *rest = shop(rule("v1", **options), backends=made)
    return Scene(replace(listener, direction=direction), *rest)


def ask(scene, *pairs, peer=None, **options):
    caller = scene.caller()
    if peer is not None:
        caller.exchange.peer = peer
    caller.exchange.begin(Request(b"GET", b"/", b"reviews:9080", fields(*pairs), 0), True)
    return caller


def test_the_first_try_says_nothing_and_each_retry_its_number() -> None:
    scene = hop()
    caller = ask(scene)
    for _ in range(2):
        scene.attempt().answer(503, b"", whole=True)
        scene.clock.advance(BACKOFF)
    scene.attempt().answer(200, b"", whole=True)
    assert [attempt.fields.get(ATTEMPT) for attempt in scene.opened] == [None, b"2", b"3"]
    assert caller.status == 200
    scene.check()


def test_a_try_that_reached_nobody_is_no_retry_to_the_next_hop() -> None:
    scene = hop(retry=None)
    ask(scene)
    scene.attempt().fail(UNSENT, "reset_before_request")
    scene.clock.advance(BACKOFF)
    assert scene.attempts == 2
    assert ATTEMPT not in scene.attempt().fields
    scene.attempt().answer(200, b"")
    scene.check()


def test_no_number_is_written_that_the_next_hop_would_not_believe() -> None:
    scene = hop()
    ask(scene, (b"X-Sidewinder-Attempt", b"99"))
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(BACKOFF)
    assert scene.attempt().fields.get(ATTEMPT) == b"99"
    scene.attempt().answer(200, b"")
    scene.check()


@pytest.mark.parametrize(
    ("direction", "peer", "value", "passed"),
    [
        pytest.param("Inbound", NEIGHBOUR, b"2", b"2", id="a proxy of the mesh"),
        pytest.param("Outbound", STRANGER, b"3", b"3", id="our own application"),
        pytest.param("Gateway", NEIGHBOUR, b"2", b"2", id="a proxy of the mesh at a gateway"),
        pytest.param("Inbound", STRANGER, b"2", None, id="a stranger"),
        pytest.param("Gateway", STRANGER, b"2", None, id="a stranger at a gateway"),
        pytest.param("Inbound", NEIGHBOUR, b"1", None, id="a first try"),
        pytest.param("Inbound", NEIGHBOUR, b"-2", None, id="negative"),
        pytest.param("Inbound", NEIGHBOUR, b"100", None, id="too large"),
        pytest.param("Inbound", NEIGHBOUR, b"", None, id="empty"),
        pytest.param("Inbound", NEIGHBOUR, b"two", None, id="no number"),
    ],
)
def test_who_is_believed(direction, peer, value, passed) -> None:
    scene = hop(direction)
    ask(scene, (b"X-Sidewinder-Attempt", value), peer=peer)
    assert scene.attempt().fields.get(ATTEMPT) == passed
    assert scene.fleet.backends["v1"].budget.retries() == (1 if passed else 0)
    scene.attempt().answer(200, b"")
    scene.check()


def test_what_came_as_a_retry_is_charged_to_this_hops_own_budget() -> None:
    scene = hop(budget=BudgetSpec(percent=0, min_count=2))
    for number in range(2):
        ask(scene, (ATTEMPT, b"2"))
        scene.attempt().answer(200, b"", whole=True)
        assert scene.fleet.backends["v1"].budget.retries() == number + 1
    assert scene.fleet.backends["v1"].budget.requests() == 0
    caller = ask(scene)  # somebody else's first try finds the budget used up
    scene.attempt().answer(503, b"", whole=True)
    assert (caller.status, scene.attempts) == (503, 3)
    assert "the retry budget of v1 is used up" in scene.records[-1].detail
    scene.check()


def test_a_retry_is_sent_all_the_same_when_there_is_no_budget_but_not_again() -> None:
    scene = hop(budget=BudgetSpec(percent=0, min_count=0))
    caller = ask(scene, (ATTEMPT, b"2"))
    assert scene.attempts == 1
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(BACKOFF)
    assert (scene.attempts, caller.status) == (1, 503)
    assert "not retried" in scene.records[0].detail
    scene.check()


def test_where_the_budget_allows_it_a_retry_is_retried_and_counts_on() -> None:
    scene = hop()
    ask(scene, (ATTEMPT, b"2"))
    scene.attempt().answer(503, b"", whole=True)
    scene.clock.advance(BACKOFF)
    assert scene.attempt().fields[ATTEMPT] == b"3"
    scene.attempt().answer(200, b"", whole=True)
    assert scene.fleet.backends["v1"].budget.retries() == 2
    scene.check()


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_load_does_not_multiply_over_hops_when_everything_fails(hops) -> None:
    """Each hop retries twice. What reaches the last one stays within the sum of budgets, not within their product."""
    scenes = [hop(addresses=1, budget=BudgetSpec(percent=20, min_count=0)) for _ in range(hops)]

    def send(depth, attempt) -> None:
        pairs = ((ATTEMPT, attempt),) if attempt else ()
        caller = ask(scenes[depth], *pairs)
        seen = 0
        while not caller.over:
            ours = scenes[depth].opened[-1]
            if depth + 1 < hops:
                send(depth + 1, ours.fields.get(ATTEMPT, b""))
            ours.answer(503, b"", whole=True)
            scenes[depth].clock.advance(0.0 if caller.over else BACKOFF)
            seen += 1
            assert seen <= 3

    for _ in range(400):
        for scene in scenes:
            scene.clock.advance(0.01)
        send(0, b"")
    reached = scenes[-1].attempts / 400
    assert reached < 1 + 0.25 * hops
    assert all(not scene.faults for scene in scenes)


# An upstream that asks to be left alone


@pytest.mark.parametrize(
    ("status", "pairs", "seconds"),
    [
        (503, ((b"Retry-After", b"2"),), 2.0),
        (429, ((b"Retry-After", b"2"),), 2.0),
        (429, ((b"RateLimit-Reset", b"3"),), 3.0),
        (503, ((b"Date", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"Retry-After", b"Sun, 06 Nov 1994 08:49:39 GMT")), 2.0),
        (503, (), 0.0),
    ],
)
def test_it_is(status, pairs, seconds) -> None:
    scene = hop(addresses=1)
    caller = ask(scene)
    scene.attempt().answer(status, b"", *pairs, whole=True)
    if seconds:
        scene.clock.advance(seconds - 0.05)
        assert scene.attempts == 1
    scene.clock.advance(0.05 + BACKOFF)
    assert scene.attempts == 2
    scene.attempt().answer(200, b"")
    assert caller.status == 200
    scene.check()


def test_not_beyond_the_deadline() -> None:
    scene = hop(request_timeout=1.5)
    caller = ask(scene)
    scene.attempt().answer(429, b"later", (b"Retry-After", b"2"), whole=True)
    assert (caller.status, caller.body, caller.header(b"retry-after")) == (429, b"later", b"2")
    assert scene.records[0].detail == "not retried: no time is left"
    assert scene.fleet.backends["v1"].budget.retries() == 0
    scene.check()


def test_nor_longer_than_a_caller_can_be_kept_waiting() -> None:
    scene = hop()
    caller = ask(scene)
    scene.attempt().answer(503, b"later", (b"Retry-After", b"%d" % (LONGEST_PAUSE + 1)), whole=True)
    assert (caller.status, caller.header(b"retry-after")) == (503, b"11")
    assert scene.records[0].detail == "not retried: the upstream asks to be left alone for 11 s"
    scene.check()


@pytest.mark.parametrize(
    ("status", "addresses", "waits"),
    [
        (b"sidewinder; error=connection_limit_reached; details=x", 3, False),
        (b"sidewinder; error=destination_unavailable; details=x", 3, False),
        (b"sidewinder; error=connection_limit_reached; details=x", 1, True),
        (b"other; error=connection_limit_reached", 3, True),
        (b"sidewinder; error=http_request_denied", 3, True),
    ],
)
def test_a_proxy_of_ours_that_has_no_room_speaks_for_itself_alone(status, addresses, waits) -> None:
    scene = hop(addresses=addresses)
    ask(scene)
    scene.attempt().answer(503, b"", (b"Proxy-Status", status), (b"Retry-After", b"1"), whole=True)
    scene.clock.advance(BACKOFF)
    assert scene.attempts == (1 if waits else 2)
    scene.clock.advance(1.0)
    assert scene.attempts == 2
    scene.attempt().answer(200, b"")
    scene.check()


def test_a_connection_that_fails_asks_for_nothing() -> None:
    scene = hop()
    ask(scene)
    scene.attempt().fail(CONNECT, "connect_refused")
    scene.clock.advance(BACKOFF)
    assert scene.attempts == 2
    scene.attempt().answer(200, b"")
    scene.check()
