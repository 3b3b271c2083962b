"""What a plan wants of the fleet: what is new is ready before the swap, what stays is updated with it."""

from __future__ import annotations

import sys

import msgspec
import pytest

from sidewinder_sidecar.plan.refused import Refused
from sidewinder_sidecar.plan.upstreams import key_of, want
from sidewinder_sidecar.snapshot.upstreams import (
    BreakerSpec,
    ConcurrencySpec,
    EndpointSpec,
    FailureRateSpec,
    LimitsSpec,
    LocalitySpec,
    Maglev,
    PeakEWMA,
    RingHash,
    SourceKey,
)
from tests.support.memory import Scene, backend


def wanted(scene, sources):
    into = {}
    list(want("v1", sources, scene.fleet, into))
    return into["v1"]


def test_what_is_new_is_ready_before_the_swap():
    scene = Scene()
    new = wanted(scene, backend("v1", 2))
    assert new.endpoints is None
    assert len(new.backend.endpoints) == 2
    assert scene.fleet.backends == {}
    assert new.backend.pick(0.0) is not None


def test_what_stays_is_not_touched_before_the_swap():
    scene = Scene()
    spec, members = backend("v1", 2)
    scene.fleet.adopt({"v1": wanted(scene, (spec, members))})
    first = members.endpoints[0]
    heavier = msgspec.structs.replace(first, weight=9)
    changed = wanted(scene, (spec, msgspec.structs.replace(members, endpoints=(heavier,))))
    known = changed.backend.endpoints[key_of(first)]
    assert changed.backend is scene.fleet.backends["v1"]
    assert changed.endpoints == {key_of(first): known}
    assert changed.updates == ((known, heavier),)
    assert (known.weight, len(changed.backend.endpoints)) == (1, 2)
    scene.fleet.adopt({"v1": changed})
    assert (known.weight, len(changed.backend.endpoints)) == (9, 1)


@pytest.mark.parametrize("field", ["uid", "address", "port"])
def test_what_makes_an_endpoint_another_one(field):
    spec = EndpointSpec(uid="a", address="10.0.0.1", port=80)
    other = msgspec.structs.replace(spec, **{field: 81 if field == "port" else "b"})
    assert key_of(spec) != key_of(other)
    assert key_of(spec) == key_of(msgspec.structs.replace(spec, weight=5, zone="z", ready=False))


@pytest.mark.parametrize(
    "change",
    [{"identity": "spiffe://cluster.local/ns/a/sa/b"}, {"server_name": "idp.example"}, {"trust": "PEM"}],
    ids=["identity", "server name", "trust"],
)
def test_who_is_to_be_found_there_makes_another_endpoint(change):
    scene = Scene()
    spec, members = backend("v1", 2)
    scene.fleet.adopt({"v1": wanted(scene, (spec, members))})
    first, second = members.endpoints
    before = dict(scene.fleet.backends["v1"].endpoints)
    other = msgspec.structs.replace(first, **change)
    changed = wanted(scene, (spec, msgspec.structs.replace(members, endpoints=(other, second))))
    assert changed.endpoints[key_of(first)] is not before[key_of(first)]
    assert changed.endpoints[key_of(second)] is before[key_of(second)]
    assert changed.updates == ()


def test_a_long_table_is_built_in_steps_and_kept_while_it_holds():
    scene = Scene()
    spec, members = backend("v1", 50, balancing=Maglev(keys=(SourceKey(),)))
    into = {}
    assert len(list(want("v1", (spec, members), scene.fleet, into))) > 500
    scene.fleet.adopt(into)
    known = scene.fleet.backends["v1"].table
    away = msgspec.structs.replace(members.endpoints[0], ready=False)
    changed = msgspec.structs.replace(members, endpoints=(away, *members.endpoints[1:]))
    next_one = wanted(scene, (spec, changed))
    assert next_one.table is known
    scene.fleet.adopt({"v1": next_one})
    assert scene.fleet.backends["v1"].table is known
    fewer = wanted(scene, (spec, msgspec.structs.replace(members, endpoints=members.endpoints[1:])))
    assert fewer.table is not known


def test_a_zone_that_is_known_only_later_counts_where_a_policy_asks():
    scene = Scene()
    for name, options in (("v1", {"locality": LocalitySpec()}), ("v2", {})):
        sources = backend(name, 2, **options)
        into = {}
        list(want(name, sources, scene.fleet, into, ""))
        scene.fleet.adopt(into)
        list(want(name, sources, scene.fleet, into, "a"))
        assert (into[name].endpoints is not None) == (name == "v1")
        scene.fleet.adopt(into)
        assert scene.fleet.backends[name].zone == ("a" if name == "v1" else "")


@pytest.mark.parametrize(
    ("options", "field", "why"),
    [
        ({"slow_start": -1.0}, "slow_start", "-1.0 is too small, 0 is the least"),
        ({"balancing": PeakEWMA(decay=0.0)}, "balancing.decay", "0.0 is too small, 0.001 is the least"),
        ({"balancing": RingHash(min_size=9, max_size=8)}, "balancing.max_size", "8 is too small, 9 is the least"),
        ({"balancing": RingHash(balance_factor=100)}, "balancing.balance_factor", "100 is too small, 110 is the least"),
        ({"balancing": Maglev(table_size=65_536)}, "balancing.table_size", "65536 is no prime number, 65537 is"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_balancer_could_do_is_refused(options, field, why):
    scene = Scene()
    with pytest.raises(Refused) as caught:
        wanted(scene, backend("v1", 1, **options))
    assert (caught.value.resource, caught.value.field, caught.value.why) == ("backend/v1", field, why)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"breaker": BreakerSpec(consecutive=0)}, "breaker.consecutive"),
        ({"breaker": BreakerSpec(rate=FailureRateSpec(interval=0.0))}, "breaker.rate.interval"),
        ({"breaker": BreakerSpec(open_seconds=0.0)}, "breaker.open_seconds"),
        ({"breaker": BreakerSpec(open_seconds=9.0, max_open_seconds=8.0)}, "breaker.max_open_seconds"),
        ({"concurrency": ConcurrencySpec(whole=LimitsSpec(requests=-1))}, "concurrency.whole.requests"),
        ({"concurrency": ConcurrencySpec(endpoint=LimitsSpec(pending=-1))}, "concurrency.endpoint.pending"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_breaker_or_limit_could_do_is_refused(options, field):
    with pytest.raises(Refused) as caught:
        wanted(Scene(), backend("v1", 1, **options))
    assert (caught.value.resource, caught.value.field) == ("backend/v1", field)


def test_what_breakers_stand_on_is_there_before_the_first_failure():
    sys.modules.pop("sidewinder_sidecar.resilience.circuit", None)
    wanted(Scene(), backend("v1", 1))
    assert "sidewinder_sidecar.resilience.circuit" not in sys.modules
    wanted(Scene(), backend("v1", 1, breaker=BreakerSpec()))
    assert "sidewinder_sidecar.resilience.circuit" in sys.modules
