"""The endpoint over plain HTTP, with the fake API server's reviews: who is signed for, and why others are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority import enrol
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.enrol import Enrolment, Who
from sidewinder_operator.authority.review import POD_UID
from sidewinder_operator.authority.root import Trust
from sidewinder_operator.authority.sign import Budget
from tests.support.apiserver import FakeApiServer
from tests.support.clock import eventually
from tests.support.enrolment import forged, request

NOW = enrol.dt.datetime.now(enrol.dt.UTC)
TRUST = Trust(roots.create("cluster.local", NOW))
KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = "a.good.token"


class Pod(NamedTuple):
    namespace: str = "shop"
    service_account: str = "reviews"


def accepted(uid: str = "5b6e", username: str = "system:serviceaccount:shop:reviews", **more: Any) -> dict[str, Any]:
    user = {"username": username, "extra": {POD_UID: [uid]}}
    return {"authenticated": True, "audiences": ["sidewinder"], "user": user, **more}


class Site:
    """The endpoint and the API server it asks."""

    def __init__(self, server: FakeApiServer, url: str, enrolment: Enrolment, pods: dict[str, Pod]) -> None:
        self.server = server
        self.url = url
        self.enrolment = enrolment
        self.pods = pods

    async def ask(self, token: str | None = TOKEN, asked: str | None = None, **how: Any) -> tuple[int, Any, Any]:
        """Status, body, headers."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        body = {"json": {"request": request(KEY) if asked is None else asked}} if "data" not in how else {}
        async with (
            aiohttp.ClientSession() as client,
            client.post(self.url, headers=headers, **body, **how) as answer,
        ):
            return answer.status, await answer.json(), answer.headers


def bench(work: Callable[[Site], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            server.tokens[TOKEN] = accepted()
            pods = {"5b6e": Pod()}
            api = ApiServer(server.url)
            options.setdefault("pod_seconds", 0.2)
            made = Enrolment(api, lambda: TRUST, Who("cluster.local", "sidewinder", pods.get), **options)
            application = web.Application()
            application.router.add_post("/enrol", made.serve)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                await work(Site(server, f"http://127.0.0.1:{runner.addresses[0][1]}/enrol", made, pods))
            finally:
                await runner.cleanup()
                await api.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_pods_token_gets_its_certificate_and_the_bundle() -> None:
    seconds: list[float] = []

    async def work(site: Site) -> None:
        status, told, _ = await site.ask()
        assert status == 200
        leaf = x509.load_pem_x509_certificate(told["certificate"].encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            "spiffe://cluster.local/ns/shop/sa/reviews"
        ]
        assert leaf.subject.rfc4514_string() == "CN=5b6e"
        assert leaf.public_key() == KEY.public_key()
        assert told["bundle"] == TRUST.pem().decode()
        assert (site.enrolment.signatures, len(seconds)) == (1, 1)

    bench(work, observe=seconds.append)


def test_a_certificate_holds_as_long_as_it_is_set_to() -> None:
    async def work(site: Site) -> None:
        _, told, _ = await site.ask()
        leaf = x509.load_pem_x509_certificate(told["certificate"].encode())
        left = (leaf.not_valid_after_utc - enrol.dt.datetime.now(enrol.dt.UTC)).total_seconds()
        assert 80 < left <= 90

    bench(work, lifetime=enrol.dt.timedelta(seconds=90))


def rsa_request() -> str:
    return request(rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("stranger", 401, "token"),
        (None, 401, "no token"),
        ("", 401, "no token"),
        ("elsewhere", 401, "audience"),
        ("user", 401, "user"),
        ("unbound", 401, "unbound"),
        ("gone", 403, "pod"),
        ("other", 403, "pod"),
    ],
)
def test_a_token_that_proves_nothing_is_refused_with_its_reason(token, status, reason, caplog) -> None:
    async def work(site: Site) -> None:
        site.pods["theirs"] = Pod("shop", "ratings")
        site.server.tokens |= {
            "elsewhere": accepted(audiences=["https://kubernetes.default.svc"]),
            "user": accepted(username="admin"),
            "unbound": {**accepted(), "user": {"username": "system:serviceaccount:shop:reviews"}},
            "gone": accepted("ffff"),
            "other": accepted("theirs"),
        }
        found, told, _ = await site.ask(token)
        assert (found, list(told)) == (status, ["error"])
        assert site.enrolment.refusals == {reason: 1}
        assert site.enrolment.signatures == 0

    with caplog.at_level("INFO"):
        bench(work)
    assert "127.0.0.1 is not enrolled" in caplog.text


@pytest.mark.parametrize(
    ("asked", "told"),
    [("", "PEM"), ("x" * 17000, "17000 bytes"), (rsa_request(), "P-256"), (forged(), "possession")],
    ids=["empty", "large", "rsa", "unsigned"],
)
def test_a_request_that_cannot_be_signed_is_400_and_says_why(asked, told) -> None:
    async def work(site: Site) -> None:
        status, answer, _ = await site.ask(asked=asked)
        assert status == 400
        assert told in answer["error"]

    bench(work)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"request": 7}', b"\xff\xfe"])
