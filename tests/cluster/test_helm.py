"""Charts and images from an OCI registry, as a platform team installs things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.bed.waiting import run
from tests.cluster.images.build import Built
from tests.cluster.images.build import run as build_run
from tests.cluster.images.store import Store
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.objects import MANIFESTS

pytestmark = pytest.mark.cluster

Helm = Callable[..., str]


@pytest.fixture
def helm(cluster: Cluster, tmp_path: Path) -> Helm:
    """Helm with folders of its own, so that it finds and leaves nothing in the user's."""
    own = [f"HELM_{name}_HOME={tmp_path / name.lower()}" for name in ("CACHE", "CONFIG", "DATA")]

    def call(*words: object) -> str:
        return run("env", f"KUBECONFIG={cluster.kubeconfig}", *own, cluster.bin / "helm", *words)

    return call


def push_chart(helm: Helm, registry: str, folder: Path) -> str:
    helm("package", MANIFESTS / "chart", "--destination", folder)
    helm("push", folder / "small-0.1.0.tgz", f"oci://{registry}/charts", "--plain-http")
    return f"oci://{registry}/charts/small"


def test_a_release_lives_from_install_to_uninstall(
    helm: Helm, registry: str, namespace: Namespace, images: Callable[[str], str], tmp_path: Path
) -> None:
    chart = push_chart(helm, registry, tmp_path)
    release = ("shop", chart, "--version=0.1.0", "--plain-http", f"--namespace={namespace}", "--wait", "--timeout=60s")

    def version() -> str:
        (container,) = namespace.get("Deployment/shop")["spec"]["template"]["spec"]["containers"]
        return str(container["env"][0]["value"])

    helm("install", *release, "--set", f"image={images('apps')}")
    assert version() == "v1"
    helm("upgrade", *release, "--reuse-values", "--set", "version=v2")
    assert version() == "v2"
    helm("rollback", "shop", "1", f"--namespace={namespace}", "--wait", "--timeout=60s")
    assert version() == "v1"
    helm("test", "shop", f"--namespace={namespace}", "--timeout=60s")
    helm("uninstall", "shop", f"--namespace={namespace}", "--wait", "--timeout=60s")
    assert namespace.get("Deployment/shop") is None


def test_nodes_pull_an_image_from_the_registry(
    cluster: Cluster, registry: str, namespace: Namespace, built: Callable[[str], Built]
) -> None:
    reference = built("apps").reference
    build_run(Store.here().push(reference, registry))
    # Another image, by a label: a kubelet that pulled an image once asks for the right to use it under any other name,
    # and would then try to pull what was only imported.
    image, original = f"{registry}/pulled:1", f"{registry}/{reference.partition('/')[2]}"
    run(cluster.bin / "crane", "mutate", "--insecure", original, "--label=pulled=1", f"--tag={image}")
    container = {"name": "echo", "image": image, "imagePullPolicy": "Always"}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pulled"}, "spec": spec})
    pod = namespace.wait_for("Pod/pulled")
    assert pod["status"]["containerStatuses"][0]["image"] == image
