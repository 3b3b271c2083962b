"""Which routes hold for whom."""

from __future__ import annotations

import pytest

from sidewinder_operator.mesh.services import MeshPort

PORT = MeshPort(name="shop/web:80", port=80, producers=("shop/a", "shop/b"), consumers={"lab": ("lab/mine",)})


@pytest.mark.parametrize(
    ("namespace", "routes"),
    [("shop", PORT.producers), ("lab", ("lab/mine",)), ("other", PORT.producers), ("", PORT.producers)],
    ids=["its own namespace", "a consumer's", "any other", "outside the mesh"],
)
def test_a_consumers_routes_replace_the_producers(namespace: str, routes: tuple[str, ...]) -> None:
    assert PORT.routes(namespace) == routes