def test_a_body_of_another_shape_is_400_before_anybody_is_asked(body) -> None:
    async def work(site: Site) -> None:
        status, answer, _ = await site.ask(data=body)
        assert status == 400
        assert '{"request": "<PEM>"}' in answer["error"]
        assert site.server.requests == []

    bench(work)


def test_what_is_too_large_or_too_slow_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol, "BODY_SECONDS", 0.05)

    async def slow():
        yield b'{"request":'
        await asyncio.sleep(1)
        yield b"7}"

    async def work(site: Site) -> None:
        status, _, _ = await site.ask(data=b"x" * (enrol.LONGEST_BODY + 1))
        assert status == 413
        status, told, _ = await site.ask(data=slow())
        assert (status, told["error"]) == (400, "the body did not come within 0.05 s")
        assert (await site.ask("t" * (enrol.LONGEST_TOKEN - 100)))[0] == 401
        monkeypatch.setattr(enrol, "LONGEST_TOKEN", 10)
        status, told, _ = await site.ask()
        assert (status, told["error"]) == (401, "the token has more than 10 characters")

    bench(work)


def test_a_pod_that_the_cache_learns_of_meanwhile_is_waited_for() -> None:
    async def work(site: Site) -> None:
        site.server.tokens["new"] = accepted("new")
        asking = asyncio.create_task(site.ask("new"))
        await eventually(lambda: site.server.bodies)
        site.pods["new"] = Pod()
        site.enrolment.ring()
        assert (await asking)[0] == 200

    bench(work, pod_seconds=20)


def test_an_api_server_that_is_away_is_503_with_a_time_to_come_back() -> None:
    async def work(site: Site) -> None:
        site.server.failing = 500
        status, told, headers = await site.ask()
        assert (status, headers["Retry-After"]) == (503, "5")
        assert "API server" in told["error"]

    bench(work)


def test_a_storm_is_429_with_a_time_to_come_back() -> None:
    async def work(site: Site) -> None:
        assert [(await site.ask())[0] for _ in range(2)] == [200, 200]
        status, _, headers = await site.ask()
        assert (status, headers["Retry-After"]) == (429, "20")
        assert site.enrolment.refusals == {"budget": 1}

    bench(work, budget=Budget(rate=0.05, burst=2))


def test_an_address_that_shows_bad_tokens_again_and_again_asks_nobody_any_more(caplog) -> None:
    async def work(site: Site) -> None:
        assert [(await site.ask("bad"))[0] for _ in range(10)] == [401] * 10
        asked = len(site.server.requests)
        status, _, headers = await site.ask("bad")
        assert (status, headers["Retry-After"]) == (429, "1")
        assert len(site.server.requests) == asked

    bench(work)


@pytest.mark.parametrize("which", ["MOST_AT_ONCE", "MOST_OF_ONE"])
def test_not_more_are_answered_at_once_than_the_bounds(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol, which, 2)

    async def work(site: Site) -> None:
        site.server.tokens["late"] = accepted("late")
        waiting = [asyncio.create_task(site.ask("late")) for _ in range(2)]
        await eventually(lambda: len(site.server.bodies) == 2)
        status, _, headers = await site.ask()
        assert (status, headers["Retry-After"], site.enrolment.refusals) == (503, "1", {"busy": 1})
        site.pods["late"] = Pod()
        site.enrolment.ring()
        assert [(await each)[0] for each in waiting] == [200, 200]
        assert (await site.ask())[0] == 200

    bench(work, pod_seconds=20)


def test_what_is_remembered_of_strangers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol, "MOST_ADDRESSES", 3)
    made = Enrolment(ApiServer("http://x"), lambda: TRUST, Who("cluster.local", "sidewinder", lambda uid: None))
    for number in range(5):
        made._refused(enrol.Refusal(401, "token", "no"), f"10.0.0.{number}")
    assert list(made._bad) == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]


def test_no_token_is_ever_logged(caplog) -> None:
    async def work(site: Site) -> None:
        site.server.failing = 500
        await site.ask("secret.token.here")
        site.server.failing = 0
        await site.ask("secret.token.here")
        assert json.dumps(dict(site.enrolment.refusals)) == '{"API server": 1, "token": 1}'

    with caplog.at_level("DEBUG"):
        bench(work)
    assert caplog.text
    assert "secret.token" not in caplog.text
