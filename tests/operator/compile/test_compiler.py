"""The whole recipe: it never raises for what a user wrote, and the order of what it is given never shows."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import yaml
from hypothesis import HealthCheck
from hypothesis import given as for_any
from hypothesis import strategies as st

from sidewinder_operator.compile.compiler import Compiled, Options, Running, compile_cluster
from sidewinder_operator.compile.conditions import statuses
from sidewinder_operator.compile.project import Projector
from sidewinder_operator.resources import FIELDS, KINDS, Cluster, gather
from sidewinder_operator.resources.read import read
from tests.support.clusters import Given, gathered, given, running
from tests.support.examples import examples

# Two of three names are there (SKELETON), so that most references are met and some are not.
NAMES = st.sampled_from(["a", "b", "a", "b", "c"])
NAMESPACES = st.sampled_from(["n1", "n1", "n1", "n2", "sidewinder-system"])
PORTS = st.sampled_from([80, 81, 80, 81, 82])
LABELS = st.dictionaries(st.sampled_from(["app", "version"]), st.sampled_from(["a", "b"]), max_size=2)
TIMES = st.sampled_from(["", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"])
NONSENSE = st.sampled_from([None, 7, "", "nonsense", [], {}, [{}], {"kind": "Service"}])
DURATIONS = st.sampled_from(["0s", "25ms", "1h"])


def some(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object in which any field may be missing."""
    return st.fixed_dictionaries({}, optional=fields)


META = st.fixed_dictionaries(
    {"name": NAMES, "namespace": NAMESPACES},
    optional={"labels": LABELS, "creationTimestamp": TIMES, "uid": NAMES, "generation": st.integers(0, 3)},
)
SERVICE_PORT = st.fixed_dictionaries(
    {"port": PORTS},
    optional={"name": NAMES, "targetPort": st.one_of(PORTS, NAMES), "protocol": st.sampled_from(["TCP", "UDP"])},
)
SERVICE = some(
    selector=LABELS,
    ports=st.lists(SERVICE_PORT, max_size=3),
    type=st.sampled_from(["ClusterIP", "ExternalName"]),
    publishNotReadyAddresses=st.booleans(),
)

