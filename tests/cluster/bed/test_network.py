"""The network of a bed: pods on both nodes, Services, names, addresses of both families, and no way out."""

from __future__ import annotations

import pytest

from tests.cluster.bed.probes import Probes, at, fetch, pod, service, workload
from tests.cluster.bed.waiting import until

pytestmark = pytest.mark.cluster


def answered(url: str) -> bool:
    try:
        return "name=" in fetch(url)
    except OSError:
        return False


def test_pods_reach_each_other_on_both_nodes_in_every_family(probes: Probes) -> None:
    probes.start(pod("one", 1), pod("two", 2))
    targets = {name: probes.addresses(name) for name in ("one", "two")}
    assert len(targets["one"]) == len(probes.bed.families)
    for name, addresses in targets.items():
        for address in addresses:
            for source in targets:
                assert f"name={name} " in probes.fetch(source, at(address))
            assert f"name={name} " in fetch(at(address)), "the machine itself reaches pods"


@pytest.mark.parametrize("policy", ["SingleStack", "PreferDualStack"])
def test_services_by_address_name_and_node_port(probes: Probes, policy: str) -> None:
    probes.start(workload("Deployment", "web", 2), pod("one", 1), pod("two", 2))
    probes.apply(service("web", "web", type="NodePort", ipFamilyPolicy=policy))
    probes.kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    spec = probes.get("service", "web")["spec"]
    targets = [at(address, 80) for address in spec["clusterIPs"]] + [
        "http://web/",
        f"http://web.{probes.namespace}.svc.cluster.local/",
    ]
    for source in ("one", "two"):
        for target in targets:
            until(f"{source} to {target}", lambda s=source, t=target: probes.reaches(s, t), 10)
    for node in probes.bed.nodes:
        until("node port", lambda node=node: answered(at(node.address, spec["ports"][0]["nodePort"])), 10)


def test_a_headless_service_names_each_pod_of_a_stateful_set(probes: Probes) -> None:
    stateful = workload("StatefulSet", "db", 2, serviceName="db", podManagementPolicy="Parallel")
    probes.start(stateful, service("db", "db", clusterIP="None"), pod("one", 1))
    probes.kubectl("rollout", "status", "statefulset/db", "--timeout=40s")
    for name in ("db-0", "db-1"):
        until(name, lambda name=name: f"host={name} " in probes.fetch("one", f"http://{name}.db:8080/"), 15)


def test_a_load_balancer_has_addresses_that_the_machine_and_the_pods_reach(probes: Probes) -> None:
    probes.start(
        pod("app", 2), pod("one", 1), service("front", "app", type="LoadBalancer", ipFamilyPolicy="PreferDualStack")
    )

    def given() -> list[str]:
        entries = probes.get("service", "front")["status"]["loadBalancer"].get("ingress", [])
        return [entry["ip"] for entry in entries]

    until("addresses", lambda: len(given()) == len(probes.bed.families), 15)
    for address in given():
        until(address, lambda address=address: answered(at(address, 80)), 10)
        assert "name=app " in probes.fetch("one", at(address, 80))
    probes.apply(service("front", "app", type="ClusterIP"))
    until("release of the addresses", lambda: not given(), 15)


def test_nothing_leaves_the_machine(probes: Probes) -> None:
    probes.start(pod("two", 2))
    for target in ("http://198.51.100.1/", "http://198.18.254.77/", "http://[2001:db8::1]/"):
        assert not probes.reaches("two", target)
    for node in probes.bed.nodes:
        for family in ("-4", "-6"):
            assert "default" not in node.run("ip", family, "route")
