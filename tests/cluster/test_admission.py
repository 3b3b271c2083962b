"""What the API server checks and changes before it keeps an object."""

from __future__ import annotations

import base64
import functools
import json
import secrets
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.dynamic.exceptions import DynamicApiError

from tests.cluster.apps import http1, webhook
from tests.cluster.bed.certificates import Authority
from tests.cluster.bed.waiting import until
from tests.cluster.support.background import serving
from tests.cluster.support.cluster import Cluster
from tests.cluster.support.namespace import Namespace
from tests.cluster.support.objects import Objects

pytestmark = pytest.mark.cluster

ENFORCED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def strict(namespaces: Callable[..., Namespace]) -> Iterator[Namespace]:
    with namespaces("strict", ENFORCED) as fresh:
        yield fresh


def test_pod_security_restricted_refuses_and_admits(strict: Namespace) -> None:
    with pytest.raises(DynamicApiError, match="violates PodSecurity"):
        strict.apply("sidecar.yaml", events="/var/tmp/unused", node="none")
    strict.apply("strict.yaml")
    strict.wait_for("Pod/strict")


def test_a_projected_token_is_of_its_pod_and_for_its_audience(namespace: Namespace, objects: Objects) -> None:
    namespace.apply("token.yaml")
    pod = namespace.wait_for("Pod/holder")
    token = namespace.run_in_pod("holder", "cat", "/token/token")

    def review(audience: str) -> dict[str, Any]:
        spec = {"token": token, "audiences": [audience]}
        resource = objects.resource("authentication.k8s.io/v1", "TokenReview")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        status: dict[str, Any] = resource.create(body=body).to_dict()["status"]
        return status

    good = review("sidewinder.test")
    assert good["authenticated"] is True
    assert good["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert good["user"]["extra"]["authentication.kubernetes.io/pod-uid"] == [pod["metadata"]["uid"]]
    assert not review("somebody.else").get("authenticated")


def test_a_rule_in_cel_refuses_what_breaks_it(namespace: Namespace, objects: Objects) -> None:
    singular = f"range{secrets.token_hex(3)}"  # kinds are the cluster's, not the namespace's
    kind, plural = singular.capitalize(), f"{singular}s"
    namespace.apply("crd.yaml", kind=kind, plural=plural, singular=singular)
    try:
        namespace.wait_for(f"CustomResourceDefinition/{plural}.sidewinder.test")
        document = {"apiVersion": "sidewinder.test/v1", "kind": kind, "metadata": {"name": "one"}}
        namespace.apply(document | {"spec": {"least": 1, "most": 2}})
        with pytest.raises(DynamicApiError, match="least must not exceed most"):
            namespace.apply(document | {"spec": {"least": 3, "most": 2}})
    finally:
        objects.delete("CustomResourceDefinition", f"{plural}.sidewinder.test", "")


@pytest.fixture
def webhooks(cluster: Cluster, namespace: Namespace, objects: Objects, tmp_path: Path) -> Iterator[None]:
    """One in the cluster, one in this process, one configuration for both."""
    authority = Authority(tmp_path, "ca")
    authority.issue("webhook", "webhook", f"webhook.{namespace}.svc", cluster.host)
    pem = {name: (tmp_path / name).read_text() for name in ("ca.crt", "webhook.crt", "webhook.key")}
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "webhook.crt", tmp_path / "webhook.key")
    answer = http1.answering(functools.partial(webhook.review, mark="by-url"))
    with serving(answer, cluster.host, tls) as port:
        namespace.apply(
            "webhook.yaml",
            certificate=json.dumps(pem["webhook.crt"]),
            key=json.dumps(pem["webhook.key"]),
            bundle=base64.b64encode(pem["ca.crt"].encode()).decode(),
            host=cluster.host,
            port=str(port),
        )
        try:
            namespace.wait_for("Pod/webhook")
            yield
        finally:
            objects.delete("MutatingWebhookConfiguration", namespace.name, "")


@pytest.mark.parametrize("way", ["service", "url"])
def test_a_mutating_webhook_is_reached(namespace: Namespace, webhooks: None, way: str) -> None:
    numbers = iter(range(10_000))

    def marked() -> bool:
        """The API server learns of webhooks with a delay, and of a Service's endpoints with another."""
        metadata = {"name": f"{way}-{next(numbers)}", "labels": {"by": way}}
        try:
            (made,) = namespace.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        except DynamicApiError as error:
            raise OSError(str(error)) from error
        return bool((made["metadata"].get("annotations") or {}).get(webhook.ANNOTATION) == f"by-{way}")

    until(f"an object marked by the webhook by {way}", marked, 20, 0.1)
