"""The chart on a real API server: taken whole, its policies hold, and its webhooks call an admission server of this
process: pods come back injected, and certificates rotate while they do.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml

from sidewinder_operator.admission.replica import Replica
from sidewinder_operator.admission.validate import against
from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority import webhooks as authority
from sidewinder_operator.cli.check import check
from sidewinder_operator.cli.findings import Place
from sidewinder_operator.cli.kubectl import Kubectl
from sidewinder_operator.compile.compiler import Options as Compiling
from sidewinder_operator.inject.options import Options
from sidewinder_operator.resources import Cluster as Objects
from tests.cluster.bed.waiting import BedError, run, until
from tests.cluster.support.chart import CHART, NAMESPACE, render
from tests.cluster.support.cluster import Cluster

pytestmark = [
    pytest.mark.cluster,
    # The API server keeps its connections to a webhook, and the server under test ends with its loop: uvloop warns of
    # the one that is still saying goodbye, in the server's thread, which the warning would end.
    pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning"),
]

HOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "web", "image": "none"}], "initContainers": [{"name": "first", "image": "none"}]},
}


@pytest.fixture(scope="module")
def chart(cluster: Cluster) -> Iterator[list[dict[str, Any]]]:
    """The render, applied as `helm template | kubectl apply` does, without pods and without the webhooks."""
    documents = [each for each in yaml.safe_load_all(render("--skip-tests", "--set", "operator.replicas=1")) if each]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    rest = [each for each in documents if each["kind"] not in (*HOOKS, "Deployment")]
    crds = [each for each in rest if each["kind"] == "CustomResourceDefinition"]
    try:
        cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all([space, *crds]))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "-l", "app.kubernetes.io/part-of=sidewinder")
        cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(rest))
        yield documents
    finally:
        cluster.kubectl("delete", "--ignore-not-found", "--timeout=60s", "-f", "-", text=yaml.safe_dump_all(documents))
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")


@pytest.fixture
def shop(cluster: Cluster, chart: object) -> Iterator[str]:
    name = "shop-of-install"
    labels = {"sidewinder.dev/inject": "enabled"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("apply", "-f", "-", text=json.dumps(space))
    try:
        cluster.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=30s")
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--timeout=60s")


def test_helm_install_is_taken_by_the_api_server(cluster: Cluster, tmp_path: Path) -> None:
    own = [f"HELM_{name}_HOME={tmp_path / name.lower()}" for name in ("CACHE", "CONFIG", "DATA")]
    helm = ["env", f"KUBECONFIG={cluster.kubeconfig}", *own, cluster.bin / "helm"]
    words = ["install", "trial", CHART, "--namespace=default", "--dry-run=server"]
    assert "MutatingWebhookConfiguration" in run(*helm, *words)


def test_a_second_apply_changes_nothing(cluster: Cluster, chart: list[dict[str, Any]]) -> None:
    text = yaml.safe_dump_all([each for each in chart if each["kind"] not in (*HOOKS, "Deployment")])

    def versions() -> dict[str, str]:
        found = json.loads(cluster.kubectl("get", "-o", "json", "-f", "-", text=text))["items"]
        return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found}

    before = versions()
    cluster.kubectl("apply", "-f", "-", text=text)
    assert versions() == before


@pytest.mark.parametrize(
    ("verb", "what", "namespace", "expected"),
    [
        ("list", "pods", "", True),
        ("watch", "apiroutes.sidewinder.dev", "", True),
        ("patch", "apiroutes.sidewinder.dev/status", "default", True),
        ("patch", "apiroutes.sidewinder.dev", "default", False),
        ("create", "tokenreviews.authentication.k8s.io", "", True),
        ("get", "secrets/sidewinder-ca", NAMESPACE, True),
        ("watch", "secrets/that-a-policy-names", "default", True),
        ("watch", "configmaps/that-a-policy-names", "default", True),
        ("update", "secrets/that-a-policy-names", "default", False),
        ("delete", "secrets/other", NAMESPACE, False),
        ("patch", "configmaps/sidewinder-trust", "default", True),
        ("patch", "configmaps/other", "default", False),
        ("update", "leases.coordination.k8s.io/sidewinder-operator", NAMESPACE, True),
        ("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io/sidewinder-injection", "", True),
        ("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io/others", "", False),
        ("delete", "pods", "default", False),
    ],
)
def test_the_operator_may_do_what_it_must_and_no_more(
    cluster: Cluster, chart: object, verb: str, what: str, namespace: str, expected: bool
) -> None:
    resource, _, rest = what.partition("/")
    words = [verb, f"{resource}/{rest}"] if rest and rest != "status" else [verb, resource]
    words += ["--subresource=status"] if rest == "status" else []
    who = f"--as=system:serviceaccount:{NAMESPACE}:sidewinder-operator"
    try:
        said = cluster.kubectl("auth", "can-i", *words, *([f"-n={namespace}"] if namespace else []), who)
    except BedError as no:
        said = str(no)
    assert ("yes" in said.splitlines()[-1]) is expected, said


SECURED: dict[str, Any] = {
    "apiVersion": "sidewinder.dev/v1alpha1",
    "kind": "ApiPolicy",
    "metadata": {"name": "secured"},
    "spec": {
        "targetRefs": [{"kind": "Namespace"}],
        "loadBalancing": {"type": "RoundRobin"},
        "authorization": {"defaultAction": "Deny"},
    },
}


@pytest.fixture
def sections(cluster: Cluster, chart: object) -> Iterator[None]:
    """The CRD as it will be when the section exists: the policy is older than what it guards."""
    place = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/authorization"
    open_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    known = "/openapi/v3/apis/sidewinder.dev/v1alpha1"

    def patch(operation: dict[str, Any]) -> None:
        cluster.kubectl("patch", "crd", "apipolicies.sidewinder.dev", "--type=json", "-p", json.dumps([operation]))

    def served() -> bool:
        return '"authorization"' in cluster.kubectl("get", "--raw", known)

    before = served()
    if not before:
        patch({"op": "add", "path": place, "value": open_})
        until("the API server knows the section", served, 30)
    try:
        yield
    finally:
        if not before:
            patch({"op": "remove", "path": place})


def test_security_sections_ask_for_a_right_of_their_own(cluster: Cluster, shop: str, sections: None) -> None:
    for name, role in (("editor", "edit"), ("owner", "admin")):
        cluster.kubectl("create", "rolebinding", name, f"--clusterrole={role}", f"--user={name}", "-n", shop)

    def apply(user: str, **changes: Any) -> str:
        spec = {name: value for name, value in {**SECURED["spec"], **changes}.items() if value is not None}
        text = json.dumps({**SECURED, "spec": spec})
        try:
            return cluster.kubectl("apply", "-n", shop, f"--as={user}", "-f", "-", text=text)
        except BedError as no:
            return str(no)

    def refused(said: str) -> bool:
        return "you need the verb update on apipolicies/security" in said

    def policies() -> bool:
        return refused(apply("editor"))

    until("the policy is in force, and roles are aggregated", policies, 30, 0.2)
    assert "created" in apply("editor", authorization=None), "who may edit may have other sections"
    assert refused(apply("editor"))
    assert "configured" in apply("owner")
    assert refused(apply("editor", authorization={"defaultAction": "Allow"}))
    assert refused(apply("editor", targetRefs=[{"kind": "Service", "name": "x"}])), "another target is another scope"
    with pytest.raises(BedError, match="apipolicies/security"):
        cluster.kubectl("delete", "apipolicy", "secured", "-n", shop, "--as=editor")
    # The namespace's end takes it along all the same: the fixture waits for that.


class Server:
    """An operator's admission part in this process: server, certificate and publication."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        config = json.loads(cluster.kubeconfig.read_text())
        (folder / "token").write_text(config["users"][0]["user"]["token"])
        ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
        (folder / "ca.crt").write_bytes(ca)
        self.cluster, self.folder = cluster, folder
        self.address = config["clusters"][0]["cluster"]["server"]
        self.labels: dict[str, dict[str, str]] = {}
        self.trust = roots.Trust(roots.create("cluster.local", dt.datetime.now(dt.UTC)))
        self.replica: Replica | None = None
        self.end = threading.Event()

    async def serve(self) -> None:
        api = ApiServer(self.address, token_file=self.folder / "token", authority=self.folder / "ca.crt")
        self.replica = Replica(
            Options(image="example.org/sidecar:1"), (self.cluster.host,), api, lambda: self.trust, lambda: True,
            lambda namespace: self.labels.get(namespace, {}), lambda found: against(Objects(), found, Compiling()),
            look_seconds=0.2,
        )  # fmt: skip
        tasks = [
            asyncio.create_task(self.replica.run(self.cluster.host, 0)),
            asyncio.create_task(self.replica.publish()),
        ]
        await asyncio.to_thread(self.end.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await api.close()

    @property
    def port(self) -> int:
        assert self.replica is not None
        return self.replica.admission.address[1]

    @property
    def renewals(self) -> int:
        assert self.replica is not None
        return self.replica.webhooks.renewals

    @contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=lambda: uvloop.run(self.serve()), daemon=True)
        thread.start()
        try:
            until("the admission port is open", lambda: self.replica is not None and self.port > 0, 20, 0.01)
            yield self
        finally:
            self.end.set()
            thread.join(20)


