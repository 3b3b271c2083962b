"""Who answers at an endpoint: only what runs with a sidecar has a name, and only at ports that lead to it."""

from __future__ import annotations

import pytest

from sidewinder_operator.authority.sign import Identity
from sidewinder_operator.compile.compiler import Running, compile_cluster
from sidewinder_operator.compile.identities import spiffe_id
from sidewinder_operator.mesh.workloads import PodReplica, Replica
from tests.support.clusters import given

NAME = "spiffe://cluster.local/ns/shop/sa/web"
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def sliced(endpoint: str, port: int = 8080) -> str:
    return f"""---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: "", port: {port}}}]
endpoints: [{endpoint}]
"""


def pod(uid: str = "u1", address: str = "10.0.0.1", **more: object) -> PodReplica:
    described = {"namespace": "shop", "name": "web-1", "service_account": "web", "labels": {"app": "web"}}
    return PodReplica(**{**described, "uid": uid, "addresses": (address,), **more})  # type: ignore[arg-type]


def names(text: str, running: Running) -> list[str]:
    mesh = compile_cluster(given(text).cluster, running=running).mesh
    return [endpoint.identity for endpoint in mesh.services["shop/web"].ports[0].endpoints]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        pytest.param("{addresses: [10.0.0.1], targetRef: {kind: Pod, uid: u1}}", NAME, id="its-pod"),
        pytest.param("{addresses: [10.0.0.1]}", NAME, id="its-address"),
        pytest.param("{addresses: [10.0.0.1], targetRef: {kind: Pod, uid: u9}}", "", id="another-pod-had-the-address"),
        pytest.param("{addresses: [10.0.0.9]}", "", id="nobody-of-ours"),
    ],
)
def test_an_endpoint_of_a_slice_has_the_name_of_its_pod(endpoint: str, expected: str) -> None:
    assert names(SERVICE + sliced(endpoint), Running(pods=(pod(),))) == [expected]


def test_a_port_that_goes_past_the_sidecar_is_nobodys() -> None:
    text = SERVICE + sliced("{addresses: [10.0.0.1], targetRef: {kind: Pod, uid: u1}}", 9090)
    assert names(text, Running(pods=(pod(direct=(9090, 15021)),))) == [""]
    assert names(text, Running(pods=(pod(direct=(15021,)),))) == [NAME]


LOCAL = """---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccount: newer, command: [x]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ExternalWorkload
metadata: {name: old, namespace: shop, labels: {app: web}}
spec: {serviceAccount: web, addresses: [192.0.2.1], ports: [{name: http, port: 8080}]}
"""


@pytest.mark.parametrize(("started_as", "expected"), [("web", NAME), ("", NAME.replace("web", "newer"))])
def test_a_process_has_the_name_that_it_was_started_with(started_as: str, expected: str) -> None:
    replica = Replica(
        namespace="shop", name="web", uid="x", inbound=1, application=2, outbound=3, service_account=started_as
    )
    found = names(SERVICE + LOCAL, Running(replicas=(replica,)))
    assert sorted(found) == ["", expected], "and what runs without a sidecar has none"


def test_it_is_the_name_that_the_authority_signs() -> None:
    assert spiffe_id("cluster.local", "shop", "web") == str(Identity("cluster.local", "shop", "web"))
