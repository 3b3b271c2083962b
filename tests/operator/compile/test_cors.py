"""cors: origins are sent as browsers write them."""

from __future__ import annotations

import pytest

from sidewinder_operator.compile.cors import build, spec
from sidewinder_operator.resources import Cluster
from sidewinder_operator.resources.cors import Cors
from sidewinder_sidecar.snapshot.policies import CorsSpec

SPELLED = {
    "https://shop.example:443": "https://shop.example",
    "http://shop.example:80": "http://shop.example",
    "http://shop.example:443": "http://shop.example:443",
    "https://*.shop.example:8443": "https://*.shop.example:8443",
    "https://[2001:db8::1]:443": "https://[2001:db8::1]",
    "*": "*",
}


@pytest.mark.parametrize(("written", "meant"), SPELLED.items())
def test_no_browser_writes_the_schemes_own_port(written: str, meant: str) -> None:
    section, faults = build(Cors(allow_origins=(written,)), Cluster(), "shop")
    assert faults == ()
    assert section.allow_origins == (meant,)


def test_all_of_it_is_sent() -> None:
    written = Cors(
        allow_origins=("https://a.example", "https://a.example:443"),
        allow_methods=("PUT",),
        allow_headers=("x-a",),
        expose_headers=("x-b",),
        allow_credentials=True,
        max_age=7,
    )
    section, _ = build(written, Cluster(), "shop")
    assert spec(section, "shop/pages") == CorsSpec(
        policy="shop/pages",
        allow_origins=("https://a.example",),
        allow_methods=("PUT",),
        allow_headers=("x-a",),
        expose_headers=("x-b",),
        allow_credentials=True,
        max_age=7,
    )
