"""A snapshot becomes a plan: in slices, reusing what did not change, or not at all."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from sidewinder_sidecar.plan import Refused, build, prepare
from sidewinder_sidecar.snapshot import KINDS
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.routes import (
    MatchSpec,
    PrefixPath,
    RetrySpec,
    RouteSpec,
)
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import BackendSpec, EndpointSpec, EndpointsSpec
from tests.support.memory import Scene, backend, listener, rule, shop

PROXY = ProxySpec(name="test", namespace="shop")


def snapshot(*resources):
    made = {f"{KINDS[type(body)]}/{body.name}": body for body in resources}
    made["proxy/self"] = PROXY
    return made


def run(steps):
    slices = 0
    while True:
        try:
            next(steps)
            slices += 1
        except StopIteration as done:
            return done.value, slices


def large(count):
    """One listener; `count` routes of as many backends, half on one service, half on services of their own."""
    half = count // 2
    routes = [
        RouteSpec(
            name=f"shop/r{n}",
            rules=(rule(f"b{n}", matches=(MatchSpec(path=PrefixPath(f"/svc{n}")),), retry=RetrySpec()),),
        )
        for n in range(count)
    ]
    services = [
        ServiceSpec(name=f"shop/s{n}:80", namespace="shop", port=80, domains=(f"s{n}",), routes=(f"shop/r{n}",))
        for n in range(half)
    ]
    services.append(
        ServiceSpec(
            name="shop/big:80",
            namespace="shop",
            port=80,
            domains=("big",),
            routes=tuple(f"shop/r{n}" for n in range(half, count)),
        )
    )
    backends = [
        body
        for n in range(count)
        for body in (
            BackendSpec(name=f"b{n}", endpoints=f"b{n}"),
            EndpointsSpec(
                name=f"b{n}", endpoints=(EndpointSpec(uid=f"p{n}", address=f"10.0.{n >> 8}.{n & 255}", port=80),)
            ),
        )
    ]
    return snapshot(listener(), *routes, *services, *backends)


def test_ten_thousand_routes_are_built_in_slices_and_swapped_at_once():
    scene = Scene()
    given = large(10_000)
    gc.collect()
    gc.freeze()
    gc.disable()  # as the process does while it builds: the collector's own pauses are not the builder's
    try:
        longest, slices, begun = 0.0, 0, time.process_time()
        steps = build(given, scene.fleet)
        plan = None
        while plan is None:
            before = time.process_time()
            try:
                next(steps)
                slices += 1
            except StopIteration as done:
                plan = done.value
            longest = max(longest, time.process_time() - before)
        total = time.process_time() - begun
        before = time.process_time()
        scene.proxy.adopt(plan)
        swap = time.process_time() - before
    finally:
        gc.enable()
        gc.unfreeze()
    print(f"{total:.3f} s in {slices} slices, longest {longest * 1000:.1f} ms, swap {swap * 1000:.1f} ms")
    assert len(plan.routes) == 10_000
    assert slices >= total / 0.02  # not in one piece
    caller = scene.ask(target=b"/svc9999/x", authority=b"big")
    assert scene.attempt().endpoint.address == ("10.0.39.15", 80)
    scene.attempt().answer(200, b"")
    assert caller.status == 200
    scene.check()


def test_what_did_not_change_is_not_compiled_again():
    scene = Scene()
    given = large(200)
    first = scene.proxy.plan = run(build(given, scene.fleet))[0]
    scene.fleet.adopt(first.wanted)
    given = dict(given)
    given["endpoints/b7"] = EndpointsSpec(name="b7", endpoints=(EndpointSpec(uid="new", address="10.9.9.9", port=80),))
    given["route/shop/r3"] = RouteSpec(name="shop/r3", rules=(rule("b3", name="renamed"),))
    second = run(build(given, scene.fleet, first))[0]
    assert [name for name in first.routes if second.routes[name] is not first.routes[name]] == ["shop/r3"]
    changed = [name for name in first.services if second.services[name] is not first.services[name]]
    assert changed == ["shop/s3:80"]
    assert [name for name, wanted in second.wanted.items() if wanted.endpoints is not None] == ["b7"]
    third = run(build(given, scene.fleet, second))[0]
    assert third.tables[None] is second.tables[None]


def test_a_backend_that_went_and_came_back_is_compiled_in_again():
    scene = Scene(*shop(rule("v1", "v2"), backends=(backend("v1"), backend("v2"))))
    scene.adopt(*shop(rule("v1")))
    scene.adopt(*shop(rule("v1", "v2"), backends=(backend("v1"), backend("v2"))))
    for _ in range(4):
        scene.ask()
        assert not scene.attempt().endpoint.retired
        scene.attempt().answer(200, b"")
    scene.check()


def test_others_run_while_a_plan_is_prepared():
    async def scenario():
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        plan = await prepare(large(1000), Scene().fleet)
        task.cancel()
        return plan, turns

    plan, turns = asyncio.run(scenario())
    assert len(plan.routes) == 1000
    assert turns > 3


def test_names_and_kinds_must_agree_and_there_is_one_proxy():
    fleet = Scene().fleet
    for given, resource in (
        ({"route/a": PROXY}, "route/a"),
        ({"proxy/self": PROXY, "backend/v2": backend("v1")[0]}, "backend/v2"),
        ({}, "proxy/self"),
        ({"proxy/other": PROXY}, "proxy/self"),
        ({"nonsense": PROXY}, "nonsense"),
        ({"proxy/self": ProxySpec(name="a", namespace="b", trace_percent=101.0)}, "proxy/self"),
    ):
        with pytest.raises(Refused) as refused:
            run(build(given, fleet))
        assert refused.value.resource == resource


def test_headless_services_are_found_by_the_endpoints_of_the_newest_snapshot():
    def resources(*addresses):
        spec = ServiceSpec(name="shop/set:80", namespace="shop", port=80, headless=True, backend="set")
        members = tuple(EndpointSpec(uid=one, address=one, port=5432) for one in addresses)
        listening = listener(transparent=True)
        return listening, spec, BackendSpec(name="set", endpoints="set"), EndpointsSpec(name="set", endpoints=members)

    scene = Scene()
    first = scene.adopt(*resources("10.1.0.1"))
    second = scene.adopt(*resources("10.1.0.2", "FD00:0::2"))
    assert second.services["shop/set:80"] is first.services["shop/set:80"]  # nothing of it has changed
    found = [second.listeners["out"].reach(to) is not None for to in (
        ("10.1.0.1", 5432), ("10.1.0.2", 5432), ("10.1.0.2", 80), ("fd00::2", 5432),
    )]  # fmt: skip
    assert found == [False, True, False, True]
