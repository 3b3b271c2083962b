"""Zero trust on the cluster, with the manifest as it stands: who is let in, who is not, and that kubelets still ask."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration

from tests.cluster.bed.waiting import until
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.mesh import ENABLED, PROXY, Mesh
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.objects import Objects

pytestmark = pytest.mark.cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "zero-trust" / "security.yaml"
SIDEWINDER = Path(sys.executable).with_name("sidewinder")
REVIEWS = "http://reviews:9080"
# Status, why, and who answered, as one line; `url` may name a Service or a pod's address.
ASK = """
import json, sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], method=sys.argv[2])
try:
    answer = urllib.request.urlopen(request, timeout=5)
except urllib.error.HTTPError as refused:
    answer = refused
except OSError as fault:
    print(json.dumps([0, str(fault), ""]))
    raise SystemExit
print(json.dumps([answer.status, answer.headers.get("proxy-status", ""), answer.read().decode()]))
"""


@pytest.fixture(scope="module")
def bookinfo(
    mesh: Mesh, cluster: Cluster, objects: Objects, configuration: Configuration, images: Callable[[str], str]
) -> Iterator[Namespace]:
    """The namespace that the manifest names, with its first policy: `zero-trust`."""
    with Namespace("bookinfo", cluster, objects, configuration, images, ENABLED) as space:
        space.apply("zero_trust.yaml")
        space.wait_for("Deployment/reviews", seconds=120)
        for name in ("productpage", "ratings", "stranger"):
            space.wait_for(f"Pod/{name}")
        until("they can talk", lambda: ask(space, "productpage")[0] == 200, 30, 0.5)
        space.apply(EXAMPLE.read_text().split("\n---\n")[0])
        words = ("wait", "--for=condition=Programmed", "apipolicy/zero-trust", "-n", "bookinfo", "--timeout=30s")
        cluster.kubectl(*words)
        yield space
    objects.wait_gone("Namespace", "bookinfo", "", 60)


def ask(space: Namespace, pod: str, url: str = f"{REVIEWS}/reviews/1", method: str = "GET") -> tuple[int, str, str]:
    """What a pod's application is answered."""
    status, why, body = json.loads(space.run_in_pod(pod, "python3", "-c", ASK, url, method, container="client"))
    return status, why, body


def sidewinder(cluster: Cluster, *words: str) -> tuple[int, Any]:
    """What a command exits with, and what it tells."""
    command = [SIDEWINDER, *words, "--namespace", "bookinfo", "-o", "json"]
    done = subprocess.run(command, env=cluster.environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_page_may_read(bookinfo: Namespace) -> None:
    status, _, body = ask(bookinfo, "productpage")
    assert status == 200
    assert json.loads(body)["target"] == "/reviews/1"


@pytest.mark.parametrize(
    ("pod", "path", "method"),
    [
        ("productpage", "/admin", "GET"),
        ("productpage", "/reviews/1", "POST"),
        ("productpage", "/reviews/%2e%2e/admin", "GET"),
        ("ratings", "/reviews/1", "GET"),
    ],
)
def test_nobody_else_and_nothing_else(bookinfo: Namespace, pod: str, path: str, method: str) -> None:
    status, why, _ = ask(bookinfo, pod, f"{REVIEWS}{path}", method)
    assert status in (400, 403)
    assert "sidewinder; error=" in why
    assert "zero-trust" not in why
    deciding = ("bookinfo/zero-trust", '"error":"bad_path"')
    name = bookinfo.pods("app=reviews")[0]["metadata"]["name"]
    until("it is told", lambda: any(word in bookinfo.logs(name, PROXY) for word in deciding), 10, 0.5)


@pytest.mark.parametrize("by", ["name", "address"])
def test_a_pod_without_a_proxy_is_refused_whoevers_account_it_has(bookinfo: Namespace, by: str) -> None:
    address = bookinfo.pods("app=reviews")[0]["status"]["podIP"]
    url = f"{REVIEWS}/reviews/1" if by == "name" else f"http://{address}:9080/reviews/1"
    status, why, _ = ask(bookinfo, "stranger", url)
    assert (status, "mTLS is required" in why) == (403, True)


def test_a_person_is_told_who_calls_and_how(cluster: Cluster, bookinfo: Namespace) -> None:
    """After the stranger has tried."""
    code, told = sidewinder(cluster, "tls", "reviews")
    assert (code, told["safe"]) == (1, False), told
    callers = {(each["caller"], each["mtls"]): each["breaks"] for each in told["callers"]}
    assert callers["spiffe://cluster.local/ns/bookinfo/sa/productpage", True] is False
    assert True in [breaks for (_, mtls), breaks in callers.items() if not mtls]


@pytest.mark.parametrize(
    ("caller", "action", "rule"), [("productpage", "Allow", "pages-read"), ("ratings", "Deny", "defaultAction")]
)
def test_a_person_is_told_who_may_and_by_which_rule(
    cluster: Cluster, bookinfo: Namespace, caller: str, action: str, rule: str
) -> None:
    words = ("--from", f"bookinfo/{caller}", "--from-ip", "10.0.0.1", "--to", "reviews", "--path", "/reviews/1")
    code, told = sidewinder(cluster, "authz", "check", *words)
    assert [(each["action"], each["rule"]) for each in told["decisions"]] == [(action, rule)]
    assert code == (action == "Deny")


def test_a_port_that_nobody_declared_is_closed_too(bookinfo: Namespace) -> None:
    """15021 is the proxy's own and answers; all else of the pod is behind it."""
    address = bookinfo.pods("app=reviews")[0]["status"]["podIP"]
    assert ask(bookinfo, "stranger", f"http://{address}:9999/")[0] in (0, 403)
    assert ask(bookinfo, "stranger", f"http://{address}:15021/livez")[0] == 200


def test_kubelets_ask_as_ever(bookinfo: Namespace) -> None:
    """Had one probe of a second each been refused, the pod would have been restarted long ago."""
    (pod,) = bookinfo.pods("app=reviews")
    statuses = {each["name"]: each for each in pod["status"]["containerStatuses"]}
    assert (statuses["echo"]["ready"], statuses["echo"]["restartCount"]) == (True, 0)


def test_a_policy_that_goes_lets_them_in_again(cluster: Cluster, bookinfo: Namespace) -> None:
    cluster.kubectl("delete", "apipolicy", "zero-trust", "-n", "bookinfo")
    until("the stranger is let in", lambda: ask(bookinfo, "stranger")[0] == 200, 30, 0.5)
