"""Services as callers meet them: ports, endpoints, and the client sections that hold."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.compiler import Running, compile_cluster
from sidewinder_operator.compile.services import port_name
from sidewinder_operator.mesh.services import MeshPort
from sidewinder_operator.mesh.workloads import PodReplica, WorkloadPort
from sidewinder_operator.resources import gather
from sidewinder_operator.resources.core import Service, ServicePort, ServiceSpec
from sidewinder_operator.resources.meta import ObjectMeta
from tests.support.clusters import given, running


def compiled(text: str) -> tuple[dict[str, MeshPort], list[str]]:
    cluster = given(text).cluster
    result = compile_cluster(cluster, running=running(cluster))
    ports = {port.name: port for service in result.mesh.services.values() for port in service.ports}
    return ports, [f"{problem.severity} {problem.field}: {problem.message}" for problem in result.problems]


def service(ports: str, more: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\nspec: {{ports: [{ports}]{more}}}\n"
    )


def endpoint_slice(endpoints: str, ports: str = '{name: "", port: 8080}', family: str = "IPv4") -> str:
    return f"""---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
ports: [{ports}]
endpoints: [{endpoints}]
"""


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [("{}", True), ("{ready: true}", True), ("{ready: false}", False), ("{serving: true}", True)],
)
def test_an_endpoint_is_ready_unless_it_is_said_not_to_be(conditions: str, ready: bool) -> None:
    ports, _ = compiled(service("{port: 80}") + endpoint_slice(f"{{addresses: [10.0.0.1], conditions: {conditions}}}"))
    assert [endpoint.ready for endpoint in ports["shop/web:80"].endpoints] == [ready]


def test_a_slice_serves_the_port_of_its_name_and_protocol() -> None:
    ports, _ = compiled(
        service("{name: a, port: 80}, {name: b, port: 81}")
        + endpoint_slice(
            "{addresses: [10.0.0.1]}", "{name: a, port: 1}, {name: b, port: 2, protocol: UDP}, {name: c, port: 3}"
        )
    )
    assert [endpoint.port for endpoint in ports["shop/web:80"].endpoints] == [1]
    assert ports["shop/web:81"].endpoints == ()


def test_endpoints_are_sorted_and_stand_once() -> None:
    pod = "targetRef: {kind: Pod, uid: %s}"
    endpoints = [
        f"{{addresses: [10.0.0.2], {pod % 'b'}}}",
        f"{{addresses: [10.0.0.3], {pod % 'a'}}}",
        f"{{addresses: [10.0.0.2], {pod % 'b'}}}",
    ]
    ports, _ = compiled(service("{port: 80}") + endpoint_slice(", ".join(endpoints)))
    assert [(e.uid, e.address) for e in ports["shop/web:80"].endpoints] == [("a", "10.0.0.3"), ("b", "10.0.0.2")]


def test_a_bad_address_costs_only_itself() -> None:
    ports, told = compiled(
        service("{port: 80}") + endpoint_slice('{addresses: [10.0.0.1]}, {addresses: ["::1"]}, {addresses: [10.0.0.2]}')
    )
    assert [endpoint.address for endpoint in ports["shop/web:80"].endpoints] == ["10.0.0.1", "10.0.0.2"]
    assert told == ["Error endpoints[1].addresses[0]: ::1 is no IPv4 address: nothing is sent there"]


def test_ports_that_carry_no_http_are_left_out() -> None:
    ports, told = compiled(service("{name: dns, port: 53, protocol: UDP}, {name: http, port: 80}"))
    assert list(ports) == ["shop/web:80"]
    assert told == []


def test_behind_an_external_name_is_its_host() -> None:
    ports, told = compiled(service("{port: 80}", ", type: ExternalName, externalName: Example.test."))
    (endpoint,) = ports["shop/web:80"].endpoints
    assert (endpoint.address, endpoint.port, told) == ("example.test", 80, [])


@pytest.mark.parametrize("host", ['""', "localhost", "a.LOCALHOST", "127.0.0.1", '"::1"'])
def test_an_external_name_never_leads_back_into_the_callers_pod(host: str) -> None:
    ports, told = compiled(service("{port: 80}", f", type: ExternalName, externalName: {host}"))
    assert ports == {}
    assert len(told) == 1
    assert told[0].startswith("Error spec.externalName: ")


def test_callers_dial_whatever_address_leads_to_it() -> None:
    text = service("{port: 80}", ', clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, "FD00::7"], externalIPs: [192.0.2.1]')
    cluster = given(text + "status: {loadBalancer: {ingress: [{ip: 192.0.2.2}, {hostname: lb.test}]}}").cluster
    made = compile_cluster(cluster).mesh.services["shop/web"]
    assert (made.addresses, made.headless) == (("10.96.0.7", "192.0.2.1", "192.0.2.2", "fd00::7"), False)
    headless = compile_cluster(given(service("{port: 80}", ", clusterIP: None")).cluster).mesh.services["shop/web"]
    assert (headless.addresses, headless.headless) == ((), True)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("10.96.0.7", ["10.0.0.1"]),
        ('"fd00::7"', ["fd00::1"]),
        ("None", ["10.0.0.1", "fd00::1"]),
        ('""', ["10.0.0.1", "fd00::1"]),
    ],
    ids=["IPv4 first", "IPv6 first", "headless", "without an address"],
)
def test_of_two_families_the_services_first_counts(written: str, found: list[str]) -> None:
    pod = "targetRef: {kind: Pod, uid: u}"
    four = endpoint_slice(f"{{addresses: [10.0.0.1], {pod}}}")
    six = endpoint_slice(f'{{addresses: ["fd00::1"], {pod}}}', family="IPv6").replace("web-1", "web-2")
    ports, _ = compiled(service("{port: 80}", f", clusterIP: {written}") + four + six)
    assert [endpoint.address for endpoint in ports["shop/web:80"].endpoints] == found


@pytest.mark.parametrize("publishes", [True, False])
def test_a_pod_that_leaves_is_ready_for_nobody(publishes: bool) -> None:
    more = f", selector: {{app: web}}, publishNotReadyAddresses: {str(publishes).lower()}"
    sliced = endpoint_slice(
        "{addresses: [10.0.0.1], conditions: {ready: true}, targetRef: {kind: Pod, uid: u-1}},"
        "{addresses: [10.0.0.2], conditions: {ready: true, terminating: true}}, {addresses: [10.0.0.3]}"
    )
    pod = PodReplica(
        namespace="shop", name="web-1", uid="u-1", addresses=("10.0.0.1",), labels={"app": "web"}, terminating=True
    )
    result = compile_cluster(given(service("{port: 80}", more) + sliced).cluster, running=Running(pods=(pod,)))
    endpoints = result.mesh.services["shop/web"].ports[0].endpoints
    assert {each.address: each.ready for each in endpoints} == {
        "10.0.0.1": False, "10.0.0.2": False, "10.0.0.3": True,
    }  # fmt: skip
    assert result.mesh.workloads["u-1"].terminating


def last(*conditions: str, more: str = "", left: tuple[str, ...] = (), pods: tuple[PodReplica, ...] = ()) -> list[bool]:
    """Who is ready of endpoints with these conditions: pods u-0, u-1, …"""
    ref = "targetRef: {kind: Pod, uid: u-%d}"
    found = (
        f"{{addresses: [10.0.0.{at + 1}], conditions: {{{each}}}, {ref % at}}}" for at, each in enumerate(conditions)
    )
    text = service("{port: 80}", ", selector: {app: web}" + more) + endpoint_slice(", ".join(found))
    result = compile_cluster(given(text).cluster, running=Running(pods=pods, left=left))
    kept = {workload.uid for workload in result.mesh.workloads.values() if workload.last_resort}
    endpoints = result.mesh.services["shop/web"].ports[0].endpoints
    named = {each.uid for each in endpoints if each.ready}
    assert kept == named & {pod.uid for pod in pods if pod.terminating}
    return [each.ready for each in endpoints]


GOES = "ready: false, serving: true, terminating: true"
GONE = "ready: false, serving: false, terminating: true"
WORSE = "ready: false, serving: true"


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        pytest.param([GOES], [True], id="alone"),
        pytest.param([GOES, GOES, GONE], [True, True, False], id="all of those who serve"),
        pytest.param([GOES, WORSE], [True, False], id="before one that is not ready"),
        pytest.param([WORSE, "ready: false"], [False, False], id="nobody who stays"),
        pytest.param([GOES, "ready: true"], [False, True], id="one is ready"),
        pytest.param([GONE], [False], id="does not serve"),
        pytest.param(["terminating: true"], [True], id="unknown is ready"),
        pytest.param(["ready: false, terminating: true"], [False], id="serving unknown"),
    ],
)
@pytest.mark.parametrize("more", ["", ", clusterIP: None", ", publishNotReadyAddresses: true"])
def test_where_nobody_is_ready_those_who_leave_and_serve_are_called(
    conditions: list[str], ready: list[bool], more: str
) -> None:
    if "publish" in more and any("terminating" not in each for each in conditions):
        ready = ["terminating" not in each for each in conditions]
    assert last(*conditions, more=more) == ready


def leaver(uid: str) -> PodReplica:
    return PodReplica(
        namespace="shop", name=uid, uid=uid, addresses=(), labels={"app": "web"}, ready=True, terminating=True
    )


def test_a_last_resort_is_known_before_its_slice_says_that_it_goes_and_knows_it() -> None:
    pods = (leaver("u-0"),)
    assert last("ready: true, serving: true, terminating: false", pods=pods) == [True]
    assert last("ready: true", pods=pods) == [True]
    assert last("ready: false", pods=pods) == [False]
    assert last("ready: true", "ready: true", pods=pods) == [False, True]


def test_who_was_taken_out_does_not_come_back() -> None:
    """This replica has told the others that it names it no more."""
    pods = leaver("u-0"), leaver("u-1")
    assert last(GOES, GOES, left=("u-0",), pods=pods) == [False, True]
    assert last(GOES, left=("u-0",), pods=pods[:1]) == [False]
    assert last("ready: true", left=("u-0",)) == [True]


def test_each_port_has_its_own_last_resort() -> None:
    """Of one the new pods are ready, of the other nobody."""
    both = service("{name: a, port: 80}, {name: b, port: 81}", ", selector: {app: web}")
    old = endpoint_slice(f"{{addresses: [10.0.0.1], conditions: {{{GOES}}}}}", "{name: a, port: 1}, {name: b, port: 2}")
    new = endpoint_slice("{addresses: [10.0.0.2]}", "{name: a, port: 1}").replace("web-1", "web-2")
    ports, _ = compiled(both + old + new)
    assert [each.ready for each in ports["shop/web:80"].endpoints] == [False, True]
    assert [each.ready for each in ports["shop/web:81"].endpoints] == [True]


def test_a_port_number_counts_once() -> None:
    """The API server and the reader refuse it; compile must not be the one that falls over it."""
    twice = ServiceSpec(ports=(ServicePort(name="a", port=80), ServicePort(name="b", port=80)))
    result = compile_cluster(gather([Service(metadata=ObjectMeta(name="web", namespace="shop"), spec=twice)]))
    assert [port.label for port in result.mesh.services["shop/web"].ports] == ["a"]
    assert [problem.field for problem in result.problems] == ["spec.ports[1].port"]


PROCESS = """---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {command: [web], portName: main}
"""


@pytest.mark.parametrize(
    ("target", "found"), [("", True), ("targetPort: 9999", True), ("targetPort: main", True), ("targetPort: x", False)]
)
def test_a_target_port_means_a_process_by_name_or_by_any_number(target: str, found: bool) -> None:
    ports, told = compiled(service(f"{{port: 80, {target}}}", ", selector: {app: web}") + PROCESS)
    assert [endpoint.port for endpoint in ports["shop/web:80"].endpoints] == ([15000] if found else [])
    assert bool(told) != found


def test_ports_are_named_by_service_and_number() -> None:
    assert port_name("shop", "web", 80) == "shop/web:80"


def test_of_pods_the_slices_alone_tell_who_answers() -> None:
    text = service("{port: 80, targetPort: 8080}", ", selector: {app: web}")
    sliced = endpoint_slice("{addresses: [10.0.0.1], conditions: {ready: false}, targetRef: {kind: Pod, uid: u-1}}")
    port = WorkloadPort(port=8080, dialled=8080, application=8080)
    pod = PodReplica(
        namespace="shop", name="web-1", uid="u-1", addresses=("10.0.0.1",), labels={"app": "web"}, ports=(port,)
    )
    result = compile_cluster(given(text + sliced).cluster, running=Running(pods=(pod,)))
    endpoints = result.mesh.services["shop/web"].ports[0].endpoints
    assert [(each.uid, each.address, each.port, each.ready) for each in endpoints] == [("u-1", "10.0.0.1", 8080, False)]
    assert result.mesh.workloads["u-1"].service == "web"


SUBSET = """---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: second, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: web}]
  loadBalancing: {type: LeastRequest, subset: [{name: version, value: v2}]}
"""


@pytest.mark.parametrize(("policy", "labels"), [("", {}), (SUBSET, {"version": "v2"})], ids=["nobody asks", "a subset"])
def test_of_a_pod_s_labels_those_are_sent_by_which_a_subset_is_told(policy: str, labels: dict[str, str]) -> None:
    text = service("{port: 80, targetPort: 8080}", ", selector: {app: web}") + policy
    sliced = endpoint_slice("{addresses: [10.0.0.1], targetRef: {kind: Pod, uid: u-1}}, {addresses: [10.0.0.2]}")
    pod = PodReplica(
        namespace="shop", name="web-1", uid="u-1", addresses=("10.0.0.1",), labels={"app": "web", "version": "v2"}
    )
    result = compile_cluster(given(text + sliced).cluster, running=Running(pods=(pod,)))
    endpoints = result.mesh.services["shop/web"].ports[0].endpoints
    assert {each.uid: each.labels for each in endpoints} == {"u-1": labels, "10.0.0.2": {}}
