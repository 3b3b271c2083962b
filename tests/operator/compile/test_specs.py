"""Mesh nouns as specs: names, listeners, and what is sent where nothing is set."""

from __future__ import annotations

import msgspec
import pytest

from sidewinder_operator.compile import specs
from sidewinder_operator.mesh import Mesh, Outbound
from sidewinder_operator.mesh.load_balancing import MeshLoadBalancing
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.retry_constraint import MeshRetryConstraint
from sidewinder_operator.mesh.services import MeshBackend, MeshEndpoint, MeshPort, MeshService
from sidewinder_operator.mesh.workloads import MeshGateway, MeshWorkload, WorkloadPort
from sidewinder_operator.problems import Reference
from sidewinder_sidecar.snapshot.listeners import ListenerSpec
from sidewinder_sidecar.snapshot.services import ServiceSpec
from sidewinder_sidecar.snapshot.upstreams import (
    BackendSpec,
    BudgetSpec,
    EndpointSpec,
    EndpointsSpec,
    LocalitySpec,
    RoundRobin,
)

SERVICE = MeshService(
    namespace="shop",
    name="web",
    ports=(
        MeshPort(name="shop/web:80", port=80, label="http"),
        MeshPort(name="shop/web:81", port=81, label="admin"),
        MeshPort(name="shop/web:82", port=82),
    ),
    origin=Origin(Reference("Service", "shop", "web")),
)
WORKLOAD = MeshWorkload(
    id="LocalProcess/shop/web/0",
    kind="LocalProcess",
    namespace="shop",
    name="web-v1",
    uid="u",
    addresses=("127.0.0.1",),
    labels={"app": "web"},
    ports=(WorkloadPort(dialled=1, application=2), WorkloadPort(port=9000, dialled=3, application=4)),
    outbound=5,
)


def test_the_bare_name_means_a_service_only_in_its_own_namespace() -> None:
    everywhere = ("web.shop", "web.shop.svc", "web.shop.svc.mesh.local")
    assert specs.domains(SERVICE, "shop", "mesh.local") == ("web", *everywhere)
    assert specs.domains(SERVICE, "other", "mesh.local") == everywhere


@pytest.mark.parametrize(
    ("index", "name"), [(0, "web.shop.localhost"), (1, "admin.web.shop.localhost"), (2, "82.web.shop.localhost")]
)
def test_at_a_way_in_the_first_port_has_the_services_name(index: int, name: str) -> None:
    assert specs.gateway_domains(SERVICE, index, "localhost") == (name,)


def test_where_no_section_holds_the_defaults_are_sent() -> None:
    bare = MeshBackend(name="shop/web:80", service="shop/web", endpoints="shop/web:80")
    assert specs.backend(bare) == BackendSpec(name="shop/web:80", service="shop/web", endpoints="shop/web:80")


def test_sections_are_sent_with_the_backend() -> None:
    made = specs.backend(
        MeshBackend(
            name="n",
            service="s",
            endpoints="e",
            load_balancing=MeshLoadBalancing(
                balancing=RoundRobin(), slow_start=30.0, subset={"a": "b"}, locality=LocalitySpec(failover=("z",))
            ),
            retry_constraint=MeshRetryConstraint(percent=1, interval=2.0, min_count=3, min_interval=4.0),
        )
    )
    assert made.balancing == RoundRobin()
    assert (made.slow_start, made.subset, made.locality) == (30.0, {"a": "b"}, LocalitySpec(failover=("z",)))
    assert made.budget == BudgetSpec(percent=1, interval=2.0, min_count=3, min_interval=4.0)


def test_endpoints() -> None:
    endpoint = MeshEndpoint(uid="u", address="10.0.0.1", port=8080, zone="a", ready=False, labels={"a": "b"})
    sent = EndpointSpec(uid="u", address="10.0.0.1", port=8080, zone="a", ready=False, labels={"a": "b"})
    assert specs.endpoints(MeshPort(name="n", port=1, endpoints=(endpoint,))) == EndpointsSpec(
        name="n", endpoints=(sent,)
    )


