"""cors: what is an origin, and what must never be written."""

from __future__ import annotations

from typing import Any

import pytest

from sidewinder_operator.resources.read import read
from tests.support.refusals import policy

SHOP = "https://shop.example"


def problems(**section: Any) -> list[str]:
    return [problem.field for problem in read(policy(cors=section)).problems]


GOOD = ["*", SHOP, "https://*.shop.example", "http://localhost:8080", "https://[::1]:8443", "app+x://a_b.example"]


@pytest.mark.parametrize("origin", GOOD)
def test_origins(origin: str) -> None:
    assert problems(allowOrigins=[origin]) == []


BAD = [
    "shop.example", "https://shop.example/", "https://SHOP.example", "https://*", "https://a.*.example", "null", "",
    "https://shop.example:", "https://shop.example\n", "https://user@shop.example", "https://*shop.example",
]  # fmt: skip


@pytest.mark.parametrize("origin", BAD)
def test_what_is_no_origin_is_told(origin: str) -> None:
    assert problems(allowOrigins=[SHOP, origin]) == ["spec.cors.allowOrigins[1]"]


TOGETHER = {
    "credentials for everybody": ({"allowOrigins": ["*"], "allowCredentials": True}, "spec.cors.allowOrigins"),
    "all headers with credentials": (
        {"allowOrigins": [SHOP], "allowCredentials": True, "exposeHeaders": ["*"]},
        "spec.cors.exposeHeaders",
    ),
    "all origins and one": ({"allowOrigins": ["*", SHOP]}, "spec.cors.allowOrigins"),
    "all methods and one": ({"allowOrigins": [SHOP], "allowMethods": ["*", "GET"]}, "spec.cors.allowMethods"),
    "no origin": ({"allowOrigins": []}, "spec.cors.allowOrigins"),
    "too long remembered": ({"allowOrigins": [SHOP], "maxAge": 86401}, "spec.cors.maxAge"),
}


@pytest.mark.parametrize(("section", "field"), TOGETHER.values(), ids=TOGETHER)
def test_what_does_not_go_together_is_told(section: dict[str, Any], field: str) -> None:
    assert problems(**section) == [field]


def test_a_star_for_methods_and_headers_goes_with_credentials() -> None:
    assert problems(allowOrigins=[SHOP], allowMethods=["*"], allowHeaders=["*"], allowCredentials=True) == []
