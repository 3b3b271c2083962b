"""What is not HTTP by a Service's name: databases, servers that speak first, TLS, every kind of Service and way in."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.apps import http1
from tests.cluster.bed.certificates import Authority
from tests.cluster.bed.waiting import BedError, until
from tests.cluster.support.background import serving
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.containers import status, statuses
from tests.cluster.support.mesh import ENABLED, PROXY, Mesh, proxy_of
from tests.cluster.support.namespace import Namespace

pytestmark = pytest.mark.cluster

GET = ("python3", "-m", "apps", "get")

SPEAK = """
import socket
with socket.create_connection(("banner", 25), 5) as talk:
    lines = talk.makefile("rwb", 0)
    print(lines.readline().decode(), end="")  # before anything was sent
    lines.write(b"hello\\r\\nQUIT\\r\\n")
    print(lines.read().decode(), end="")
"""

# Silence first: a proxy that waits for the caller, or takes silence for an answer, is found out by it.
HESITATE = """
import socket, time
with socket.create_connection(("echo", 80), 5) as talk:
    time.sleep(3)
    talk.sendall(b"GE")
    time.sleep(0.5)
    talk.sendall(b"T / HTTP/1.1\\r\\nHost: echo\\r\\nConnection: close\\r\\n\\r\\n")
    print(b"".join(iter(lambda: talk.recv(65536), b"")).decode())
"""

# Ends well when the connection is still open a second later, or something came over it.
STAYS = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as talk:
    talk.settimeout(1)
    try:
        sys.exit(not talk.recv(1))
    except TimeoutError:
        pass
"""

SECURE = """
import http.client, ssl
context = ssl._create_unverified_context()
talk = http.client.HTTPSConnection("tls", 443, context=context, timeout=10)
talk.request("GET", "/")
print(talk.getresponse().read().decode())
"""

HEAD = """
import http.client, json, sys
talk = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=10)
talk.request("GET", "/", headers=json.loads(sys.argv[3]))
answer = talk.getresponse()
print(json.dumps({"status": answer.status, "fields": {k.lower(): v for k, v in answer.getheaders()},
                  "body": answer.read().decode()}))
"""


@pytest.fixture(scope="module")
def stores(mesh: Mesh, namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    """Databases and a server that speaks first, and their client: all of them with a proxy, none of them changed."""
    with namespaces("stores", ENABLED) as fresh:
        fresh.apply("stores.yaml")
        for name in ("postgres", "redis", "banner", "client"):
            assert proxy_of(fresh.wait_for(f"Pod/{name}")), "it has a proxy"
        for name, port in (("postgres", 5432), ("redis", 6379), ("banner", 25)):
            known(fresh, name, port)
        yield fresh


def known(space: Namespace, name: str, port: int) -> None:
    """Whoever calls a Service learns a moment later that its pod is ready: a connection then stays open."""
    words = ("python3", "-c", STAYS, name, str(port))
    until(f"{name} is known", lambda: space.try_in_pod("client", *words).status == 0, 20, 0.2)


@pytest.fixture(scope="module")
def space(
    mesh: Mesh, namespaces: Callable[..., Namespace], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Namespace]:
    """The workloads of protocols.yaml and a pod to ask from."""
    folder = tmp_path_factory.mktemp("tls")
    Authority(folder, "ca").issue("tls", "tls", "tls")
    pem = {name: json.dumps((folder / f"tls.{name}").read_text()) for name in ("crt", "key")}
    with namespaces("protocols", ENABLED) as fresh:
        fresh.apply("protocols.yaml", certificate=pem["crt"], key=pem["key"])
        client = {"name": "client", "image": "$apps_image", "command": ["sleep", "infinity"]}
        spec = {"terminationGracePeriodSeconds": 0, "containers": [client]}
        fresh.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec}))
        for name in ("Deployment/echo", "StatefulSet/ordinal", "Pod/tls", "Pod/client"):
            fresh.wait_for(name)
        mesh.live("echo", fresh.name)
        yield fresh


def asked(space: Namespace, host: str, port: int = 80, pod: str = "client", **fields: str) -> dict[str, Any]:
    """Status, fields and body of a GET from a pod."""
    words = ("python3", "-c", HEAD, host, str(port), json.dumps(fields))
    found: dict[str, Any] = json.loads(space.run_in_pod(pod, *words))
    return found


