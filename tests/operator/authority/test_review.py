"""What a TokenReview must say before anybody is somebody."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority.review import POD_UID, Denied, Holder, holder, review
from tests.support.apiserver import FakeApiServer

GOOD = {
    "authenticated": True,
    "audiences": ["sidewinder"],
    "user": {"username": "system:serviceaccount:shop:reviews", "extra": {POD_UID: ["5b6e"], "other": ["x"]}},
}


def user(**changes):
    return GOOD | {"user": GOOD["user"] | changes}


def test_a_good_review_names_the_pod() -> None:
    assert holder(GOOD, "sidewinder") == Holder("shop", "reviews", "5b6e")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({}, "token"),
        (GOOD | {"authenticated": False, "error": "[expired]"}, "token"),
        (GOOD | {"audiences": []}, "audience"),
        (GOOD | {"audiences": ["https://kubernetes.default.svc"]}, "audience"),
        (user(username="system:node:a"), "user"),
        (user(username="system:serviceaccount:shop"), "user"),
        (user(username="shop:reviews"), "user"),
        (user(extra={}), "unbound"),
        (user(extra={POD_UID: ["a", "b"]}), "unbound"),
    ],
)
def test_anything_else_is_denied_with_its_reason(status, reason) -> None:
    with pytest.raises(Denied) as denied:
        holder(status, "sidewinder")
    assert denied.value.reason == reason


def test_nonsense_is_a_failure_of_the_api_server_and_nobodys_identity() -> None:
    with pytest.raises(msgspec.DecodeError):
        holder({"authenticated": "yes"}, "sidewinder")


def test_the_review_asks_for_the_audience_alone() -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            server.tokens["good"] = GOOD
            api = ApiServer(server.url)
            try:
                assert await review(api, "good", "sidewinder") == Holder("shop", "reviews", "5b6e")
                assert server.bodies[-1][2]["spec"] == {"token": "good", "audiences": ["sidewinder"]}
                with pytest.raises(Denied, match="invalid bearer token"):
                    await review(api, "bad", "sidewinder")
            finally:
                await api.close()

    asyncio.run(asyncio.wait_for(main(), 10))
