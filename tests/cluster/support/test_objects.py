"""Manifests with values, and what "ready" means for each kind."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.cluster.support import objects

CONDITIONS = {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Complete", "status": "False"}]}


def test_documents_get_their_values() -> None:
    text = "kind: A\nimage: $apps_image\ncost: $$5\n---\n---\nkind: B\n"
    assert objects.parse(text, {"apps_image": "x:1"}) == [{"kind": "A", "image": "x:1", "cost": "$5"}, {"kind": "B"}]


def test_a_name_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="node"):
        objects.parse("name: $node", {})


def rollout(generation: int, wanted: int, **status: int) -> dict[str, Any]:
    return {"metadata": {"generation": generation}, "spec": {"replicas": wanted}, "status": status}


@pytest.mark.parametrize(
    ("kind", "seen", "ready"),
    [
        ("Pod", {"status": CONDITIONS}, True),
        ("Job", {"status": CONDITIONS}, False),
        ("Pod", {"status": {}}, False),
        ("Deployment", rollout(2, 2, observedGeneration=2, replicas=2, updatedReplicas=2, readyReplicas=2), True),
        ("Deployment", rollout(3, 2, observedGeneration=2, replicas=2, updatedReplicas=2, readyReplicas=2), False),
        ("Deployment", rollout(2, 2, observedGeneration=2, replicas=3, updatedReplicas=2, readyReplicas=2), False),
        ("StatefulSet", rollout(1, 0, observedGeneration=1), True),
    ],
)
def test_ready(kind: str, seen: dict[str, Any], ready: bool) -> None:
    assert bool(objects.READY[kind](seen)) is ready


@pytest.mark.parametrize("path", sorted(objects.MANIFESTS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_manifest_is_yaml_whose_images_are_of_the_catalog(path: Any) -> None:
    text = path.read_text()
    names = set(re.findall(r"\$\{?(\w+)", text))
    documents = objects.parse(text, {name: f"value-of-{name}" for name in names})
    assert all({"apiVersion", "kind", "metadata"} <= set(document) for document in documents)
    assert all(image in ("$apps_image", "$stores_image") for image in re.findall(r"image: ([^,}\s]+)", text))
