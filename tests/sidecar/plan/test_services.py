"""Which service an authority means."""

from __future__ import annotations

import pytest

from sidewinder_sidecar.plan.services import Service, Table, split
from sidewinder_sidecar.snapshot.services import ServiceSpec


def table(*specs):
    made = Table(tuple(Service(spec, (), None) for spec in specs))
    list(made.compile())
    return made


def spec(name, port, *domains, **options):
    return ServiceSpec(name=name, namespace="shop", port=port, domains=domains, **options)


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        (b"reviews:9080", "reviews"),
        (b"reviews.shop:9080", "reviews"),
        (b"reviews", "web"),
        (b"reviews:80", "web"),
        (b"reviews:8080", None),
        (b"reviews.:9080", "reviews"),
        (b"way.localhost", "way"),
        (b"way.localhost:8080", "way"),
        (b"a.apps.example", "apps"),
        (b"a.b.apps.example:1", "apps"),
        (b"apps.example", None),
        (b"10.96.0.7:9080", "reviews"),
        (b"[fd00::7]:9080", "reviews"),
        (b"a.only.example:81", "only"),
        (b"a.only.example", None),
        (b"", None),
        (b":", None),
        (b"[", None),
    ],
)
def test_names_ports_and_suffixes(authority, name):
    made = table(
        spec("reviews", 9080, "reviews", "reviews.shop", addresses=("10.96.0.7", "fd00::7")),
        spec("web", 80, "Reviews"),
        spec("way", 80, "way.localhost", any_port=True),
        spec("apps", 80, "*.apps.example", any_port=True),
        spec("only", 81, "*.only.example"),
        spec("late", 9080, "reviews"),
    )
    found = made.find(authority)
    assert (found.name if found else None) == name


def test_split():
    cases = {
        b"a:1": (b"a", b"1"),
        b"a": (b"a", b""),
        b"a.:1": (b"a", b"1"),
        b"[::1]:2": (b"[::1]", b"2"),
        b"[::1]": (b"[::1]", b""),
    }
    assert {given: split(given) for given in cases} == cases


def test_addresses_and_ports_lead_to_the_first_that_has_them():
    made = table(
        spec("reviews", 9080, addresses=("10.96.0.7", "FD00:0::7")),
        spec("late", 9080, addresses=("10.96.0.7", "10.96.0.8")),
        spec("web", 80, addresses=("10.96.0.7",)),
    )
    assert {to: service.name for to, service in made.reached.items()} == {
        ("10.96.0.7", 9080): "reviews", ("fd00::7", 9080): "reviews", ("10.96.0.8", 9080): "late",
        ("10.96.0.7", 80): "web",
    }  # fmt: skip
    assert {port: service.name for port, service in made.ports.items()} == {9080: "reviews", 80: "web"}
