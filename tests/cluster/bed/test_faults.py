"""Every fault does what it says, and the cluster recovers from it."""

from __future__ import annotations

import datetime
import http.client
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.cluster.bed import components
from tests.cluster.bed.bed import Bed
from tests.cluster.bed.probes import Probes, at, container, fetch, pod, service
from tests.cluster.bed.readiness import node_ready
from tests.cluster.bed.waiting import BedError, until

pytestmark = pytest.mark.cluster

HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def pair(probes: Probes) -> Probes:
    """A pod on each node; the one on node2 behind a Service."""
    probes.start(pod("one", 1), pod("two", 2), service("two", "two"))
    until("the Service", lambda: probes.reaches("one", "http://two/"), 15)
    return probes


@pytest.fixture
def recovered(shared_bed: Bed) -> Iterator[Bed]:
    """Whatever a test did, the next one finds a cluster that works, also when the test failed in the middle."""
    yield shared_bed
    for node in shared_bed.nodes:
        if not node.running:
            node.boot()
        node.heal()
    shared_bed.wait_ready()


def identities(probes: Probes) -> list[tuple[str, int]]:
    """Which containers run, and how often each was started again."""
    statuses = [probes.get("pod", name)["status"]["containerStatuses"][0] for name in ("one", "two")]
    return [(status["containerID"], status["restartCount"]) for status in statuses]


def test_every_component_that_is_killed_comes_back_and_no_pod_notices(pair: Probes, recovered: Bed) -> None:
    before, killed = identities(pair), []
    for node in recovered.nodes:
        for each in components.of(recovered.layout, node.number):
            component = node.component(each.program)
            killed.append((component, component.pid))
            component.kill()
    for component, pid in killed:
        until(f"another {component.name}", lambda c=component, p=pid: c.pid not in (None, p), 30)
    until("/readyz", recovered.api.ready, 30)
    recovered.wait_ready()
    assert identities(pair) == before
    until("the network", lambda: pair.reaches("one", "http://two/"), 20)
    assert not recovered.deaths(), "what was asked for is not reported"


def pair_address(probes: Probes) -> str:
    return probes.addresses("two")[0]


def test_a_stopped_component_stays_away_until_it_is_started(recovered: Bed) -> None:
    scheduler = recovered.component("kube-scheduler")
    scheduler.stop()
    assert not scheduler.running
    with pytest.raises(BedError, match="does not run on node1; last lines of"):
        scheduler.pause()
    with Probes.open(recovered, "unscheduled") as probes:
        probes.apply(pod("waits"))
        assert not probes.get("pod", "waits")["spec"].get("nodeName")
        scheduler.start()
        probes.ready("waits")


def test_traffic_flows_while_the_api_server_is_stopped(pair: Probes, recovered: Bed) -> None:
    server, cluster = recovered.component("kube-apiserver"), pair.get("service", "two")["spec"]["clusterIP"]
    targets = [at(pair_address(pair)), at(cluster, 80)]
    server.stop()
    try:
        assert not recovered.api.ready()
        assert all("name=two " in fetch(target) for target in targets), "also through the packet filter of node1"
    finally:
        server.start()
    until("/readyz", recovered.api.ready, 30)


def test_a_paused_api_server_keeps_silent_and_goes_on(recovered: Bed) -> None:
    server = recovered.component("kube-apiserver")
    pid = server.pid
    server.pause()
    try:
        with pytest.raises(TimeoutError):
            recovered.api.text("/readyz", seconds=1)
    finally:
        server.resume()
    until("/readyz", recovered.api.ready, 10)
    assert server.pid == pid


def test_a_slow_api_server_holds_its_answers(recovered: Bed) -> None:
    def times() -> list[float]:
        taken = []
        for _ in range(8):
            begin = time.monotonic()
            recovered.api.text("/api/v1/namespaces/default", seconds=20)
            taken.append(time.monotonic() - begin)
        return taken

    with recovered.slow_api(0.3):
        slow = max(times())
    assert slow > 0.2, "one of so many meets the beginning of a pause and waits until its end"
    until("the usual pace", lambda: max(times()) < 0.2, 20)


def test_etcd_restarts_without_losing_anything(probes: Probes, recovered: Bed) -> None:
    probes.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    recovered.restart("etcd")
    until("the object", lambda: probes.get("configmap", "kept")["data"] == {"a": "b"}, 20)
    probes.kubectl("create", "configmap", "new")


def test_a_partitioned_node_loses_every_packet_and_is_whole_again_after(pair: Probes, recovered: Bed) -> None:
    with recovered.node(2).partition():
        assert not pair.reaches("one", at(pair_address(pair)))
        assert not pair.reaches("one", "http://two/")
    until("the network", lambda: pair.reaches("one", "http://two/"), 10)


def test_a_killed_node_is_missed_and_comes_back_with_its_pods(pair: Probes, recovered: Bed) -> None:
    node = recovered.node(2)
    node.kill()
    assert not node.running
    with pytest.raises(BedError, match=r"node2 of bed\d+ is down"):
        node.run("true")
    until("NotReady", lambda: not node_ready(recovered.api, "node2"), 40)
    node.boot()
    until("Ready", lambda: node_ready(recovered.api, "node2"), 40)
    until("its pod", lambda: pair.reaches("one", "http://two/"), 40)


def test_the_control_plane_survives_a_power_loss(pair: Probes, recovered: Bed) -> None:
    node, address = recovered.node(1), pair_address(pair)
    node.kill()
    assert not recovered.api.ready()
    assert "name=two " in fetch(at(address)), "node2 works on"
    node.boot()
    until("/readyz", recovered.api.ready, 60)
    recovered.wait_ready()
    until("pods, names and Services", lambda: pair.reaches("one", "http://two/"), 60)


def test_a_full_disk_refuses_writes_until_it_has_room(probes: Probes, recovered: Bed) -> None:
    disk = recovered.node(2).small_disk(megabytes=4)
    try:
        volume = {"name": "disk", "hostPath": {"path": disk.path}}
        writer = container("writer", "sleep", "1h", volumeMounts=[{"name": "disk", "mountPath": "/disk"}])
        probes.start(pod("writer", 2, containers=[writer], volumes=[volume]))

        def write(name: str) -> str:
            return probes.kubectl("exec", "writer", "--", "/probe", "touch", f"/disk/{name}")

        write("before")
        disk.fill()
        with pytest.raises(BedError, match="no space left on device"):
            write("while-full")
        disk.free()
        write("after")
    finally:
        disk.remove()


def test_an_expired_certificate_is_refused_and_a_fresh_one_taken(recovered: Bed) -> None:
    def expired() -> bool:
        try:
            recovered.api.text("/readyz", seconds=2)
        except ssl.SSLCertVerificationError as error:
            return "expired" in str(error)
        except (OSError, http.client.HTTPException):
            return False
        return False

    with recovered.aged_certificate("apiserver", -2 * HOUR, -HOUR):
        until("refusal", expired, 75, 0.3)
        with pytest.raises(BedError, match="expired"):
            recovered.kubectl("get", "nodes")
    until("the fresh one", recovered.api.ready, 75, 0.3)


def test_an_unknown_component_is_named_with_those_there_are(shared_bed: Bed) -> None:
    with pytest.raises(BedError, match="etcd: not on node2, which has containerd, kubelet, kube-proxy"):
        shared_bed.node(2).component("etcd")
