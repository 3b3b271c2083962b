"""What stays is the same object, what is gone retires, what is dialled outside is bounded."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_sidecar import fleet as fleet_module
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec, EndpointsSpec, RoundRobin
from tests.support.memory import Scene, backend, listener, rule, service, shop


def adopt(scene, *specs, **options):
    backend_spec = backend("v1", **options)[0]
    return scene.adopt(*shop(backends=((backend_spec, EndpointsSpec(name="v1", endpoints=specs)),)))


def endpoint(uid, address="10.0.0.1", **more):
    return EndpointSpec(uid=uid, address=address, port=9080, **more)


def live(scene):
    return dict(scene.fleet.backends["v1"].endpoints)


def test_what_stays_is_the_same_with_new_weight_and_readiness():
    scene = Scene()
    adopt(scene, endpoint("a"), endpoint("b", "10.0.0.2"))
    before, budget = live(scene), scene.fleet.backends["v1"].budget
    adopt(scene, endpoint("a", weight=7, ready=False), endpoint("b", "10.0.0.2"), balancing=RoundRobin())
    after = live(scene)
    assert [after[key] is before[key] for key in before] == [True, True]
    a = after["a", "10.0.0.1", 9080]
    assert (a.weight, a.ready, a.retired) == (7, False, False)
    assert scene.fleet.backends["v1"].budget is budget
    scene.ask()
    assert scene.attempt().endpoint is after["b", "10.0.0.2", 9080]
    scene.attempt().answer(200, b"")
    scene.check()


def test_a_reused_address_inherits_nothing():
    scene = Scene()
    adopt(scene, endpoint("old-pod"))
    [old] = live(scene).values()
    adopt(scene, endpoint("new-pod"))
    [new] = live(scene).values()
    assert new is not old
    assert (old.retired, new.retired) == (True, False)


def test_who_is_gone_retires_and_finishes_what_it_does():
    scene = Scene()
    adopt(scene, endpoint("a"))
    caller = scene.ask()
    [old] = live(scene).values()
    scene.adopt(*shop(rule("v2"), backends=(backend("v2"),)))
    assert old.retired
    assert set(scene.fleet.backends) == {"v2"}
    scene.attempt().answer(200, b"still")
    assert caller.body == b"still"
    scene.check()


def test_what_stays_can_be_brought_in_line_before_the_swap_one_backend_a_step():
    scene = Scene()
    scene.adopt(*shop(rule("v1", "v2"), backends=(backend("v1", 2), backend("v2", 2))))
    before = {name: dict(one.endpoints) for name, one in scene.fleet.backends.items()}
    plan = scene.plan(*shop(rule("v1", "v2"), backends=(backend("v1", 1), backend("v2", 3))))
    steps = scene.fleet.change(plan.wanted)
    next(steps)
    assert [len(one.endpoints) for one in scene.fleet.backends.values()] == [1, 2]
    for _ in steps:
        pass
    assert [len(one.endpoints) for one in scene.fleet.backends.values()] == [1, 3]
    scene.proxy.adopt(plan)
    gone = set(before["v1"]) - set(scene.fleet.backends["v1"].endpoints)
    assert [before["v1"][key].retired for key in gone] == [True]
    assert all(scene.fleet.backends["v2"].endpoints[key] is one for key, one in before["v2"].items())


def test_many_backends_that_are_gone_are_left_in_turns(monkeypatch):
    monkeypatch.setattr(fleet_module, "RETIRED_AT_ONCE", 2)
    scene = Scene()
    names = [f"v{number}" for number in range(7)]
    scene.adopt(*shop(rule(*names), backends=tuple(backend(name) for name in names)))
    old = dict(scene.fleet.backends)
    endpoints = [one for each in old.values() for one in each.endpoints.values()]
    scene.adopt(*shop(rule("v0"), backends=(backend("v0"),)))
    assert set(scene.fleet.backends) == {"v0"}
    assert sum(not one.endpoints for one in old.values()) == 2
    scene.clock.advance(1)
    assert sum(one.retired for one in endpoints) == 6
    assert [name for name, one in old.items() if one.endpoints] == ["v0"]


def test_an_equal_snapshot_changes_nothing():
    scene = Scene()
    adopt(scene, endpoint("a"))
    before = live(scene)
    plan = adopt(scene, endpoint("a"))
    assert live(scene) == before
    assert plan.wanted["v1"].endpoints is None
    assert len(scene.made) == 1


def test_a_new_connect_timeout_makes_new_endpoints():
    scene = Scene()
    adopt(scene, endpoint("a"), connect_timeout=1.0)
    adopt(scene, endpoint("a"), connect_timeout=2.0)
    assert [one.retired for one in scene.made] == [True, False]


def test_many_leave_in_turns_that_do_not_hold_the_loop():
    scene = Scene()
    count = fleet_module.RETIRED_AT_ONCE * 3 + 1
    adopt(scene, *[endpoint(str(number), f"10.{number >> 8}.{number & 255}.1") for number in range(count)])
    adopt(scene)
    assert sum(one.retired for one in scene.made) == fleet_module.RETIRED_AT_ONCE
    scene.clock.advance(1)
    assert all(one.retired for one in scene.made)
    assert len(scene.wheel) == 0


@pytest.fixture
def outside(monkeypatch):
    monkeypatch.setattr(fleet_module, "OUTSIDE", 3)
    return Scene(listener(pass_through=True), service(backend="v1"), *backend("v1"))


def test_hosts_outside_are_forgotten_when_idle(outside):
    first = outside.fleet.dial("a.example", 80)
    assert outside.fleet.dial("a.example", 80) is first
    [one] = first.endpoints.values()
    outside.clock.advance(fleet_module.OUTSIDE_SECONDS * 2.1)
    assert one.retired
    assert outside.fleet.dial("a.example", 80) is not first
    outside.clock.advance(fleet_module.OUTSIDE_SECONDS * 2.1)
    assert len(outside.wheel) == 0


def test_hosts_outside_that_are_in_use_stay(outside):
    caller = outside.ask(authority=b"a.example")
    outside.clock.advance(50)
    attempt = outside.attempt()
    attempt.answer(200)
    for _ in range(5):
        outside.clock.advance(50)
        attempt.data(b".")
    assert not attempt.endpoint.retired
    attempt.end()
    assert caller.ended
    outside.check()


def test_hosts_outside_are_bounded(outside):
    for number in range(3):
        outside.ask(authority=b"h%d.example" % number)
    refused = outside.ask(authority=b"h3.example")
    assert (refused.status, outside.records[-1].error) == (503, "overloaded")
    outside.attempt(1).answer(200, b"")
    outside.ask(authority=b"h3.example")  # the idle one made room
    assert outside.attempt().endpoint.address == ("h3.example", 80)
    for attempt in outside.opened:
        if not attempt.over:
            attempt.answer(200, b"")
    outside.check()


def test_the_end_of_the_process_retires_all(outside):
    outside.fleet.dial("a.example", 80)
    outside.fleet.close()
    assert all(one.retired for one in outside.made)
    assert "1 backends, 1 endpoints, 1 outside" in repr(outside.fleet)


def test_specs_are_frozen():
    with pytest.raises(AttributeError):
        endpoint("a").weight = 3
    assert msgspec.structs.replace(endpoint("a"), weight=3).weight == 3
