"""Names of namespaces, and values that manifests ask for."""

from __future__ import annotations

import re

import pytest

from tests.cluster.support.namespace import _Values, name_for


@pytest.mark.parametrize(
    ("test", "begin"),
    [
        ("test_a_pod_is_ready", "a-pod-is-ready-"),
        ("test_it[by-Service]", "it-by-service-"),
        ("test_" + "very_" * 30 + "long", "very-very-"),
    ],
)
def test_a_name_is_one_that_kubernetes_takes(test: str, begin: str) -> None:
    name = name_for(test)
    assert name.startswith(begin)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])", name)
    assert len(name) <= 43  # room for a Service's name in one DNS label beside it
    assert name != name_for(test)


def test_an_image_is_built_when_it_is_named() -> None:
    asked: list[str] = []

    def images(name: str) -> str:
        asked.append(name)
        return f"r.test/{name}:1"

    values = _Values(images, {"node": "n1"})
    assert (values["node"], asked) == ("n1", [])
    assert (values["apps_image"], asked) == ("r.test/apps:1", ["apps"])
    with pytest.raises(KeyError, match="nobody gave that a value"):
        values["port"]
