"""What is kept of objects as an API server sends them, and what makes no difference."""

from __future__ import annotations

import copy
import json
from typing import Any

from sidewinder_operator.inject import containers
from sidewinder_operator.inject.annotations import Asked
from sidewinder_operator.inject.options import Options
from sidewinder_operator.resources.core import EndpointSlice, Service
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.resources.route import ApiRoute
from sidewinder_operator.watch import records
from sidewinder_operator.watch.records import Pod, pod, written

POD: dict[str, Any] = {
    "metadata": {
        "name": "reviews-1",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
        "labels": {"app": "reviews"},
        "managedFields": [{"manager": "kubelet"}],
    },
    "spec": {
        "nodeName": "node1",
        "serviceAccountName": "reviews",
        "initContainers": [
            {"name": "sidewinder-proxy", "restartPolicy": "Always", "ports": [{"containerPort": 15021}]}
        ],
        "containers": [
            {
                "name": "app",
                "ports": [{"containerPort": 9080, "name": "http"}, {"containerPort": 53, "protocol": "UDP"}],
            },
            {"name": "more", "ports": [{"containerPort": 8081}, {"containerPort": 9080, "name": "http"}]},
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}],
    },
}


def kept(**changes: Any) -> Pod:
    raw = copy.deepcopy(POD)
    for path, value in changes.items():
        part, _, field = path.partition("__")
        raw[part][field] = value
    found = pod(json.dumps(raw).encode())
    assert found is not None
    return found


def test_a_pod_with_a_sidecar_is_a_replica() -> None:
    replica = kept().replica("zone-a")
    assert replica.id == "u1"
    assert replica.addresses == ("10.0.0.1", "fd00::1")
    assert [(port.port, port.name, port.dialled, port.application) for port in replica.ports] == [
        (8081, "", 8081, 8081),
        (9080, "http", 9080, 9080),
    ]
    assert (replica.service_account, replica.zone, replica.ready, replica.terminating) == (
        "reviews",
        "zone-a",
        True,
        False,
    )
    assert (replica.inbound, replica.outbound) == (15006, 15001)


def test_what_kubelets_write_all_the_time_makes_no_difference() -> None:
    assert kept(metadata__resourceVersion="8", metadata__annotations={"a": "b"}) == kept()
    assert kept(status__startTime="2026-01-01T00:00:00Z") == kept()
    assert kept(status__conditions=[{"type": "Ready", "status": "False"}]) != kept()


def test_only_our_sidecar_counts_and_only_as_a_native_one() -> None:
    plain = kept(spec__initContainers=[{"name": "sidewinder-proxy"}])
    assert (plain.sidecar, plain.labels, plain.ports) == (False, {}, ())
    refused = kept(spec__initContainers=None, metadata__labels={"app": "a", "sidewinder.dev/inject": "disabled"})
    assert refused.labels == {"sidewinder.dev/inject": "disabled"}
    assert not kept(spec__initContainers=None).sidecar
    assert not kept(spec__initContainers=[{"name": "other", "restartPolicy": "Always"}]).sidecar


def test_the_ports_that_go_past_the_sidecar_are_those_that_its_redirect_rules_leave_alone() -> None:
    command = [
        "python3",
        "-m",
        "sidewinder_sidecar.main",
        "capture",
        "--uid=1337",
        "--skip-inbound-ports=15021,9091,80",
    ]
    ours = [{"name": "sidewinder-capture", "command": command}, *POD["spec"]["initContainers"]]
    assert kept(spec__initContainers=ours).replica("").direct == (80, 9091, 15021)
    assert kept(metadata__annotations={"sidewinder.dev/exclude-inbound-ports": "80"}).direct == ()
    stranger = [{"name": "other", "command": ["--skip-inbound-ports=80"]}, *POD["spec"]["initContainers"]]
    assert kept(spec__initContainers=stranger).direct == ()


def test_what_is_read_of_the_redirect_rules_is_what_the_injector_writes() -> None:
    assert (records.SIDECAR, records.CAPTURE) == (containers.PROXY, containers.CAPTURE)
    written_ = containers.capture(Options(image="x"), Asked(exclude_inbound_ports=(9090,)))
    assert [word for word in written_["command"] if word.startswith(records.DIRECT)] == [f"{records.DIRECT}15021,9090"]


def test_a_pod_that_ends_is_told_from_one_that_has_ended() -> None:
    assert kept(metadata__deletionTimestamp="2026-01-01T00:00:00Z").terminating
    for phase in ("Succeeded", "Failed"):
        raw = copy.deepcopy(POD)
        raw["status"]["phase"] = phase
        assert pod(json.dumps(raw).encode()) is None


def test_a_pod_without_a_status_is_not_ready_and_one_that_cannot_be_read_is_passed_over() -> None:
    raw = copy.deepcopy(POD)
    del raw["status"]
    found = pod(json.dumps(raw).encode())
    assert found is not None
    assert (found.ready, found.addresses) == (False, ())
    assert pod(b'{"metadata":{}}') is None


def test_its_own_label_says_the_zone() -> None:
    labels = {"app": "reviews", "topology.kubernetes.io/zone": "zone-b"}
    assert kept(metadata__labels=labels).replica("zone-a").zone == "zone-b"


def test_a_list_item_is_read_without_its_kind() -> None:
    raw = {
        "metadata": {
            "name": "reviews",
            "namespace": "shop",
            "uid": "u2",
            "generation": 3,
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a"},
        },
        "spec": {"ports": [{"port": 80, "nodePort": 30000}], "sessionAffinity": "None"},
        "status": {"loadBalancer": {}},
    }
    record = written(Service)(json.dumps(raw).encode())
    assert isinstance(record.found, Service)
    assert record.found.metadata.annotations == {"team": "a"}
    assert (record.uid, record.generation, record.problems, record.wreck) == ("u2", 3, (), None)
    raw["metadata"]["managedFields"] = [{}]  # type: ignore[index]
    raw["status"] = {}
    assert written(Service)(json.dumps(raw).encode()) == record


def test_a_broken_route_says_why_and_a_broken_policy_what_is_legible() -> None:
    metadata = {"name": "odd", "namespace": "shop", "uid": "u3", "generation": 2}
    route = written(ApiRoute)(json.dumps({"metadata": metadata, "spec": {"rules": 7}}).encode())
    assert route.found is None
    assert route.problems
    assert str(route.reference) == "ApiRoute shop/odd"
    policy = written(ApiPolicy)(json.dumps({"metadata": metadata, "spec": {"mtls": {"odd": 1}}}).encode())
    assert policy.wreck is not None
    assert policy.wreck.sections == {"mtls"}


def test_a_slice_as_the_controller_writes_it() -> None:
    raw = {
        "addressType": "IPv4",
        "metadata": {
            "name": "reviews-x",
            "namespace": "shop",
            "uid": "u4",
            "labels": {"kubernetes.io/service-name": "reviews"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"},
        },
        "endpoints": [
            {
                "addresses": ["10.0.0.1"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": "node1",
                "zone": "zone-a",
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "reviews-1", "uid": "u1"},
            }
        ],
        "ports": [{"name": "http", "port": 9080, "protocol": "TCP"}],
    }
    record = written(EndpointSlice)(json.dumps(raw).encode())
    assert isinstance(record.found, EndpointSlice)
    assert record.found.endpoints[0].zone == "zone-a"
    later = copy.deepcopy(raw)
    later["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:09Z"}  # type: ignore[index]
    assert written(EndpointSlice)(json.dumps(later).encode()) == record