def routed(answer: dict[str, Any]) -> bool:
    assert answer["status"] == 200, answer
    return bool(answer["fields"].get("x-routed") == "yes")


# ── not HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_postgres_works_unchanged(stores: Namespace) -> None:
    statement = "create temporary table t as select generate_series(1, 1000) as n; select sum(n) from t"
    words = ("psql", "--host=postgres", "--username=postgres", "--quiet", "--tuples-only", "--no-align", "--command")
    assert stores.run_in_pod("client", *words, statement).strip() == "500500"


def test_redis_works_unchanged(stores: Namespace) -> None:
    assert stores.run_in_pod("client", "redis-cli", "-h", "redis", "set", "key", "value").strip() == "OK"
    assert stores.run_in_pod("client", "redis-cli", "-h", "redis", "get", "key").strip() == "value"


def test_a_server_that_speaks_first_is_heard(stores: Namespace) -> None:
    said = stores.run_in_pod("client", "python3", "-c", SPEAK).splitlines()
    assert said == ["220 banner ready", "250 hello", "221 bye"]


def test_a_client_that_waits_before_it_sends_get_is_still_http(space: Namespace) -> None:
    answer = space.run_in_pod("client", "python3", "-c", HESITATE)
    assert answer.startswith("HTTP/1.1 200 ")
    assert "x-routed: yes" in answer.lower()


def test_tls_of_the_application_is_passed_on_as_it_is(space: Namespace) -> None:
    told = json.loads(space.run_in_pod("client", "python3", "-c", SECURE))
    assert told["tls"] == "TLSv1.3"
    assert not [name for name, _ in told["headers"] if name.lower() == "x-request-id"], "nobody has looked into it"


# ── every kind of Service ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["echo", "echo.$namespace", "echo.$namespace.svc.cluster.local"])
def test_a_service_by_any_of_its_names(space: Namespace, name: str) -> None:
    assert routed(asked(space, name.replace("$namespace", space.name)))


def test_a_service_by_its_addresses_of_both_families(space: Namespace) -> None:
    addresses = space.get("Service/echo")["spec"]["clusterIPs"]
    assert {ipaddress.ip_address(each).version for each in addresses} in ({4, 6}, {4}), addresses
    for address in addresses:
        assert routed(asked(space, address)), address


def test_a_pod_of_a_statefulset_is_reached_and_no_other(space: Namespace) -> None:
    for number in (0, 1):
        for _ in range(5):
            told = json.loads(asked(space, f"ordinal-{number}.ordinal", 8080)["body"])
            assert told["pod"] == f"ordinal-{number}"


def test_a_pod_by_its_address(space: Namespace) -> None:
    for pod in space.pods("app=echo"):
        told = json.loads(asked(space, pod["status"]["podIP"], 8080)["body"])
        assert told["pod"] == pod["metadata"]["name"]


def test_an_external_name_is_followed(space: Namespace) -> None:
    answer = asked(space, "elsewhere", Host=f"echo.{space}")
    assert answer["status"] == 200, answer
    answer = asked(space, "elsewhere")
    assert answer["status"] == 200, answer


def test_a_load_balancers_address_leads_to_the_same_routes(space: Namespace) -> None:
    service = space.wait_for("Service/echo", lambda seen: (seen["status"].get("loadBalancer") or {}).get("ingress"))
    for ingress in service["status"]["loadBalancer"]["ingress"]:
        assert routed(asked(space, ingress["ip"])), ingress


def test_a_pod_calls_its_own_service_and_itself(space: Namespace) -> None:
    pod = space.pods("app=echo")[0]
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    seen = set()
    for _ in range(12):
        answer = asked(space, "echo", pod=name)
        assert routed(answer)
        seen.add(json.loads(answer["body"])["pod"])
    assert seen == {each["metadata"]["name"] for each in space.pods("app=echo")}
    for host in (address, "127.0.0.1"):
        assert json.loads(asked(space, host, 8080, pod=name)["body"])["pod"] == name


# ── every way in from outside ─────────────────────────────────────────────────────────────────────────────────────────