def test_each_port_of_an_application_has_its_inbound_listener() -> None:
    made = specs.inbound(WORKLOAD)
    listeners = {name: spec for name, spec in made.items() if isinstance(spec, ListenerSpec)}
    assert {name: (spec.port, spec.default_service, spec.services) for name, spec in listeners.items()} == {
        "listener/inbound": (1, "inbound", ()),
        "listener/inbound-9000": (3, "inbound-9000", ()),
    }
    service, behind = made["service/inbound-9000"], made["endpoints/inbound-9000"]
    assert isinstance(service, ServiceSpec)
    assert isinstance(behind, EndpointsSpec)
    assert (service.backend, service.port, service.domains) == ("inbound-9000", 9000, ())
    assert [(endpoint.address, endpoint.port) for endpoint in behind.endpoints] == [("127.0.0.1", 4)]


def test_outbound_is_a_forward_proxy_that_lets_strangers_pass() -> None:
    listener = specs.outbound(Mesh(outbound="Registry"), WORKLOAD)["listener/outbound"]
    assert isinstance(listener, ListenerSpec)
    assert (listener.direction, listener.port, listener.services) == ("Outbound", 5, None)
    assert listener.forward_proxy
    assert listener.pass_through


POD = MeshWorkload(
    id="u",
    kind="Pod",
    namespace="shop",
    name="web-1",
    uid="u",
    addresses=("10.0.0.1",),
    ports=(WorkloadPort(port=8080, dialled=8080, application=8080, protocol="TCP"),),
    outbound=15001,
    inbound=15006,
)


@pytest.mark.parametrize(
    ("addresses", "waits"), [(("10.0.0.1",), "0.0.0.0"), (("10.0.0.1", "fd00::1"), "::"), (("fd00::1",), "::")]
)
@pytest.mark.parametrize(("outbound", "passes"), [("Allow", True), ("Registry", False)])
def test_what_a_pod_sends_and_gets_is_redirected_on_the_families_that_it_has(
    addresses: tuple[str, ...], waits: str, outbound: Outbound, passes: bool
) -> None:
    pod = msgspec.structs.replace(POD, addresses=addresses)
    out = specs.outbound(Mesh(outbound=outbound), pod)["listener/outbound"]
    into = specs.inbound(pod)["listener/inbound"]
    assert out == ListenerSpec(
        name="outbound", direction="Outbound", address=waits, port=15001, pass_through=passes, transparent=True
    )
    assert into == ListenerSpec(
        name="inbound", direction="Inbound", address=waits, port=15006, services=("inbound-8080",), pass_through=True,
        transparent=True,
    )  # fmt: skip


def test_a_pods_port_says_what_comes_to_it_and_where_the_application_is() -> None:
    made = specs.inbound(POD)
    service, behind = made["service/inbound-8080"], made["endpoints/inbound-8080"]
    assert isinstance(service, ServiceSpec)
    assert isinstance(behind, EndpointsSpec)
    assert (service.port, service.protocol, service.backend) == (8080, "TCP", "inbound-8080")
    assert [(each.address, each.port) for each in behind.endpoints] == [("10.0.0.1", 8080)]


def test_a_pod_is_lazy_and_is_told_when_it_goes() -> None:
    assert (specs.proxy(Mesh(), POD).lazy, specs.proxy(Mesh(), WORKLOAD).lazy) == (True, False)
    assert specs.proxy(Mesh(), msgspec.structs.replace(POD, terminating=True)).terminating


def test_of_endpoints_the_ready_ones_get_new_requests() -> None:
    spec = EndpointsSpec(
        name="n",
        endpoints=(EndpointSpec(uid="a", address="a", port=1), EndpointSpec(uid="b", address="b", port=1, ready=False)),
    )
    assert specs.ready(spec) == {"a"}
    assert specs.ready(specs.proxy(Mesh(), POD)) == frozenset()


def test_a_proxy_is_called_by_the_service_that_owns_it_or_by_its_own_name() -> None:
    assert specs.proxy(Mesh(), WORKLOAD).service == "web-v1"
    gateway = MeshGateway(id="Gateway/front", name="front", address="::1", port=1, domain="localhost")
    sent = specs.gateway_proxy(Mesh(cluster_domain="c", trace_percent=5.0), gateway)
    assert (sent.name, sent.namespace, sent.cluster_domain, sent.trace_percent) == ("front", "", "c", 5.0)
    listener = specs.gateway(gateway)["listener/front"]
    assert isinstance(listener, ListenerSpec)
    assert (listener.direction, listener.address, listener.pass_through) == ("Gateway", "::1", False)
