"""A backend keeps its budget while its endpoints come and go."""

from __future__ import annotations

from collections import Counter
from math import inf

import msgspec
import pytest

from sidewinder_sidecar.messages import Peer
from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    BreakerSpec,
    BudgetSpec,
    ConcurrencySpec,
    EndpointSpec,
    EndpointsSpec,
    HeaderKey,
    LimitsSpec,
    LocalitySpec,
    Maglev,
    PeakEWMA,
    RingHash,
    RoundRobin,
    SourceKey,
)
from sidewinder_sidecar.upstream.backend import Backend, canonical
from sidewinder_sidecar.wheel import Wheel
from tests.support.calls import call
from tests.support.memory import Clock, Endpoint

WHEEL = Wheel(Clock(), Clock().later)


def made(*ready, weight=1):
    specs = [
        EndpointSpec(uid=str(n), address="10.0.0.1", port=n + 1, ready=one, weight=weight)
        for n, one in enumerate(ready)
    ]
    return {(spec.uid, spec.address, spec.port): Endpoint(spec, WHEEL, [], []) for spec in specs}


def backend(**options):
    sources = BackendSpec(name="v1", endpoints="shop/v1:80", **options), EndpointsSpec(name="shop/v1:80")
    return Backend("v1", sources, 0.0), sources


def test_nobody_one_and_many():
    one, sources = backend()
    assert (one.service, one.pick(0.0), one.pick_other(())) == ("shop/v1", None, None)
    single = made(True, False)
    one.serve(sources, single, 0.0)
    first = next(iter(single.values()))
    assert one.pick(0.0) is one.pick_other((first,)) is first
    many = made(True, True, True)
    one.serve(sources, many, 0.0)
    assert {one.pick(0.0) for _ in range(200)} == set(many.values())
    failed = tuple(many.values())[:2]
    assert {one.pick_other(failed) for _ in range(50)} == {tuple(many.values())[2]}
    one.serve(sources, made(False), 0.0)
    assert one.pick(0.0) is None


def test_requests_are_counted_retries_are_not_and_a_new_budget_keeps_the_count():
    one, sources = backend()
    one.serve(sources, made(True), 0.0)
    for turn in range(100):
        one.pick(turn / 100)
        one.pick_other(())
    assert one.budget.requests() == 100
    other = BackendSpec(name="v1", endpoints="shop/v1:80", budget=BudgetSpec(percent=50)), sources[1]
    one.serve(other, made(True), 1.0)
    assert (one.budget.spec.percent, one.budget.requests()) == (50, 100)
    assert "v1" in repr(one)


def test_the_endpoint_that_was_dialled_is_found_while_it_is_there():
    one, sources = backend()
    one.serve(sources, made(True, False), 0.0)
    assert one.pick_dialled(("10.0.0.1", 2), 0.0).address == ("10.0.0.1", 2)  # ready or not
    assert one.pick_dialled(("10.0.0.1", 3), 0.0) is None
    assert one.budget.current == 2
    one.serve(sources, made(True, True, True), 0.0)
    assert one.pick_dialled(("10.0.0.1", 3), 0.0).address == ("10.0.0.1", 3)


def test_addresses_are_compared_as_the_kernel_writes_them():
    assert [canonical(one) for one in ("FD00:0::1", "10.0.0.1", "db.example", "a:b")] == [
        "fd00::1", "10.0.0.1", "db.example", "a:b",
    ]  # fmt: skip


def served(now, algorithm, endpoints, **options):
    one, sources = backend(balancing=algorithm, **options)
    one.serve(sources, endpoints, now)
    return one, sources


def test_only_those_of_the_subset_are_called():
    many = made(True, True, True)
    first, second, third = many.values()
    first.labels, second.labels = {"version": "v2", "a": "b"}, {"version": "v1"}
    one, sources = served(0.0, RoundRobin(), many, subset={"version": "v2"})
    assert {one.pick(0.0) for _ in range(20)} == {first}
    assert one.pick_dialled(third.address, 0.0) is third  # who dials an endpoint has chosen
    one.serve((msgspec.structs.replace(sources[0], subset={"version": "v3"}), sources[1]), many, 1.0)
    assert one.pick(1.0) is None
    one.serve((msgspec.structs.replace(sources[0], subset={}), sources[1]), many, 2.0)
    assert {one.pick(2.0) for _ in range(20)} == {first, second, third}


