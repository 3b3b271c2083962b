"""What a whole process answers to strangers, pods and the API server, and how it sends them away at its end."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority.review import POD_UID
from sidewinder_operator.main.doors import Unable
from sidewinder_operator.main.process import Process
from sidewinder_operator.settings import Settings
from tests.support import enrolment
from tests.support.clock import eventually
from tests.support.enrolment import Answer, Stream
from tests.support.operators import Bench, bench, free_port

KEY = ec.generate_private_key(ec.SECP256R1())


def accepted(uid: str) -> dict[str, Any]:
    user = {"username": "system:serviceaccount:shop:reviews", "extra": {POD_UID: [uid]}}
    return {"authenticated": True, "audiences": ["sidewinder"], "user": user}


async def ready(process: Process) -> tuple[int, ssl.SSLContext]:
    """The port, and a context that trusts it."""
    await eventually(lambda: not process.lacking(), 15)
    assert process.doors.port.address is not None
    return process.doors.port.address[1], enrolment.trusting(process.authority.keeper.current().pem().decode())


async def enrolled(on: Bench, port: int, tls: ssl.SSLContext) -> ssl.SSLContext:
    """The context of the pod, with the certificate that it was given."""
    on.server.tokens["good"] = accepted(on.uid)
    given = await enrolment.enrol(port, tls, "good", enrolment.request(KEY))
    assert given.status == 200
    return enrolment.trusting(given.body["bundle"], given.body["certificate"], KEY)


def test_from_a_token_to_a_picture() -> None:
    async def work(on: Bench) -> None:
        process = on.start()
        port, tls = await ready(process)
        refused = await Stream.open(port, tls)
        assert isinstance(refused, Answer)
        assert (refused.status, refused.body) == (403, {"error": "no client certificate was shown: enrol first"})
        opened = await Stream.open(port, await enrolled(on, port, tls))
        assert isinstance(opened, Stream)
        assert "route/shop/reviews" in await opened.first()
        await eventually(lambda: process.acks.current(on.uid))
        text = process.metrics.text()
        for line in ("streams 1", "signatures_total 1", "connections_total 3"):
            assert f"sidewinder_operator_{line}\n" in text
        assert (await enrolment.enrol(port, tls, "bad", enrolment.request(KEY))).status == 401
        assert 'sidewinder_operator_enrolment_refusals_total{reason="token"} 1\n' in process.metrics.text()
        opened.close()

    bench(work)


def test_plain_text_and_tls_1_2_are_not_spoken() -> None:
    async def work(on: Bench) -> None:
        process = on.start()
        port, tls = await ready(process)
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        for context in (None, tls):
            with pytest.raises(enrolment.CLOSED):
                await enrolment.enrol(port, context, "good", enrolment.request(KEY))
        await eventually(lambda: process.doors.port.failures == 2)

    bench(work)


def test_at_its_end_it_is_not_ready_and_says_goodbye_to_streams() -> None:
    async def work(on: Bench) -> None:
        process = on.start()
        port, tls = await ready(process)
        opened = await Stream.open(port, await enrolled(on, port, tls))
        assert isinstance(opened, Stream)
        await opened.first()
        stopping = asyncio.create_task(on.stop(process))
        heard = []
        while (messages := await opened.hear()) is not None:
            heard += messages
        assert heard[-1].goodbye == "shutdown"
        assert process.lacking() == ["the end"]
        await stopping
        with pytest.raises(OSError):  # noqa: PT011 (refused)
            await asyncio.open_connection("127.0.0.1", port)

    bench(work)


def test_with_a_file_for_injection_it_admits_pods_and_objects(tmp_path: Path) -> None:
    path = tmp_path / "injection.json"
    path.write_text(json.dumps({"image": "sidecar:1"}))

    async def work(on: Bench) -> None:
        on.server.put(
            "/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"sidewinder.dev/inject": "enabled"}}}
        )
        process = on.start(injection=str(path), admission_port=0)
        _, tls = await ready(process)
        assert process.doors.admission is not None
        port = process.doors.admission.admission.address[1]
        kind = {"group": "", "version": "v1", "kind": "Pod"}
        pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "app", "image": "x"}]}}
        asked = {"uid": "1", "kind": kind, "operation": "CREATE", "namespace": "shop", "object": pod}
        answer = await review(port, tls, "mutate", asked)
        assert answer["patchType"] == "JSONPatch"
        route = {
            "apiVersion": "sidewinder.dev/v1alpha1",
            "kind": "ApiRoute",
            "metadata": {"name": "r", "namespace": "shop"},
            "spec": {
                "parentRefs": [{"kind": "Service", "name": "reviews"}],
                "rules": [{"name": "all", "backendRefs": [{"name": "nobody", "port": 80}]}],
            },
        }
        kind = {"group": "sidewinder.dev", "version": "v1alpha1", "kind": "ApiRoute"}
        asked = {"uid": "2", "kind": kind, "operation": "CREATE", "namespace": "shop", "object": route}
        answer = await review(port, tls, "validate", asked)
        assert answer["allowed"] is True
        assert "nobody" in " ".join(answer["warnings"]), "what others lack is told, from what was compiled last"
        text = process.metrics.text()
        assert 'sidewinder_operator_reviews_total{path="mutate",outcome="admitted"} 1\n' in text
        assert "sidewinder_operator_admission_seconds_count 2\n" in text

    bench(work)


async def review(port: int, tls: ssl.SSLContext, path: str, asked: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}).encode()
    head = (
        f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    answer = await enrolment.exchange(port, tls, head.encode() + body)
    response: dict[str, Any] = answer.body["response"]
    return response


def test_a_port_that_is_taken_and_a_file_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    async def run(**settings: Any) -> None:
        given = {"health_address": "127.0.0.1", "health_port": 0, "address": "127.0.0.1", "api_server": "http://x"}
        await Process(Settings(**given, **settings)).run()

    async def taken() -> None:
        port = free_port()
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
        async with server:
            with pytest.raises(Unable, match=rf"SIDEWINDER_DISCOVERY_PORT={port}: 127\.0\.0\.1: .*in use"):
                await run(discovery_port=port)

    asyncio.run(asyncio.wait_for(taken(), 10))
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(Unable, match=r"SIDEWINDER_INJECTION: .*missing required field"):
        asyncio.run(run(discovery_port=0, injection=str(tmp_path / "wrong.json")))
