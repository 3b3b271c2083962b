"""The main job on a cluster: the split as written, a change that is live when `kubectl wait` says so, one trace."""

from __future__ import annotations

import json
import math
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration

from tests.cluster.bed.waiting import until
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.mesh import ENABLED, Mesh, proxy_of
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.objects import Objects
from tests.cluster.support.traffic import Load, Result

pytestmark = pytest.mark.cluster

EXAMPLES = Path(__file__).parents[2] / "examples"
MANIFESTS = ("canary/services.yaml", "canary/canary.yaml", "filters/traffic.yaml", "resilience/resilience.yaml")
ONE_IN_A_MILLION = 4.9  # standard deviations of a two-sided bound at p = 1e-6 (normal approximation of the binomial)
REVIEWS = "http://reviews:9080/reviews/1"
CLIENT, SERVER = 3, 2  # kinds of spans, as OTLP numbers them
GET = ("python3", "-m", "apps", "get")


@pytest.fixture(scope="module")
def bookinfo(
    mesh: Mesh, cluster: Cluster, objects: Objects, configuration: Configuration, images: Callable[[str], str]
) -> Iterator[Namespace]:
    """The namespace that the example names, with the routes as they stand there."""
    with Namespace("bookinfo", cluster, objects, configuration, images, ENABLED) as space:
        for manifest in (
            "canary/services.yaml",
            "canary/canary.yaml",
            "filters/traffic.yaml",
            "resilience/resilience.yaml",
        ):
            text = (EXAMPLES / manifest).read_text()
            for document in text.split("\n---\n"):
                if "kind: Namespace" not in document:
                    space.apply(document.replace("$", "$$"))
        space.apply("bookinfo.yaml")
        for name in ("reviews-v1", "reviews-v2", "ratings"):
            space.wait_for(f"Deployment/{name}")
        for name in ("client", "spans"):
            space.wait_for(f"Pod/{name}")
        yield space
    objects.wait_gone("Namespace", "bookinfo", "", 60)


def sent(space: Namespace, name: str, **job: Any) -> Result:
    """What a client in a pod of its own was answered."""
    with Load(space, f"{name}-{secrets.token_hex(2)}", {"url": REVIEWS, **job}, {}) as load:
        return load.wait()


def expect_share(counts: dict[str, int], name: str, share: float) -> None:
    total = sum(counts.values())
    bound = ONE_IN_A_MILLION * math.sqrt(total * share * (1 - share)) + 1
    assert abs(counts.get(name, 0) - total * share) <= bound, f"{counts} for a share of {share}"


def test_the_pods_are_injected_and_ready(mesh: Mesh, bookinfo: Namespace) -> None:
    pods = {pod["metadata"]["name"]: pod for pod in mesh.items("pods", namespace=bookinfo.name)}
    assert {name for name, pod in pods.items() if proxy_of(pod) is None} == {"spans"}
    assert all(each["restartCount"] == 0 for pod in pods.values() for each in pod["status"]["containerStatuses"])


def test_ten_thousand_requests_split_as_written(mesh: Mesh, bookinfo: Namespace) -> None:
    mesh.live("reviews", bookinfo.name)
    found = sent(bookinfo, "split", requests=10_000)
    found.assert_no_failures()
    expect_share(found.versions, "v2", 0.1)
    v1 = {name: count for name, count in found.pods.items() if name.startswith("reviews-v1")}
    assert len(v1) == 2, "both replicas of v1 serve"
    assert min(v1.values()) > max(v1.values()) / 5, found.pods  # the quicker one gets more: requests in flight decide


def test_a_header_chooses_its_rule(bookinfo: Namespace) -> None:
    found = sent(bookinfo, "beta", requests=100, headers=[["x-beta", "true"]])
    found.assert_no_failures()
    assert found.versions == {"v2": 100}


def test_filters_change_what_the_application_sees(mesh: Mesh, bookinfo: Namespace) -> None:
    mesh.live("ratings", bookinfo.name)
    told = json.loads(bookinfo.run_in_pod("client", *GET, "http://ratings:9080/v2/ratings/7?verbose=1"))
    assert told["target"].startswith("/ratings/7")
    assert ["x-api-version", "2"] in [[name.lower(), value] for name, value in told["headers"]]
    assert bookinfo.run_in_pod("client", *GET, "http://ratings:9080/health/live") == "ok"


def test_manifests_are_taken_as_they_stand(cluster: Cluster, bookinfo: Namespace) -> None:
    for name in ("apiroute/reviews", "apiroute/ratings", "apipolicy/reviews-resilience"):
        for condition in ("Accepted", "Programmed"):
            cluster.kubectl("wait", f"--for=condition={condition}", name, "-n", bookinfo, "--timeout=30s")


