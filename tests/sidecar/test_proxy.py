"""A swap is one step: exchanges keep the plan they began with, and nothing is left of what is gone."""

from __future__ import annotations

import gc
import random
import sys

import pytest

from sidewinder_sidecar.messages import CONNECT
from sidewinder_sidecar.plan import Refused
from sidewinder_sidecar.snapshot.routes import RetrySpec, WeightedBackend
from tests.support.memory import Scene, backend, rule, shop


def test_an_exchange_keeps_the_plan_it_began_with():
    scene = Scene(*shop(rule("v1", retry=RetrySpec(attempts=1))))
    caller = scene.ask()
    old = scene.proxy.plan
    new = scene.adopt(*shop(rule("v2"), backends=(backend("v2"),)))
    assert scene.proxy.plan is new is not old
    assert caller.exchange.plan is old
    scene.attempt().answer(200, b"")
    assert scene.records[0].backend == "v1"
    scene.ask()
    assert scene.attempt().endpoint.spec.uid == "v2-0"
    scene.attempt().answer(200, b"")
    scene.check()
    assert repr(scene.proxy).startswith("<Proxy <Plan of test")


def test_a_refused_snapshot_touches_nothing():
    scene = Scene(*shop())
    plan, backends = scene.proxy.plan, dict(scene.fleet.backends)
    broken = [body for body in shop(rule("v1", "v9")) if getattr(body, "name", "") != "v1"]
    with pytest.raises(Refused):
        scene.adopt(*broken, *backend("v1", 5))
    assert scene.proxy.plan is plan
    assert scene.fleet.backends == backends
    scene.ask()
    scene.attempt().answer(200, b"")
    scene.check()


def test_a_thousand_swaps_under_traffic_leave_nothing():
    random.seed(7)
    scene = Scene(*shop())
    gc.collect()

    def swap():
        names = random.sample(["v1", "v2", "v3", "v4"], random.randint(1, 3))
        shares = [WeightedBackend(backend=name, weight=random.randint(0, 5)) for name in names]
        retry = random.choice([None, RetrySpec(attempts=2, codes=(503,))])
        backends = tuple(backend(name, random.randint(0, 6)) for name in names)
        scene.adopt(*shop(rule(*shares, retry=retry, request_timeout=random.choice([None, 2.0])), backends=backends))

    def traffic():
        for _ in range(random.randint(0, 4)):
            scene.ask()
        for attempt in [one for one in scene.opened if not one.over]:
            chance = random.random()
            if chance < 0.4:
                attempt.answer(200, b"fine")
            elif chance < 0.5:
                attempt.answer(503, b"sorry")
            elif chance < 0.6:
                attempt.fail(CONNECT, "connect_refused")
            elif chance < 0.65:
                attempt.receiver.on_caller_gone("caller_gone")
        scene.opened[:] = [one for one in scene.opened if not one.over]
        scene.made[:] = [one for one in scene.made if one.active or not one.retired]
        scene.records.clear()
        scene.clock.advance(random.choice([0.0, 0.02, 0.3]))

    def round_of(swaps):
        for _ in range(swaps):
            swap()
            traffic()
        scene.adopt(*shop())
        scene.clock.advance(300)
        traffic()
        for attempt in [one for one in scene.opened if not one.over]:
            attempt.answer(200, b"")
        scene.opened.clear()
        scene.records.clear()
        scene.endpoints.clear()
        scene.made[:] = [one for one in scene.made if not one.retired]

    gc.disable()
    try:
        round_of(100)
        gc.collect()  # also empties the interpreter's free lists, which would look like growth
        before = sys.getallocatedblocks()
        round_of(1000)
        cyclic = gc.collect()  # what only the collector frees is a leak in a process that rarely collects
        after = sys.getallocatedblocks()
    finally:
        gc.enable()
    assert cyclic < 100
    assert after - before < 500
    assert set(scene.fleet.backends) == {"v1"}
    assert [len(one.endpoints) for one in scene.fleet.backends.values()] == [1]
    assert len(scene.wheel) == 0
    scene.check()


def test_without_spans_the_callers_context_is_the_upstreams():
    scene = Scene(*shop())
    scene.proxy.traces = False
    given = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    scene.ask(b"GET", b"/", (b"traceparent", given))
    scene.ask(b"GET", b"/")
    first, second = scene.opened
    assert first.fields[b"traceparent"] == given
    assert b"traceparent" not in second.fields
    first.answer(200, b"")
    assert scene.records[0].trace_id == given[3:35]
