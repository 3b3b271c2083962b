"""A backend keeps its budget while its endpoints come and go."""

from __future__ import annotations

from sidewinder_sidecar.snapshot.upstreams import BackendSpec, BudgetSpec, EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream.backend import Backend, canonical
from sidewinder_sidecar.wheel import Wheel
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
