"""Who runs, and which Service selects whom."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.workloads import WEIGHT, Selection, gateways, weight, workloads
from sidewinder_operator.mesh.workloads import MeshGateway, PodReplica, Replica, WayIn, WorkloadPort
from tests.support.clusters import given, running

MANIFESTS = """
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: web-v1, namespace: shop, labels: {app: web, version: v1}}
spec: {command: [web], replicas: 2, serviceAccount: web, portName: main}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: old, namespace: shop, labels: {app: web, topology.kubernetes.io/zone: z1}, uid: ext, generation: 2}
spec: {addresses: [192.0.2.1], ports: [{name: main, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: a-web-v1, namespace: shop}
spec: {selector: {app: web, version: v1}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: everything, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: other}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
CLUSTER = given(MANIFESTS).cluster
RUNNING = running(CLUSTER)
FOUND = workloads(CLUSTER, RUNNING.replicas)
SELECTION = Selection(CLUSTER, FOUND)


def test_a_replica_is_dialled_at_its_sidecar() -> None:
    first = FOUND["LocalProcess/shop/web-v1/0"]
    assert (first.ports[0].port, first.ports[0].name) == (0, "main"), "every number means its one port"
    assert (first.ports[0].dialled, first.ports[0].application, first.outbound) == (15000, 15001, 15002)
    assert (first.uid, first.service_account, first.labels["version"]) == ("web-v1-0", "web", "v1")
    assert list(FOUND) == ["ExternalWorkload/shop/old", "LocalProcess/shop/web-v1/0", "LocalProcess/shop/web-v1/1"]


def test_an_external_workload_is_dialled_where_it_is() -> None:
    old = FOUND["ExternalWorkload/shop/old"]
    assert (old.addresses, old.ports[0].dialled, old.outbound) == (("192.0.2.1",), 8080, 0)
    assert (old.uid, old.generation, old.zone) == ("ext", 2, "z1")


def test_a_replica_whose_process_is_gone_belongs_to_nobody() -> None:
    stranger = Replica(namespace="shop", name="gone", uid="x", inbound=1, application=2, outbound=3)
    assert workloads(CLUSTER, (stranger,)).keys() == {"ExternalWorkload/shop/old"}


def test_a_service_selects_by_all_of_its_labels_in_its_own_namespace() -> None:
    assert [w.name for w in SELECTION.members(("shop", "web"))] == ["old", "web-v1", "web-v1"]
    assert [w.name for w in SELECTION.members(("shop", "a-web-v1"))] == ["web-v1", "web-v1"]
    assert SELECTION.members(("shop", "everything")) == (), "no selector selects nobody"
    assert SELECTION.members(("other", "web")) == ()
    assert SELECTION.members(("shop", "nowhere")) == ()


def test_a_workload_is_owned_by_the_service_that_asks_for_the_fewest_labels() -> None:
    assert {w.service for w in SELECTION.owned(FOUND).values()} == {"web"}


def test_a_workload_that_nobody_selects_has_no_owner() -> None:
    alone = given(MANIFESTS.split("---")[0]).cluster
    found = workloads(alone, RUNNING.replicas)
    assert {w.service for w in Selection(alone, found).owned(found).values()} == {""}


def test_ways_in_are_known_by_name() -> None:
    way = WayIn(name="front", port=8080)
    expected = MeshGateway(id="Gateway/front", name="front", address="127.0.0.1", port=8080, domain="localhost")
    assert gateways((way,)) == {"Gateway/front": expected}


def test_a_pod_is_selected_by_its_labels_and_is_not_ready_while_it_ends() -> None:
    port = WorkloadPort(port=8080, name="main", dialled=8080, application=8080)
    labels = {"app": "web", "version": "v1"}
    one = PodReplica(namespace="shop", name="web-1", uid="u-1", addresses=("10.0.0.1",), labels=labels, ports=(port,))
    ending = PodReplica(namespace="shop", name="web-2", uid="u-2", addresses=("10.0.0.2",), terminating=True)
    found = workloads(CLUSTER, (), (one, ending))
    pod = found["u-1"]
    assert (pod.kind, pod.inbound, pod.outbound, pod.ports, pod.ready) == ("Pod", 15006, 15001, (port,), True)
    assert not found["u-2"].ready
    assert pod in Selection(CLUSTER, found).members(("shop", "web"))


PORTS = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports:
  - {name: a, port: 80, targetPort: main}
  - {name: b, port: 81, targetPort: 9000, appProtocol: http}
  - {name: c, port: 82, targetPort: other}
  - {name: d, port: 83}
  - {name: e, port: 84, targetPort: 5432, appProtocol: postgres}
  - {name: f, port: 85, targetPort: 53, protocol: UDP}
---
apiVersion: v1
kind: Service
metadata: {name: more, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: a, port: 80, targetPort: 9000, appProtocol: tcp}, {name: b, port: 81, targetPort: 5432}]
"""


def test_a_pod_has_the_ports_that_it_declares_and_those_that_services_select() -> None:
    declared = (WorkloadPort(port=8080, name="main", dialled=8080, application=8080), WorkloadPort(port=7, dialled=7))
    pod = PodReplica(
        namespace="shop", name="p", uid="u", addresses=("10.0.0.1",), labels={"app": "web"}, ports=declared
    )
    cluster = given(PORTS).cluster
    found = workloads(cluster, (), (pod,))
    owned = Selection(cluster, found).owned(found)["u"]
    assert {port.port: port.protocol for port in owned.ports} == {7: "", 83: "", 5432: "", 8080: "", 9000: "HTTP"}
    assert {port.dialled for port in owned.ports} == {port.port for port in owned.ports}
    obeying = Selection(cluster, found).owned(found, {"shop/web:80"})["u"]
    assert next(port.protocol for port in obeying.ports if port.port == 8080) == "HTTP"


def test_a_pod_that_nobody_selects_keeps_what_it_declares() -> None:
    declared = (WorkloadPort(port=8080, dialled=8080, application=8080),)
    pod = PodReplica(namespace="shop", name="p", uid="u", addresses=("10.0.0.1",), ports=declared, terminating=True)
    found = workloads(given("").cluster, (), (pod,))
    owned = Selection(given("").cluster, found).owned(found)["u"]
    assert (owned.ports, owned.service, owned.lazy, owned.terminating, owned.ready) == (declared, "", True, True, False)


@pytest.mark.parametrize(
    ("said", "meant"),
    [("3", 3), ("0", 0), ("100", 100), ("101", 1), ("1000", 1), ("-1", 1), ("1.5", 1), ("", 1), ("many", 1), ("²", 1)],
)
def test_a_weight_is_a_label_and_what_means_nothing_says_nothing(said: str, meant: int) -> None:
    assert weight({WEIGHT: said}) == meant
    assert weight({}) == 1
