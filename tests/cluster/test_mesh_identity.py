"""Certificates on the cluster: whom a proxy is, that it stays so, another root under load, and who gets none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed.waiting import BedError, until
from tests.cluster.support.chart import NAMESPACE
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.mesh import ENABLED, PROXY, Mesh
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

SIDEWINDER = Path(sys.executable).with_name("sidewinder")
SHORT = 60  # seconds that a certificate holds: the least that can be set
ROTATION_SECONDS = 420  # kubelets bring a changed ConfigMap within a minute or two, twice

MODES = """
import json, os
folder = "/var/lib/sidewinder/identity"
print(json.dumps({name: os.stat(f"{folder}/{name}").st_mode & 0o777 for name in os.listdir(folder)}))
"""


def sidewinder(cluster: Cluster, *words: str, seconds: float = 60) -> str:
    """What the command prints; a status other than 0 is an error."""
    done = subprocess.run(
        [SIDEWINDER, *words], env=cluster.environment(), capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise BedError(f"sidewinder {' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def held(cluster: Cluster, space: Namespace, pod: str) -> dict[str, Any]:
    """What the proxy of a pod holds. Raises OSError while it cannot be asked."""
    try:
        told: dict[str, Any] = json.loads(sidewinder(cluster, "identity", pod, "-n", space.name, "--output=json"))
    except BedError as error:
        raise OSError(str(error)) from error
    return told


@pytest.fixture
def shop(mesh: Mesh, injected: Namespace) -> Namespace:
    """A backend under a service account of its own."""
    injected.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "backend"}})
    injected.apply("shop.yaml", retry="{attempts: 2, conditions: [ConnectFailure, ResetBeforeRequest]}")
    words = ("patch", "deployment", "backend", "-n", injected, "-p")
    injected.cluster.kubectl(*words, json.dumps({"spec": {"template": {"spec": {"serviceAccountName": "backend"}}}}))
    injected.wait_for("Deployment/backend")
    mesh.live("backend", injected.name)
    return injected


def pod_of(space: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = space.pods("app=backend")[0]
    return found


def test_a_certificate_names_the_service_account_and_the_pod(cluster: Cluster, shop: Namespace) -> None:
    pod = pod_of(shop)
    certificate = held(cluster, shop, pod["metadata"]["name"])["certificate"]
    assert certificate["spiffe_id"] == f"spiffe://cluster.local/ns/{shop}/sa/backend"
    assert certificate["pod_uid"] == pod["metadata"]["uid"]
    shown = sidewinder(cluster, "identity", pod["metadata"]["name"], "-n", shop.name)
    assert certificate["spiffe_id"] in shown
    assert "PRIVATE" not in shown


def test_the_key_is_its_owners_alone_and_in_no_log(cluster: Cluster, shop: Namespace) -> None:
    pod = pod_of(shop)
    name = pod["metadata"]["name"]
    modes = json.loads(shop.run_in_pod(name, "python3", "-c", MODES, container=PROXY))
    assert modes["key.pem"] == 0o600
    assert set(modes) >= {"key.pem", "certificate.pem", "bundle.pem"}
    reading = "print(open('/var/run/secrets/sidewinder/token').read())"  # there is no cat in the image
    token = shop.run_in_pod(name, "python3", "-c", reading, container=PROXY)
    said = shop.logs(name, PROXY) + "".join(
        cluster.kubectl("logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator", "--tail=-1")
    )
    assert token.strip() not in said
    assert "PRIVATE KEY" not in said


def test_a_short_certificate_is_renewed_under_load(mesh: Mesh, cluster: Cluster, shop: Namespace) -> None:
    """At half of its life, long before it ends; no request notices."""
    mesh.install(f"--set=certificateSeconds={SHORT}")
    try:
        cluster.kubectl("rollout", "restart", "deployment/backend", "-n", shop)
        shop.wait_for("Deployment/backend", seconds=120)
        name = pod_of(shop)["metadata"]["name"]
        with Load(shop, "load", {"url": "http://backend/", "rate": 50, "concurrency": 4}, {}) as load:
            serials: list[str] = []

            def renewed() -> bool:
                told = held(cluster, shop, name)
                assert told["usable"], told
                if (serial := told["certificate"]["serial"]) not in serials:
                    serials.append(serial)
                return len(serials) == 2

            until("it has been renewed", renewed, SHORT * 1.5, 1)
        assert load.result is not None
        load.result.assert_no_failures()
    finally:
        mesh.install()
    mesh.live("backend", shop.name)


def test_another_root_costs_no_request(mesh: Mesh, cluster: Cluster, shop: Namespace) -> None:
    name = pod_of(shop)["metadata"]["name"]
    (before,) = held(cluster, shop, name)["roots"]
    with Load(shop, "load", {"url": "http://backend/", "rate": 50, "concurrency": 4}, {}) as load:
        said = sidewinder(cluster, "rotate-root", f"--timeout={ROTATION_SECONDS}", seconds=ROTATION_SECONDS + 30)
        print(said)
        certificate = held(cluster, shop, name)["certificate"]
    assert load.result is not None
    load.result.assert_no_failures()

    def one_other_root() -> bool:
        roots = held(cluster, shop, name)["roots"]
        return [each["sha256"] for each in roots] != [before["sha256"]] and len(roots) == 1

    until("the old root is forgotten", one_other_root, 150, 1)
    assert held(cluster, shop, name)["certificate"]["serial"] == certificate["serial"], "the new root has signed it"
    cluster.kubectl("rollout", "restart", "deployment/backend", "-n", shop)  # webhooks and enrolment trust it, too
    shop.wait_for("Deployment/backend", seconds=120)
    mesh.live("backend", shop.name)


@pytest.mark.parametrize("level", ["restricted", "baseline"])
def test_a_namespace_that_forbids_the_redirect_is_told_what_to_do(mesh: Mesh, namespaces: Any, level: str) -> None:
    with namespaces(level, {**ENABLED, "pod-security.kubernetes.io/enforce": level}) as strict:
        security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        container = {"name": "web", "image": "none"}
        container |= {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
        spec = {"securityContext": security, "containers": [container]}
        words = ("create", "--dry-run=server", "-n", strict.name, "-f", "-")
        pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}

        def told() -> bool:
            """The operator learns of a namespace's labels with a delay."""
            with pytest.raises(BedError) as refused:
                mesh.cluster.kubectl(*words, text=json.dumps(pod))
            return f"enforces Pod Security {level}" in str(refused.value)

        until("the refusal says why", told, 10, 0.2)
        with pytest.raises(BedError, match=re.escape("pod-security.kubernetes.io/enforce to privileged")):
            mesh.cluster.kubectl(*words, text=json.dumps(pod))
        out = {**pod, "metadata": {"name": "web", "labels": {"sidewinder.dev/inject": "disabled"}}}
        assert "created" in mesh.cluster.kubectl(*words, text=json.dumps(out)), "without a proxy it is admitted"