def outside(host: str, port: int) -> str:
    """Which pod answers this machine, which is no part of the mesh."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/")
        return str(json.loads(connection.getresponse().read())["pod"])
    finally:
        connection.close()


def test_node_ports_and_load_balancers_lead_in(cluster: Cluster, space: Namespace) -> None:
    service = space.wait_for("Service/echo", lambda seen: (seen["status"].get("loadBalancer") or {}).get("ingress"))
    pods = {pod["metadata"]["name"] for pod in space.pods("app=echo")}
    for node in cluster.nodes:
        assert outside(node.address, service["spec"]["ports"][0]["nodePort"]) in pods
    for ingress in service["status"]["loadBalancer"]["ingress"]:
        assert outside(ingress["ip"], 80) in pods


def test_port_forward_leads_in(cluster: Cluster, space: Namespace) -> None:
    pod = space.pods("app=echo")[0]["metadata"]["name"]
    command = [cluster.bin / "kubectl", f"--kubeconfig={cluster.kubeconfig}", "port-forward", "-n", space.name]
    with subprocess.Popen([*command, f"pod/{pod}", ":8080"], stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            assert forwarding.stdout is not None
            line = forwarding.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 8080
            assert outside("127.0.0.1", int(line.split("127.0.0.1:")[1].split()[0])) == pod
        finally:
            forwarding.terminate()


def test_probes_of_every_kind_reach_the_application(space: Namespace) -> None:
    for pod in space.pods("app=echo"):
        (status,) = pod["status"]["containerStatuses"]
        assert (status["started"], status["ready"], status["restartCount"]) == (True, True, 0)


def test_a_tcp_probe_is_about_the_application_and_not_about_its_proxy(space: Namespace) -> None:
    """The proxy takes every connection, so that the kubelet has to ask it about the application."""
    probed = {"name": "deaf", "image": "$apps_image", "command": ["sleep", "infinity"]}
    probed |= {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}  # type: ignore[dict-item]
    spec = {"terminationGracePeriodSeconds": 0, "containers": [probed]}
    space.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "deaf"}, "spec": spec}))

    def refused(seen: Any) -> bool:
        """Asked, as an event says, and not believed."""
        events = space.objects.list("Event", space.name, field_selector="involvedObject.name=deaf,reason=Unhealthy")
        of_it = any("spec.containers{deaf}" in each["involvedObject"].get("fieldPath", "") for each in events)
        return of_it and not status(seen, "deaf")["ready"]

    space.wait_for("Pod/deaf", refused)
    serve = "python3 -m http.server 8080 --bind :: --directory /tmp >/dev/null 2>&1 &"
    space.run_in_pod("deaf", "sh", "-c", serve)
    space.wait_for("Pod/deaf")
    space.delete("Pod/deaf")


# ── what no Service owns ──────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def elsewhere(cluster: Cluster) -> Iterator[int]:
    """A server on this machine, which no Service owns."""
    with serving(http1.answering(lambda request: http1.response(200, b"outside")), cluster.host) as port:
        yield port


def test_an_address_that_no_service_owns_passes_through(cluster: Cluster, space: Namespace) -> None:
    with elsewhere(cluster) as port:
        # Where the caller went counts, not what it calls itself.
        for fields in ({}, {"Host": "echo"}):
            answer = asked(space, cluster.host, port, **fields)
            assert (answer["status"], answer["body"]) == (200, "outside")


def test_with_outbound_registry_it_is_refused_and_said_why(mesh: Mesh, cluster: Cluster, space: Namespace) -> None:
    def refused(port: int) -> bool:
        try:
            answer = asked(space, cluster.host, port)
        except BedError as error:
            raise OSError(str(error)) from error
        return "sidewinder" in answer["fields"].get("proxy-status", "") and answer["status"] >= 400

    mesh.install("--set=outbound=Registry")
    try:
        with elsewhere(cluster) as port:
            until("it is refused", lambda: refused(port), 30, 0.5)
            assert routed(asked(space, "echo")), "what a Service owns is served"
            where = f"{cluster.host}:{port}"
            until("the log tells of it", lambda: where in space.logs("client", PROXY), 10, 0.5)  # written in batches
    finally:
        mesh.install()
    with elsewhere(cluster) as port:
        until("it passes again", lambda: not refused(port), 30, 0.5)


def test_nothing_was_restarted(mesh: Mesh, stores: Namespace, space: Namespace) -> None:
    for each in (stores, space):
        for pod in mesh.proxies(each.name):
            again = [found["name"] for found in statuses(pod) if found["restartCount"]]
            assert again == [], pod["metadata"]["name"]
