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


@pytest.mark.parametrize(
    ("port", "spoken"),
    [
        (MeshPort(name="n", port=1), ""),
        (MeshPort(name="n", port=1, judged=True), "HTTP"),
        (MeshPort(name="n", port=1, producers=("a/b",)), "HTTP"),
        (MeshPort(name="n", port=1, consumers={"other": ("a/b",)}), ""),
        (MeshPort(name="n", port=1, consumers={"shop": ("a/b",)}), "HTTP"),
        (MeshPort(name="n", port=1, protocol="TCP", judged=True, producers=("a/b",)), "TCP"),
    ],
    ids=["nobody says", "a section", "a route", "another's route", "a route of its own", "appProtocol"],
)
def test_only_app_protocol_goes_around_a_policy_for_http(port: MeshPort, spoken: str) -> None:
    assert port.spoken("shop") == spoken