@pytest.fixture
def server(cluster: Cluster, chart: list[dict[str, Any]], tmp_path: Path) -> Iterator[Server]:
    """The chart's webhooks, reached by URL; everything else of them as it is rendered."""
    with Server(cluster, tmp_path).running() as found:
        hooks = [json.loads(json.dumps(each)) for each in chart if each["kind"] in HOOKS]
        for each in hooks:
            (hook,) = each["webhooks"]
            path = hook["clientConfig"].pop("service")["path"]
            hook["clientConfig"]["url"] = f"https://{cluster.host}:{found.port}{path}"
        cluster.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(hooks))
        try:
            yield found
        finally:
            cluster.kubectl("delete", "-f", "-", text=yaml.safe_dump_all(hooks))


@pytest.fixture
def made(cluster: Cluster, shop: str, server: Server) -> Callable[..., dict[str, Any]]:
    """What the API server would make of a pod, once the webhooks are trusted."""

    def dry(pod: dict[str, Any], namespace: str = shop) -> dict[str, Any]:
        words = ("create", "--dry-run=server", "-o", "json", "-n", namespace, "-f", "-")
        found: dict[str, Any] = json.loads(cluster.kubectl(*words, text=json.dumps(pod)))
        return found

    def injects() -> bool:
        try:
            return len(dry(POD)["spec"]["initContainers"]) == 3
        except BedError as error:  # until the trust is published and known
            raise OSError(str(error)) from error

    until("pods are injected", injects, 30, 0.2)
    return dry


