"""checks/self: there and back, and one name for an endpoint on both sides."""

from __future__ import annotations

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot.checks import LONGEST_KEY, CheckSpec, ChecksSpec, HttpCheckSpec, key
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec

SPEC = ChecksSpec(
    checks=(
        CheckSpec(
            name="shop/web:80",
            authority="web.shop:80",
            http=HttpCheckSpec(path="/healthz", statuses=(200, 204)),
            endpoints=(EndpointSpec(uid="u", address="10.0.0.1", port=8080),),
        ),
        CheckSpec(name="shop/store:6379", interval=60.0),
    )
)


def test_it_is_a_resource() -> None:
    assert snapshot.decode("checks/self", snapshot.encode(SPEC)) == SPEC


def test_endpoints_that_differ_have_names_that_differ() -> None:
    places = [
        (name, uid, address, port)
        for name in ("shop/web:80", "shop/web:8")
        for uid in ("u", "u 10.0.0.1")
        for address in ("10.0.0.1", "fd00::1")
        for port in (80, 8080)
    ]
    assert len({key(*place) for place in places}) == len(places)


def test_the_longest_name_fits() -> None:
    names = f"{'n' * 63}/{'s' * 63}:65535"
    assert len(key(names, f"LocalProcess/{'n' * 63}/{'p' * 253}/99", "f" * 45, 65535)) <= LONGEST_KEY
