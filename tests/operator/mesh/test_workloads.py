"""Who is called what."""

from __future__ import annotations

from sidewinder_operator.mesh.workloads import PodReplica, Replica, WayIn, identity


def test_a_replica_is_known_by_kind_namespace_name_and_index() -> None:
    replica = Replica(namespace="shop", name="web", index=2, uid="u", inbound=1, application=2, outbound=3)
    assert replica.id == identity("LocalProcess", "shop", "web", 2) == "LocalProcess/shop/web/2"


def test_what_there_is_one_of_needs_no_index() -> None:
    assert identity("ExternalWorkload", "shop", "old") == "ExternalWorkload/shop/old"


def test_a_way_in_is_in_no_namespace() -> None:
    assert WayIn(port=8080).id == "Gateway/way-in"


def test_a_pod_is_known_by_its_uid() -> None:
    assert PodReplica(namespace="shop", name="web-1", uid="u-1", addresses=("10.0.0.1",)).id == "u-1"
