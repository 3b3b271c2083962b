"""What the webhooks' configurations say is read as it is, and written so that nothing else of them changes."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt

import msgspec
from cryptography import x509

from sidewinder_operator.apiserver import Refused
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.serving import Serving
from sidewinder_operator.authority.webhooks import (
    CONFIGURATIONS,
    STRATEGIC,
    Webhooks,
    anywhere,
    everywhere,
    names,
    trusted,
)

NOW = dt.datetime.now(dt.UTC)
ONE, TWO = (roots.create("cluster.local", NOW) for _ in range(2))


def configuration(*bundles):
    def told(pem):
        return {"caBundle": base64.b64encode(pem).decode()} if pem else {}

    return {"webhooks": [{"name": f"hook-{n}", "clientConfig": told(pem)} for n, pem in enumerate(bundles)]}


class Api:
    """Two configurations, and every patch of them; `down` refuses everything."""

    def __init__(self):
        self.held = {path: configuration(b"") for path in CONFIGURATIONS}
        self.patches = []
        self.down = False
        self.asked = 0

    async def get(self, path):
        self.asked += 1
        if self.down:
            raise Refused(503, "Unavailable", "away")
        return self.held[path]

    async def send(self, method, path, body, *, kind, query):
        self.patches.append((method, path, body, kind, query))
        self.held[path] = msgspec.json.decode(msgspec.json.encode(body))


def test_the_names_are_those_the_api_server_calls():
    assert names("op", "sys", "cluster.local")[:2] == ("op.sys.svc", "op.sys.svc.cluster.local")


def test_bundles_are_read_and_what_is_unreadable_trusts_nobody():
    pem = roots.pem(ONE.certificate)
    found = trusted(configuration(pem, b"", b"nonsense"))
    assert {name: len(each) for name, each in found.items()} == {"hook-0": 1, "hook-1": 0, "hook-2": 0}
    assert trusted({"webhooks": [{"name": "x", "clientConfig": {"caBundle": "%"}}]}) == {"x": ()}


def test_everywhere_and_anywhere():
    one, two = ONE.certificate, TWO.certificate
    assert everywhere({"a": {"x": (one, two)}, "b": {"y": (two,)}}) == (two,)
    assert set(anywhere({"a": {"x": (one, two)}, "b": {"y": (two,)}})) == {one, two}
    assert everywhere({}) == ()


async def until(holds):
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within 5 s")


def part(api, trust, leader=True):
    used = []
    webhooks = Webhooks(api, lambda: trust, Serving(("op",)), used.append, lambda: leader, look_seconds=0.01)
    return webhooks, used


def test_the_leader_publishes_into_every_webhook_and_then_leaves_it():
    async def go():
        api = Api()
        webhooks, _ = part(api, roots.Trust(ONE))
        work = asyncio.create_task(webhooks.publish())
        await until(lambda: webhooks.published and api.asked > 20)
        work.cancel()
        assert [path for _, path, *_ in api.patches] == list(CONFIGURATIONS)
        method, _, body, kind, query = api.patches[0]
        assert (method, kind, query) == ("PATCH", STRATEGIC, {"fieldManager": "sidewinder-operator"})
        (webhook,) = body["webhooks"]
        assert webhook.keys() == {"name", "clientConfig"}
        pem = base64.b64decode(webhook["clientConfig"]["caBundle"])
        assert x509.load_pem_x509_certificates(pem) == [ONE.certificate]

    asyncio.run(go())


def test_who_leads_no_more_writes_nothing():
    async def go():
        api = Api()
        webhooks, _ = part(api, roots.Trust(ONE), leader=False)
        work = asyncio.create_task(webhooks.publish())
        await until(lambda: api.asked > 10)
        work.cancel()
        assert api.patches == []

    asyncio.run(go())


def test_a_replica_serves_at_once_and_without_an_api_server():
    async def go():
        api = Api()
        api.down = True
        webhooks, used = part(api, roots.Trust(ONE))
        work = asyncio.create_task(webhooks.serve())
        await until(lambda: api.asked > 5)
        work.cancel()
        assert len(used) == webhooks.renewals == 1

    asyncio.run(go())