def test_who_becomes_usable_later_starts_slowly_and_who_was_there_first_does_not():
    many = made(True, True, False)
    first, second, third = many.values()
    one, sources = served(0.0, RoundRobin(), many, slow_start=30.0)
    assert (first.risen, second.risen) == (-inf, -inf)
    third.ready = True
    third.judge()
    one.reshape(100.0)
    assert (first.risen, third.risen) == (-inf, 100.0)
    counts = Counter(one.pick(100.0) for _ in range(10_000))
    assert counts[third] / 10_000 == pytest.approx(0.1 / 2.1, abs=0.012)
    counts = Counter(one.pick(115.0) for _ in range(10_000))
    assert counts[third] / 10_000 == pytest.approx(0.5 / 2.5, abs=0.02)
    counts = Counter(one.pick(131.0) for _ in range(9000))
    assert counts[third] == pytest.approx(3000, abs=2)
    one.reshape(140.0)
    assert third.risen == 100.0
    one.serve((msgspec.structs.replace(sources[0], slow_start=0.0), sources[1]), many, 150.0)
    one.reshape(151.0)
    assert third.risen == 100.0


def test_a_request_and_a_relayed_connection_are_hashed():
    many = made(*[True] * 5)
    one, _ = served(0.0, Maglev(keys=(HeaderKey("x-user"), SourceKey()), table_size=251), many)
    for user in (b"alice", b"bob", b"eve"):
        mine = {one.pick(0.0, call(b"/", (b"x-user", user))) for _ in range(20)}
        (always,) = mine
        (other,) = {one.pick_other([always], 0.0, call(b"/", (b"x-user", user))) for _ in range(20)}
        assert other is not always
    peers = {one.pick(0.0, None, Peer("10.1.1.1", port)) for port in range(20)}
    assert len(peers) == 1
    assert len({one.pick(0.0) for _ in range(200)}) == 5  # nothing to hash by: anywhere


def test_keys_stay_over_a_new_plan_that_adds_an_endpoint():
    many = made(*[True] * 9)
    one, sources = served(0.0, RingHash(keys=(SourceKey(),)), dict(list(many.items())[:8]))
    before = [one.pick(0.0, None, Peer(f"10.1.1.{last}")) for last in range(200)]
    one.serve(sources, many, 1.0)
    after = [one.pick(1.0, None, Peer(f"10.1.1.{last}")) for last in range(200)]
    assert {new for new, old in zip(after, before, strict=True) if new is not old} == {list(many.values())[8]}


def test_the_own_zone_first():
    many = made(True, True, True)
    first, second, third = many.values()
    first.zone, second.zone, third.zone = "a", "a", "b"
    one, sources = backend(locality=LocalitySpec())
    one.zone = "b"
    one.serve(sources, many, 0.0)
    assert {one.pick(0.0) for _ in range(50)} == {third}
    third.ready = False
    third.judge()
    one.reshape(1.0)
    assert {one.pick(1.0) for _ in range(50)} == {first, second}


def test_measures_outlive_a_change_of_endpoints():
    many = made(True, True)
    first, second = many.values()
    one, sources = served(0.0, PeakEWMA(), many)
    assert one.watched
    first.settled(200, "", 1.0, 2.0)
    one.serve(sources, {**many, **made(True, True, True)} | many, 1.0)
    assert first.latency.expected(1.0) == 2.0
    assert all(one.pick(1.0) is not first for _ in range(50))
    assert second.observers == (second.latency,)


def eject(endpoint, now):
    """Two failures in a row, which is what BREAKER takes."""
    for _ in range(2):
        endpoint.settled(0, "connect_refused", now, 0.1)


