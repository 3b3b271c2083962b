"""Who is who to a whole process, over its own port: certificates, pods, other replicas, and what rotation ends."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.keeper import SECRET
from sidewinder_operator.authority.root import Trust
from sidewinder_operator.authority.sign import Identity, sign
from sidewinder_operator.main import mesh_port
from sidewinder_operator.main.process import Process
from tests.support import enrolment
from tests.support import kubernetes_objects as objects
from tests.support.clock import eventually
from tests.support.enrolment import Answer, Stream
from tests.support.operators import Bench, bench

NOW = dt.datetime.now(dt.UTC)
SECRETS, MAPS, SPACES = "/api/v1/secrets", "/api/v1/configmaps", "/api/v1/namespaces"
REVIEWS = Identity("cluster.local", "shop", "reviews")


def brought(on: Bench, trust: Trust) -> None:
    """The CA's Secret as a user puts it there."""
    data = {name: base64.b64encode(text).decode() for name, text in roots.dump(trust).items()}
    on.server.put(SECRETS, {"metadata": {"name": SECRET, "namespace": "system"}, "data": data})


async def ready(process: Process) -> int:
    """The port, as soon as there is one."""
    await eventually(lambda: not process.lacking(), 15)
    assert process.doors.port.address is not None
    return process.doors.port.address[1]


def shown(trusted: Trust, identity: Identity, signer: Trust, **how: Any) -> Any:
    """The context of a client with this identity."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = sign(enrolment.request(key).encode(), identity, signer, **{"now": NOW, **how})
    return enrolment.trusting(trusted.pem().decode(), chain.decode(), key)


def new() -> Trust:
    return Trust(roots.create("cluster.local", NOW))


def test_a_certificate_of_a_running_pod_opens_its_stream_and_no_other() -> None:
    async def work(on: Bench) -> None:
        trust = new()
        brought(on, trust)
        port = await ready(on.start())
        opened = await Stream.open(port, shown(trust, REVIEWS._replace(name=on.uid), trust))
        assert isinstance(opened, Stream)
        assert "route/shop/reviews" in await opened.first()
        opened.close()
        for identity, told in (
            (REVIEWS._replace(name="ffff"), "no running pod with the uid 'ffff'"),
            (REVIEWS, "no running pod with the uid ''"),
            (REVIEWS._replace(name=on.uid, service_account="ratings"), "sa/ratings, the pod"),
            (REVIEWS._replace(name=on.uid, trust_domain="elsewhere"), "is of spiffe://elsewhere/"),
        ):
            refused = await Stream.open(port, shown(trust, identity, trust))
            assert isinstance(refused, Answer)
            assert refused.status == 403
            assert told in refused.body["error"]

    bench(work)


def test_a_stream_ends_with_its_certificate() -> None:
    async def work(on: Bench) -> None:
        trust = new()
        brought(on, trust)
        port = await ready(on.start())
        now = dt.datetime.now(dt.UTC)
        tls = shown(trust, REVIEWS._replace(name=on.uid), trust, now=now, lifetime=dt.timedelta(seconds=3))
        opened = await Stream.open(port, tls)
        assert isinstance(opened, Stream)
        await opened.first()
        heard = []
        while (messages := await opened.hear()) is not None:
            heard += messages
        assert heard[-1].goodbye == "certificate expired"
        assert dt.datetime.now(dt.UTC) - now < dt.timedelta(seconds=8)

    bench(work)


def test_another_replica_is_known_by_the_operators_identity_alone() -> None:
    async def work(on: Bench) -> None:
        trust = new()
        brought(on, trust)
        process = on.start()
        port = await ready(process)
        get = b"GET /acks?replica=x HTTP/1.1\r\nHost: operator\r\n\r\n"
        pod = shown(trust, REVIEWS._replace(name=on.uid), trust)
        for tls in (pod, enrolment.trusting(trust.pem().decode())):
            assert (await enrolment.exchange(port, tls, get)).status == 403
        client = process.authority.credentials.client
        _, writer = held = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=process.authority.names[0]
        )
        writer.write(get)
        assert (await asyncio.wait_for(held[0].readline(), 5)).startswith(b"HTTP/1.1 200")
        writer.transport.abort()

    bench(work)


def test_a_root_that_is_forgotten_ends_the_streams_of_its_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_port, "SPREAD_SECONDS", 0.0)

    async def work(on: Bench) -> None:
        trust = new()
        both = roots.announce(trust, roots.create("cluster.local", NOW))
        brought(on, both)
        process = on.start()
        port = await ready(process)
        other = on.server.put(objects.PODS, objects.pod("reviews-2", "reviews", "10.0.0.2"))["metadata"]["uid"]
        await eventually(lambda: process.watch.pod(other))
        switched = roots.switch(both)
        early = await Stream.open(port, shown(both, REVIEWS._replace(name=on.uid), both))
        late = await Stream.open(port, shown(both, REVIEWS._replace(name=other), switched))
        assert isinstance(early, Stream)
        assert isinstance(late, Stream)
        for each in (early, late):
            await each.first()
        brought(on, switched)
        await eventually(lambda: process.authority.keeper.changes == 2)
        assert {*process.doors.discovery.clients} == {on.uid, other}
        brought(on, roots.forget(switched))
        await eventually(lambda: {*process.doors.discovery.clients} == {other})
        assert await early.hear() is None
        late.close()

    bench(work)


def test_the_bundle_is_in_our_namespace_in_labelled_ones_and_where_proxies_run() -> None:
    async def work(on: Bench) -> None:
        on.server.put(SPACES, {"metadata": {"name": "labelled", "labels": {"sidewinder.dev/inject": "enabled"}}})
        on.server.put(SPACES, {"metadata": {"name": "plain"}})
        process = on.start()

        def where() -> set[str]:
            return {each["metadata"]["namespace"] for each in on.server.all(MAPS)}

        await eventually(lambda: where() == {"system", "labelled", "shop"}, 15)
        on.server.put(SPACES, {"metadata": {"name": "plain", "labels": {"sidewinder.dev/inject": "enabled"}}})
        await eventually(lambda: where() == {"system", "labelled", "shop", "plain"})
        on.server.delete(objects.PODS, "reviews-1", "shop")
        await eventually(lambda: where() == {"system", "labelled", "plain"})
        trust = process.authority.keeper.current()
        assert {each["data"]["bundle.pem"] for each in on.server.all(MAPS)} == {trust.pem().decode()}

    bench(work)


def test_it_is_not_ready_without_a_ca_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def work(on: Bench) -> None:
        brought(on, new())
        on.server.put(SECRETS, {"metadata": {"name": SECRET, "namespace": "system"}, "data": {}})
        process = on.start()
        await eventually(lambda: process.round is not None and process.authority.keeper.fault, 15)
        assert process.lacking() == ["CA", "the discovery port"]
        assert "sidewinder_operator_ca_usable 0" in process.metrics.text()
        trust = new()
        brought(on, trust)
        await ready(process)
        text = process.metrics.text()
        assert "sidewinder_operator_ca_usable 1" in text
        expires = trust.signing.certificate.not_valid_after_utc.timestamp()
        root = roots.fingerprint(trust.signing.certificate)
        line = f'sidewinder_operator_root_expiry_timestamp_seconds{{use="signing",root="{root}"}} '
        assert float(text.partition(line)[2].split("\n")[0]) == pytest.approx(expires, rel=1e-4)

    bench(work)
    assert "ca.crt: missing" in caplog.text
