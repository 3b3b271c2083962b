"""Another root for the mesh while requests are sent: `sidewinder rotate-root`, from the first stage to the last."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sidewinder_operator.authority.root import fingerprint
from tests.cluster.support.chart import NAMESPACE
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.mesh import Mesh, proxy_of
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.traffic import Load

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
SECONDS = 420.0  # kubelets bring a ConfigMap within a minute and a half, twice; sidecars renew within one


def secret(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "secret", "sidewinder-ca", "-n", NAMESPACE, "-o", "json"))
    return found


def signing(cluster: Cluster) -> str:
    text = base64.b64decode(secret(cluster)["data"]["ca.crt"])
    return fingerprint(x509.load_pem_x509_certificate(text))


def rotate(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """The command, as a person calls it."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("operator/src", "sidecar/src"))
    command = [sys.executable, "-m", "sidewinder_operator.cli.main", "rotate-root", *words]
    environment = cluster.environment() | {"PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS + 60, check=False)


@contextmanager
def hurried(cluster: Cluster, space: Namespace) -> Iterator[None]:
    """A pod that changes is looked at by its kubelet at once, and gets the ConfigMap of now."""
    over = threading.Event()

    def hurry() -> None:
        number = 0
        while not over.wait(10):
            number += 1
            cluster.kubectl("annotate", "pods", "--all", "-n", str(space), "--overwrite", f"test/look={number}")

    thread = threading.Thread(target=hurry)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_root_is_rotated_and_no_request_fails(mesh: Mesh, cluster: Cluster, injected: Namespace) -> None:
    injected.apply("shop.yaml", retry="{attempts: 1, conditions: [ConnectFailure]}")
    injected.wait_for("Deployment/backend")
    mesh.live("backend", injected.name)
    before = signing(cluster)
    said = rotate(cluster, "--status").stdout
    assert f"signing: {before}" in said
    assert "no rotation was asked for" in said or "3 of 3" in said
    job = {"url": "http://backend/", "rate": 50, "concurrency": 4}
    with Load(injected, "load", job, {}) as running, hurried(cluster, injected):
        done = rotate(cluster, f"--timeout={SECONDS:g}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in ("1 of 3", "2 of 3", "3 of 3") if line not in done.stdout] == []
    assert running.result is not None
    running.result.assert_no_failures()
    after = signing(cluster)
    assert after != before
    assert secret(cluster)["data"].keys() == {"ca.crt", "ca.key"}
    bundle = cluster.kubectl("get", "configmap", "sidewinder-trust", "-n", str(injected), "-o", "jsonpath={.data}")
    assert bundle.count("BEGIN CERTIFICATE") == 1
    for pod in mesh.items("pods", namespace=injected.name):
        assert proxy_of(pod) is None or all(
            each["restartCount"] == 0 for each in pod["status"]["initContainerStatuses"]
        )
    mesh.live("backend", injected.name)