BREAKER = BreakerSpec(consecutive=2, open_seconds=5.0, max_ejected_percent=100, min_healthy_percent=30)


def test_who_is_ejected_is_not_called_until_it_has_been_probed():
    many = made(True, True, True, True)
    first, *others = many.values()
    one, _ = served(0.0, RoundRobin(), many, breaker=BREAKER)
    assert one.watched
    eject(first, 10.0)
    assert {one.pick(11.0) for _ in range(40)} == set(others)
    one.outliers.breakers[first].on_time(15.0)
    assert one.pick_other((), 15.0) is not first, "a retry is no probe, nor is a mirror's copy"
    assert one.pick(15.0) is first
    assert {one.pick(15.0) for _ in range(40)} == set(others)
    first.settled(200, "", 15.5, 0.5)
    assert {one.pick(16.0) for _ in range(40)} == set(many.values())


def test_too_few_that_are_healthy_are_a_panic_in_which_all_that_are_ready_are_used():
    many = made(True, True, True, True, False)
    *ready, _ = many.values()
    one, _ = served(0.0, RoundRobin(), many, breaker=BREAKER)
    for endpoint in ready[:2]:
        eject(endpoint, 10.0)
    assert (one.panicking, {one.pick(11.0) for _ in range(40)}) == (False, set(ready[2:]))
    eject(ready[2], 12.0)
    assert (one.panicking, {one.pick(13.0) for _ in range(40)}) == (True, set(ready))
    breaker = one.outliers.breakers[ready[0]]
    breaker.on_time(17.0)
    assert one.pick(17.0) is ready[0]
    ready[0].settled(200, "", 17.5, 0.5)
    assert (one.panicking, {one.pick(18.0) for _ in range(40)}) == (False, {ready[0], ready[3]})


def test_panic_holds_for_health_alone_too():
    many = made(True, True, True, True)
    one, _ = served(0.0, RoundRobin(), many)
    for endpoint in many.values():
        endpoint.healthy = False
        endpoint.judge()
    one.reshape(1.0)
    assert (one.panicking, {one.pick(2.0) for _ in range(40)}) == (True, set(many.values()))


def test_breakers_and_limits_outlive_a_change_of_configuration_and_of_endpoints():
    many = made(True, True, True)
    first, second, third = many.values()
    limits = ConcurrencySpec(whole=LimitsSpec(requests=5))
    one, sources = served(0.0, RoundRobin(), many, breaker=BREAKER, concurrency=limits)
    one.limits.admit()
    eject(first, 10.0)
    breaker = one.outliers.breakers[first]
    fewer = {key: endpoint for key, endpoint in many.items() if endpoint is not third}
    other = msgspec.structs.replace(
        sources[0],
        breaker=msgspec.structs.replace(BREAKER, consecutive=9),
        concurrency=ConcurrencySpec(whole=LimitsSpec(requests=1)),
    )
    one.serve((other, sources[1]), fewer, 11.0)
    assert one.outliers.breakers[first] is breaker
    assert (first.usable, {one.pick(12.0) for _ in range(20)}, third.observers) == (False, {second}, ())
    assert one.limits.admit().why == "1 requests to shop/v1 run already"
    bare = msgspec.structs.replace(sources[0], breaker=None, concurrency=None)
    one.serve((bare, sources[1]), fewer, 13.0)
    assert (one.outliers, one.limits, one.watched) == (None, None, False)
    assert {one.pick(14.0) for _ in range(20)} == {first, second}


def test_a_dialled_endpoint_is_called_ejected_or_not_and_its_next_caller_is_the_probe():
    many = made(True, True, True)
    first = next(iter(many.values()))
    one, _ = served(0.0, RoundRobin(), many, breaker=BREAKER)
    eject(first, 10.0)
    assert one.pick_dialled(first.address, 11.0) is first
    one.outliers.breakers[first].on_time(15.0)
    assert one.pick_dialled(first.address, 16.0) is first
    assert (first.probing, list(one.outliers.due)) == (True, [])
    first.settled(200, "", 16.5, 0.5)
    assert first.usable
