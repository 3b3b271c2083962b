"""sizeLimits: bytes, and of several levels the smallest of each; on a route it is the first filter of its rules."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.compiler import Compiled, Running, compile_cluster
from sidewinder_operator.compile.policy_specs import policy as sent
from sidewinder_operator.compile.size_limits import ROW, build, smaller, spec
from sidewinder_operator.mesh.policies import Held
from sidewinder_operator.mesh.size_limits import MeshSizeLimits
from sidewinder_operator.mesh.workloads import PodReplica, WorkloadPort
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.size_limits import SizeLimits
from sidewinder_sidecar.snapshot.filters import RequestHeaders
from sidewinder_sidecar.snapshot.filters import SizeLimits as SizesFilter
from sidewinder_sidecar.snapshot.policies import SizesSpec
from tests.support.clusters import given

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: web, namespace: shop}
spec:
  parentRefs: [{kind: Service, name: web}]
  rules:
  - name: uploads
    matches: [{path: {type: PathPrefix, value: /uploads}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x-debug]}}]
    backendRefs: [{name: web, port: 80}]
  - {name: all, backendRefs: [{name: web, port: 80}]}
"""
HTTP = WorkloadPort(port=80, name="http", dialled=80, application=80)
POD = PodReplica(
    namespace="shop", name="web-1", uid="pod", addresses=("10.0.0.1",), ports=(HTTP,), labels={"app": "web"}
)


def policy(name: str, target: str, sizes: str, namespace: str = "shop") -> str:
    return f"""
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{targetRefs: [{{{target}}}], sizeLimits: {{{sizes}}}}}
"""


def compiled(*policies: str) -> Compiled:
    found = given(SERVICE, *policies)
    assert found.problems == []
    return compile_cluster(found.cluster, running=Running(pods=(POD,)))


def test_sizes_become_bytes() -> None:
    meant, faults = build(SizeLimits(request_headers="16Ki", request_body="1Mi", response_body="512"), Cluster(), "")
    assert meant == MeshSizeLimits(request_headers=16384, request_body=1048576, response_body=512)
    assert faults == ()


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        (MeshSizeLimits(request_body=5), MeshSizeLimits(request_body=3), MeshSizeLimits(request_body=3)),
        (MeshSizeLimits(request_body=0), MeshSizeLimits(request_body=3), MeshSizeLimits(request_body=0)),
        (MeshSizeLimits(request_body=5), MeshSizeLimits(), MeshSizeLimits(request_body=5)),
        (
            MeshSizeLimits(request_body=5, response_body=9),
            MeshSizeLimits(response_body=8, request_headers=1),
            MeshSizeLimits(request_headers=1, request_body=5, response_body=8),
        ),
    ],
)
def test_the_smaller_of_each_field_holds(one: MeshSizeLimits, other: MeshSizeLimits, least: MeshSizeLimits) -> None:
    assert smaller(one, other) == smaller(other, one) == least


def test_what_is_sent_names_all_policies() -> None:
    held = [Held("b/two", MeshSizeLimits(request_body=5)), Held("a/one", MeshSizeLimits(request_body=7))]
    assert spec(held) == SizesSpec(policy="a/one, b/two", request_body=5)
    assert spec([]) is None


def test_on_a_port_all_levels_hold() -> None:
    found = compiled(
        policy("mesh", "kind: Mesh", "requestBody: 10Mi, requestHeaders: 8Ki", "sidewinder-system"),
        policy("shop", "kind: Namespace", "requestBody: 1Mi, responseBody: 5Mi"),
        policy("web", "kind: Service, name: web, sectionName: http", "requestBody: 2Mi, responseBody: 1Mi"),
    )
    assert found.problems == ()
    (port,) = found.mesh.workloads["pod"].ports
    assert sent(found.mesh.policies[port.policy]).size_limits == SizesSpec(
        policy="shop/shop, shop/web, sidewinder-system/mesh",
        request_headers=8 << 10,
        request_body=1 << 20,
        response_body=1 << 20,
    )


def test_on_a_route_it_is_the_first_filter_of_its_rules() -> None:
    found = compiled(
        policy("route", "kind: ApiRoute, name: web", "requestBody: 1Mi"),
        policy("uploads", "kind: ApiRoute, name: web, sectionName: uploads", "responseBody: 1Ki, requestBody: 2Mi"),
    )
    assert found.problems == ()
    uploads, rest = found.mesh.routes["shop/web"].rules
    both = SizesFilter(SizesSpec(policy="shop/route, shop/uploads", request_body=1 << 20, response_body=1 << 10))
    assert uploads.filters == (both, RequestHeaders(remove=("x-debug",)))
    assert rest.filters == (SizesFilter(SizesSpec(policy="shop/route", request_body=1 << 20)),)
    assert [each.reference for each in found.mesh.routes["shop/web"].origins()] == [
        Reference("ApiRoute", "shop", "web"),
        Reference("ApiPolicy", "shop", "route"),
        Reference("ApiPolicy", "shop", "uploads"),
    ]
    assert found.mesh.policies == {}


def test_it_combines_and_acts_where_a_route_does() -> None:
    assert ROW.written.MERGING == "Minimum"
    assert ROW.combine is smaller
    assert ROW.written.ROUTED
