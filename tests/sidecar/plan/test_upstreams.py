"""What a plan wants of the fleet: what is new is ready before the swap, what stays is updated with it."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_sidecar.plan.upstreams import key_of, want
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
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