ADDRESS = st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "nowhere"])
SLICE = {
    "addressType": st.sampled_from(["IPv4", "IPv6", "FQDN"]),
    "ports": st.lists(some(name=NAMES, port=PORTS), max_size=2),
    "endpoints": st.lists(
        st.fixed_dictionaries(
            {"addresses": st.lists(ADDRESS, min_size=1, max_size=2)},
            optional={"conditions": some(ready=st.booleans()), "targetRef": some(kind=st.just("Pod"), uid=NAMES)},
        ),
        max_size=3,
    ),
}
PATH = some(
    type=st.sampled_from(["Exact", "PathPrefix", "RegularExpression"]),
    value=st.sampled_from(["/", "/a", "/a/", "/(?P<x>a)"]),
)
HEADER = st.fixed_dictionaries({"name": st.sampled_from(["x-a", "X-A", "x-b"]), "value": NAMES})
MATCH = some(path=PATH, method=st.sampled_from(["GET", "POST"]), headers=st.lists(HEADER, max_size=2))
FILTER = st.sampled_from(
    [
        {"type": "URLRewrite", "urlRewrite": {"hostname": "x.example"}},
        {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceTemplate", "replaceTemplate": "/{x}"}}},
        {"type": "RequestRedirect", "requestRedirect": {"port": 81}},
        {"type": "DirectResponse", "directResponse": {}},
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a"]}},
        {"type": "URLRewrite"},
    ]
)
BACKEND = st.fixed_dictionaries(
    {"name": NAMES, "port": PORTS}, optional={"namespace": NAMESPACES, "weight": st.integers(0, 2)}
)
RULE = st.fixed_dictionaries(
    {"name": NAMES},
    optional={
        "matches": st.lists(MATCH, min_size=1, max_size=2),
        "filters": st.lists(FILTER, max_size=2),
        "backendRefs": st.lists(BACKEND, max_size=3),
        "timeouts": some(request=DURATIONS, backendRequest=DURATIONS),
        "retry": some(attempts=st.integers(1, 3), backoff=DURATIONS),
        "stickiness": st.sampled_from([{"type": "Header", "header": {"name": "U"}}]),
    },
)
PARENT = st.fixed_dictionaries(
    {"kind": st.just("Service"), "name": NAMES},
    optional={"namespace": NAMESPACES, "port": PORTS, "sectionName": NAMES},
)
ROUTE = st.fixed_dictionaries(
    {"parentRefs": st.lists(PARENT, min_size=1, max_size=2), "rules": st.lists(RULE, min_size=1, max_size=3)},
    optional={"hostnames": st.lists(st.sampled_from(["a.example", "*.example"]), max_size=2, unique=True)},
)
TARGET = st.one_of(
    st.sampled_from([{"kind": "Mesh"}, {"kind": "Namespace"}]),
    st.fixed_dictionaries({"kind": st.just("Service"), "name": NAMES}, optional={"sectionName": NAMES}),
    st.fixed_dictionaries({"kind": st.just("ApiRoute"), "name": NAMES}, optional={"sectionName": NAMES}),
)
POLICY = st.fixed_dictionaries(
    {"targetRefs": st.lists(TARGET, min_size=1, max_size=2)},
    optional={
        "loadBalancing": st.fixed_dictionaries(
            {"type": st.sampled_from(["RoundRobin", "LeastRequest", "PeakEWMA", "Maglev"])}
        ),
        "retryConstraint": some(budget=some(percent=st.sampled_from([0, 1, 100, 101]))),
    },
)
PROCESS = st.fixed_dictionaries(
    {"command": st.just(["x"])}, optional={"replicas": st.integers(0, 2), "portName": NAMES}
)
WORKLOAD = st.fixed_dictionaries(
    {
        "addresses": st.lists(ADDRESS, min_size=1, max_size=2, unique=True),
        "ports": st.lists(st.fixed_dictionaries({"name": NAMES, "port": PORTS}), min_size=1, max_size=2),
    }
)


def made(version: str, kind: str, spec: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a kind, now and then with nonsense for a spec."""
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(version),
            "kind": st.just(kind),
            "metadata": META,
            "spec": st.one_of(*[spec] * 9, NONSENSE),
        }
    )


OWN = "sidewinder.dev/v1alpha1"
OBJECT = st.one_of(
    made("v1", "Service", SERVICE),
    made("v1", "Service", SERVICE),
    made(OWN, "ApiRoute", ROUTE),
    made(OWN, "ApiRoute", ROUTE),
    made(OWN, "ApiPolicy", POLICY),
    made(OWN, "LocalProcess", PROCESS),
    made(OWN, "ExternalWorkload", WORKLOAD),
    st.fixed_dictionaries(
        {
            "apiVersion": st.just("discovery.k8s.io/v1"),
            "kind": st.just("EndpointSlice"),
            "metadata": st.fixed_dictionaries(
                {
                    "name": NAMES,
                    "namespace": NAMESPACES,
                    "labels": some(**{"kubernetes.io/service-name": NAMES}),
                }
            ),
            **SLICE,
        }
    ),
    NONSENSE,
)
SKELETON = list(
    yaml.safe_load_all("""
apiVersion: v1
kind: Service
metadata: {name: a, namespace: n1}
spec: {selector: {app: a}, ports: [{name: a, port: 80}, {name: b, port: 81, targetPort: a}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: n1}
spec: {ports: [{name: a, port: 80}, {name: c, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: a, namespace: n2}
spec: {ports: [{name: b, port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: a, namespace: n1, labels: {app: a}}
spec: {command: [x], replicas: 2, portName: a}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: a, namespace: n2}
spec: {command: [x]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: a, namespace: n1}
spec:
  parentRefs: [{kind: Service, name: a}]
  rules:
  - {name: a, backendRefs: [{name: a, port: 80}, {name: b, port: 81}]}
  - {name: b, matches: [{path: {value: /a}}], backendRefs: [{name: b, port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: a, namespace: n2}
spec:
  parentRefs: [{kind: Service, name: a, namespace: n1, port: 80}]
  rules: [{name: a, backendRefs: [{name: a, port: 80}]}]
""")
)
ROUTE_OF_ALL = {
    "apiVersion": OWN,
    "kind": "ApiRoute",
    "spec": {
        "parentRefs": [{"kind": "Service", "name": "a"}],
        "rules": [{"name": "all", "backendRefs": [{"name": "a", "port": 80}]}],
    },
}
FOLDER = st.lists(OBJECT, max_size=14).map(lambda objects: _distinct([*objects, *SKELETON]))


def _whole(raw: Any) -> bool:
    return isinstance(raw, dict) and "metadata" in raw


def _distinct(documents: list[Any]) -> list[Any]:
    """Of objects with one name only the first: which of two counts is the loader's to say."""
    seen = set()
    kept = []
    for raw in documents:
        key = (raw["kind"], raw["metadata"]["namespace"], raw["metadata"]["name"]) if _whole(raw) else repr(raw)
        if key not in seen:
            seen.add(key)
            kept.append(raw)
    return kept


def _lenient(documents: list[Any]) -> Given:
    """As `gathered`, but what only the reader's rules refuse comes through: compile must not fall over that either."""
    found = gathered(documents)
    passed = []
    for raw in documents:
        kind = KINDS.get((raw.get("apiVersion"), raw.get("kind"))) if isinstance(raw, dict) else None
        if kind is not None and read(raw).found is None:
            try:
                body = {name: value for name, value in raw.items() if name not in ("apiVersion", "kind")}
                passed.append(msgspec.convert(body, kind))
            except msgspec.ValidationError:
                continue
    kept = [each for name in FIELDS.values() for each in getattr(found.cluster, name).values()]
    broken = found.cluster.broken - {each.reference for each in passed}
    return found._replace(cluster=gather([*kept, *passed], broken))


def _compiled(found: Given, before: Compiled | None, seed: int) -> Compiled:
    runs = running(found.cluster)
    replicas = list(runs.replicas)
    random.Random(seed).shuffle(replicas)
    last_good = before.last_good if before is not None else None
    shuffled = Running(replicas=tuple(replicas), ways_in=runs.ways_in)
    return compile_cluster(_shuffled(found.cluster, seed), last_good, running=shuffled, wrecks=found.wrecks)


def _shuffled(cluster: Cluster, seed: int) -> Cluster:
    """The same cluster with its mappings in another order: compile must not lean on the loader's."""
    fields = {}
    for name in cluster.__struct_fields__:
        value = getattr(cluster, name)
        if isinstance(value, dict):
            items = list(value.items())
            random.Random(seed).shuffle(items)
            value = dict(items)
        fields[name] = value
    return Cluster(**fields)


def _everything(found: Given, result: Compiled) -> bytes:
    """All that comes out, as bytes: order counts."""
    projector = Projector(result.mesh)
    sent = {
        identity: [(name, each.version, each.of, each.sources) for name, each in projector.resources(identity).items()]
        for identity in projector.identities()
    }
    told = [(str(reference), status) for reference, status in statuses(found.cluster, result, found.problems).items()]
    good = sorted(str(reference) for reference in result.last_good)
    return msgspec.json.encode([result.mesh, result.problems, sent, told, good])


@examples(100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@for_any(FOLDER, FOLDER, st.integers(0, 1000), st.booleans())
def test_it_never_raises_and_no_order_shows(before: list[Any], now: list[Any], seed: int, lenient: bool) -> None:
    shuffled = list(now)
    random.Random(seed).shuffle(shuffled)
    earlier = gathered(before)
    known = _compiled(earlier, None, 0)
    one, other = (_lenient(now), _lenient(shuffled)) if lenient else (gathered(now), gathered(shuffled))
    other = other._replace(problems=one.problems, wrecks=list(reversed(other.wrecks)))
    assert _everything(one, _compiled(one, known, 0)) == _everything(other, _compiled(other, known, seed))


@examples(40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@for_any(FOLDER)
def test_what_is_good_now_stays_good_when_all_of_it_breaks(now: list[Any]) -> None:
    found = gathered(now)
    good = compile_cluster(found.cluster)
    broken = Cluster(broken=frozenset(good.last_good))
    after = compile_cluster(broken, good.last_good)
    kept = {name: sorted(getattr(after.mesh, name)) for name in ("services", "routes", "backends")}
    assert kept == {name: sorted(getattr(good.mesh, name)) for name in kept}
    assert after.last_good == good.last_good


def test_a_crowd_on_one_service_costs_no_more_than_its_number() -> None:
    """2 000 routes with one match before the same Service: one holds, all others are told, in one walk."""
    crowd = [{**ROUTE_OF_ALL, "metadata": {"name": f"r{index:04}", "namespace": "n1"}} for index in range(2000)]
    result = compile_cluster(gathered([*crowd, SKELETON[0]]).cluster)
    port = result.mesh.services["n1/a"].ports[0]
    assert len(port.producers) == 2000
    assert {problem.reason for problem in result.problems} == {"Conflicted"}
    assert len(result.problems) == 1999


def test_options_reach_the_mesh() -> None:
    mesh = compile_cluster(Cluster(), options=Options(cluster_domain="mesh.local", trace_percent=7.0)).mesh
    assert (mesh.cluster_domain, mesh.trace_percent) == ("mesh.local", 7.0)


def test_nothing_means_nothing() -> None:
    result = compile_cluster(Cluster())
    assert result.problems == ()
    assert result.mesh.services == {}
    assert Projector(result.mesh).identities() == ()


def test_a_route_that_is_broken_takes_only_itself_out() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiRoute
metadata: {name: %s, namespace: shop}
spec: {parentRefs: [{kind: Service, name: web}], rules: [{name: all, %s: [{name: web, port: 80}]}]}
"""
    good, bad = text % ("good", "backendRefs"), (text % ("bad", "backendRef")).partition("---")[2]
    result = compile_cluster(given(good, bad).cluster)
    assert list(result.mesh.routes) == ["shop/good"]
