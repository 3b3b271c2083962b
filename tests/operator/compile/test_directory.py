"""Whom an address or a name means."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.directory import Directory, canonical
from sidewinder_operator.mesh import Mesh
from sidewinder_operator.mesh.origin import Origin
from sidewinder_operator.mesh.services import MeshEndpoint, MeshPort, MeshService
from sidewinder_operator.problems import Reference

PEER = MeshEndpoint(uid="u", address="10.0.0.9", port=5433)


def service(
    namespace: str, name: str, *ports: int, headless: bool = False, addresses: tuple[str, ...] = ()
) -> MeshService:
    return MeshService(
        namespace=namespace,
        name=name,
        ports=tuple(MeshPort(name=f"{namespace}/{name}:{n}", port=n, endpoints=(PEER,)) for n in ports),
        addresses=addresses,
        headless=headless,
        origin=Origin(Reference("Service", namespace, name)),
    )


MESH = Mesh(
    services={
        f"{each.namespace}/{each.name}": each
        for each in (
            service("shop", "web", 80, 81, addresses=("10.96.0.7", "fd00::7")),
            service("data", "db", 5432, headless=True),
            service("data", "again", 5432, headless=True),
        )
    }
)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("10.96.0.7:80", ["shop/web:80"]),
        ("::ffff:10.96.0.7", []),
        ("[::ffff:10.96.0.7]:80", ["shop/web:80"]),
        ("[fd00:0::7]:81", ["shop/web:81"]),
        ("10.96.0.7:82", []),
        ("10.96.0.7", []),
        ("10.0.0.9:5433", ["data/db:5432", "data/again:5432"]),
        ("10.0.0.9:5432", []),
        ("10.0.0.9:80", []),
        ("web", ["shop/web:80", "shop/web:81"]),
        ("web:81", ["shop/web:81"]),
        ("WEB.shop.:81", ["shop/web:81"]),
        ("db.data", ["data/db:5432"]),
        ("db.data.svc:5432", ["data/db:5432"]),
        ("db.data.svc.cluster.local", ["data/db:5432"]),
        ("db", []),
        ("db.data:1", []),
        ("example.com:443", []),
        ("service/data/db:5432", ["data/db:5432"]),
        ("service/data/db:1", []),
        ("service/", []),
        ("", []),
        (":80", []),
        ("a:99999999999999999999", []),
    ],
)
def test_a_key_means_what_a_caller_in_the_shop_would_reach(key: str, found: list[str]) -> None:
    assert list(Directory(MESH).find(key, "shop")) == found


@pytest.mark.parametrize(
    ("text", "same"),
    [("10.0.0.1", "10.0.0.1"), ("FD00:0::1", "fd00::1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("None", None)],
)
def test_an_address_is_written_in_one_way(text: str, same: str | None) -> None:
    assert canonical(text) == same