def test_a_share_is_copied_delayed_and_aborted(bookinfo: Namespace) -> None:
    """5 %, 1 % and 0.1 % of those that the rule is for: copies reach the application beside the originals."""
    before = asked(bookinfo, "/ratings/8")
    job = {"url": "http://ratings:9080/v2/ratings/8?verbose=1", "statuses": ["200", "503"], "echo": False}
    found = sent(bookinfo, "shares", requests=3000, **job)
    found.assert_no_failures()
    answered, aborted = found.status["200"], found.status.get("503", 0)
    copies = asked(bookinfo, "/ratings/8") - before - answered
    expect_share({"copied": copies, "not": 3000 - copies}, "copied", 0.05)
    expect_share({"aborted": aborted, "not": answered}, "aborted", 0.001)
    assert found.latency_ms["max"] >= 300, "thirty or so are delayed"
    assert found.latency_ms["p90"] < 300


def asked(space: Namespace, path: str) -> int:
    """How often the application behind `ratings` was asked for a path."""
    (pod,) = space.pods("app=ratings")
    told = space.run_in_pod(pod["metadata"]["name"], *GET, "http://127.0.0.1:9080/count", container="echo")
    counts: dict[str, int] = json.loads(told)["asked"]
    return counts.get(path, 0)


def test_health_checks_are_asked_as_written(bookinfo: Namespace) -> None:
    """Three proxies ask the pod of reviews-v2, and find it well."""

    def verdicts() -> list[str]:
        own = [pod["metadata"]["name"] for app in ("reviews", "ratings") for pod in bookinfo.pods(f"app={app}")]
        containers = {"client": "client"} | dict.fromkeys(own, "echo")
        page = "http://127.0.0.1:15000/health-checks"
        told = [json.loads(bookinfo.run_in_pod(pod, *GET, page, container=each)) for pod, each in containers.items()]
        return [check["verdict"] for each in told for check in each["checks"]]

    until("three have found it well", lambda: verdicts() == ["healthy"] * 3, 30, 1)


def test_a_weight_is_live_everywhere_when_kubectl_wait_returns(
    mesh: Mesh, cluster: Cluster, bookinfo: Namespace
) -> None:
    running = [
        Load(bookinfo, f"everywhere-{number}", {"url": REVIEWS, "rate": 20, "concurrency": 2}, {})
        for number in range(2)
    ]
    for load in running:
        load.__enter__()
    place = "/spec/rules/1/backendRefs"
    for weights, only in (((0, 100), "v2"), ((100, 0), "v1")):
        changes = [
            {"op": "replace", "path": f"{place}/{at}/weight", "value": weight} for at, weight in enumerate(weights)
        ]
        words = ("patch", "apiroute", "reviews", "-n", bookinfo, "--type=json", "-p", json.dumps(changes))
        cluster.kubectl(*words)
        mesh.live("reviews", bookinfo.name)
        found = sent(bookinfo, only, requests=300)
        found.assert_no_failures()
        assert found.versions == {only: 300}
    for load in running:
        load.stop().assert_no_failures()

    def counted() -> bool:
        """Pods that have just ended may count for a moment."""
        proxies = bookinfo.get("ApiRoute/reviews", "sidewinder.dev/v1alpha1")["status"]["proxies"]
        return bool(proxies["required"] == proxies["acknowledged"] == len(running_proxies(mesh)) >= 5)

    until("all proxies of the shop are counted", counted, 20, 0.5)


def running_proxies(mesh: Mesh) -> list[dict[str, Any]]:
    """The pods of the shop with a proxy that have not ended."""
    return [pod for pod in mesh.proxies("bookinfo") if pod["status"]["phase"] == "Running"]


def test_client_and_server_tell_one_trace(bookinfo: Namespace) -> None:
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    job = {"url": REVIEWS, "headers": [["traceparent", f"00-{trace}-{parent}-01"]], "reuse": False}
    code = (
        f"import json, asyncio; from apps import get, load; print(get.get(load.Job(**json.loads({json.dumps(job)!r}))))"
    )
    told = json.loads(bookinfo.run_in_pod("client", "python3", "-c", code))
    ask = (*GET, f"http://spans:4318/spans?trace={trace}")

    def found() -> list[dict[str, Any]]:
        spans: list[dict[str, Any]] = json.loads(bookinfo.run_in_pod("client", *ask))
        return spans

    def complete() -> bool:
        return Counter(span["kind"] for span in found()) == {CLIENT: 2, SERVER: 2}

    until("two proxies' spans, each a server's and a client's", complete, 30, 0.5)
    spans = {span["span"]: span for span in found()}
    (first,) = [span for span in spans.values() if span["parent"] == parent]
    chain = [first]
    while following := next((span for span in spans.values() if span["parent"] == chain[-1]["span"]), None):
        chain.append(following)
    assert [span["kind"] for span in chain] == [SERVER, CLIENT, SERVER, CLIENT]
    (given,) = [value for name, value in told["headers"] if name.lower() == "traceparent"]
    assert given.split("-")[1:3] == [trace, chain[-1]["span"]], "the application carries it on"