def changed(**spec: Any) -> dict[str, Any]:
    return {**POD, "spec": {**POD["spec"], **spec}}


def test_pods_are_injected_by_the_real_api_server(
    cluster: Cluster, shop: str, server: Server, made: Callable[..., dict[str, Any]]
) -> None:
    pod = made(POD)
    names = [each["name"] for each in pod["spec"]["initContainers"]]
    assert names == ["sidewinder-capture", "sidewinder-proxy", "first"]
    assert pod["spec"]["initContainers"][1]["restartPolicy"] == "Always"
    assert pod["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]["port"] == 15021
    again = made({**POD, "metadata": {**POD["metadata"], **_kept(pod)}, "spec": pod["spec"]})
    assert [each["name"] for each in again["spec"]["initContainers"]] == names, "a second round adds nothing"

    off = {**POD, "metadata": {"name": "web", "labels": {"sidewinder.dev/inject": "disabled"}}}
    assert [each["name"] for each in made(off)["spec"]["initContainers"]] == ["first"]
    assert [each["name"] for each in made(changed(hostNetwork=True))["spec"]["initContainers"]] == ["first"]
    assert [each["name"] for each in made(POD, "default")["spec"]["initContainers"]] == ["first"]

    with pytest.raises(BedError, match="runAsUser: 65533 is the proxy's own user id"):
        made(changed(securityContext={"runAsUser": 65533}))
    with pytest.raises(BedError, match=r"did you mean sidewinder\.dev/log-level"):
        made({**POD, "metadata": {"name": "web", "annotations": {"sidewinder.dev/loglevel": "debug"}}})
    server.labels[shop] = {"pod-security.kubernetes.io/enforce": "restricted"}
    with pytest.raises(BedError, match="enforces Pod Security restricted"):
        made(POD)


def _kept(pod: dict[str, Any]) -> dict[str, Any]:
    return {"annotations": pod["metadata"]["annotations"]}


def test_routes_are_validated_and_warned_of(cluster: Cluster, shop: str, made: Callable[..., dict[str, Any]]) -> None:
    rule: dict[str, Any] = {"name": "all", "backendRefs": [{"name": "reviews", "port": 80}]}
    spec = {"parentRefs": [{"kind": "Service", "name": "reviews"}], "rules": [rule]}
    route = {"apiVersion": "sidewinder.dev/v1alpha1", "kind": "ApiRoute", "metadata": {"name": "reviews"}, "spec": spec}
    words = ["--kubeconfig", cluster.kubeconfig, "create", "--dry-run=server", "-n", shop, "-f", "-"]
    told = run("sh", "-c", '"$0" "$@" 2>&1', cluster.bin / "kubectl", *words, text=json.dumps(route))
    assert "Warning: sidewinder: spec.parentRefs" in told or "Warning: sidewinder: spec.rules" in told, told


def test_a_root_rotates_while_pods_are_made(
    cluster: Cluster, server: Server, made: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidewinder_operator.authority.serving.SETTLE_SECONDS", 2.0)
    monkeypatch.setattr("sidewinder_operator.authority.serving.OVERLAP_SECONDS", 5.0)
    old, new = server.trust.signing, roots.create("cluster.local", dt.datetime.now(dt.UTC))

    def trusted() -> set[str]:
        """What the webhooks trust; each look makes a pod, which must succeed."""
        assert len(made(POD)["spec"]["initContainers"]) == 3
        found = json.loads(cluster.kubectl("get", "--raw", authority.CONFIGURATIONS[0]))
        return {roots.fingerprint(each) for each in authority.trusted(found)["pods.injection.sidewinder.dev"]}

    both = {roots.fingerprint(old.certificate), roots.fingerprint(new.certificate)}
    server.trust = roots.announce(server.trust, new)
    until("both roots are trusted", lambda: trusted() == both, 30, 0.05)
    server.trust = roots.switch(server.trust)
    until("the certificate is the new root's", lambda: bool(trusted()) and server.renewals == 2, 30, 0.05)
    server.trust = roots.forget(server.trust)
    until("the old root is forgotten", lambda: trusted() == both - {roots.fingerprint(old.certificate)}, 30, 0.05)
    assert len(made(POD)["spec"]["initContainers"]) == 3


def test_the_command_looks_at_a_real_cluster(
    cluster: Cluster, shop: str, made: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cluster.environment().items():
        monkeypatch.setenv(name, value)
    now = dt.datetime.now(dt.UTC)
    before = check(Kubectl(), Place(namespace="elsewhere", now=now, version="0.1.0"))
    assert [each.message for each in before if each.level != "ok"] == []
    assert "it is not installed in elsewhere yet" in before[0].message
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "sidewinder-operator", "labels": {"app.kubernetes.io/version": "0.1.0"}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}},
                 "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]}},
    }  # fmt: skip
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", text=json.dumps(deployment))
    later = Place(namespace=NAMESPACE, now=dt.datetime.now(dt.UTC), version="0.1.0")
    found = check(Kubectl(), later)
    errors = {(each.about, each.message) for each in found if each.level == "error"}
    assert errors == {
        ("leader", "nobody leads: statuses and trust bundles stand still"),
        ("CA", "the Secret sidewinder-ca is missing"),
        ("trust", f"{NAMESPACE} has no ConfigMap sidewinder-trust"),
    }, found
    good = {each.about for each in found if each.level == "ok"}
    assert {"Kubernetes", "clock", "CRDs", "validation", "webhooks", f"namespace {shop}"} <= good
