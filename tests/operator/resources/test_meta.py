"""meta: keys and references of namespaced and cluster-scoped kinds."""

from __future__ import annotations

from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.core import Namespace, Service
from sidewinder_operator.resources.meta import ObjectMeta


def test_keys_and_references() -> None:
    service = Service(metadata=ObjectMeta(name="a", namespace="shop"))
    assert (service.key, service.reference) == (("shop", "a"), Reference("Service", "shop", "a"))
    assert Service(metadata=ObjectMeta(name="a")).key == ("default", "a")
    namespace = Namespace(metadata=ObjectMeta(name="shop", namespace="ignored"))
    assert (namespace.key, namespace.reference) == (("", "shop"), Reference("Namespace", "", "shop"))
