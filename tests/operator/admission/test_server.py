"""The HTTP side: every refusal has a status and a reason, sizes and times are bounded, outcomes are counted."""

from __future__ import annotations

import asyncio
import io
import json
import threading

import aiohttp
import pytest

from sidewinder_operator.admission import server
from sidewinder_operator.admission.server import MOST_BYTES, Admission
from sidewinder_operator.inject.options import Options
from sidewinder_operator.problems import Problem
from tests.operator.admission.test_validate import ROUTE


def review(kind="Pod", group="", raw=None):
    request = {
        "uid": "u",
        "kind": {"group": group, "version": "v1", "kind": kind},
        "operation": "CREATE",
        "namespace": "shop",
        "object": raw or {"metadata": {}, "spec": {"containers": [{"name": "a"}]}},
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


def asked(*requests, others=lambda found: ()):
    """The status and the answer of each request, and the server's counts."""

    async def go():
        seconds = []
        admission = Admission(Options(image="x"), lambda namespace: {}, others, observe=seconds.append)
        await admission.open("127.0.0.1", 0, None)
        answers = []
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{admission.address[1]}") as session:
                for path, body, kind in requests:
                    async with session.post(
                        path, data=io.BytesIO(body.encode()), headers={"content-type": kind}
                    ) as response:
                        answers.append((response.status, await response.text()))
        finally:
            await admission.close()
        return answers, dict(admission.outcomes), seconds

    return asyncio.run(asyncio.wait_for(go(), 30))


JSON = "application/json"


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "why"),
    [
        ("/mutate", "{", JSON, 400, "no AdmissionReview in JSON"),
        ("/mutate", "{}", "text/plain", 415, "send application/json, not text/plain"),
        ("/validate", " " * (MOST_BYTES + 1), JSON, 413, f"at most {MOST_BYTES} bytes"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(path, body, kind, status, why):
    (answer,), outcomes, _ = asked((path, body, kind))
    assert answer[0] == status
    assert why in answer[1]
    assert outcomes == {(path[1:], "unreadable"): 1}


def test_other_paths_and_methods_are_none_of_ours():
    ((status, _),), _, _ = asked(("/", "{}", JSON))
    assert status == 404


def test_a_pod_is_injected_and_told_of_in_numbers():
    (answer,), outcomes, seconds = asked(("/mutate", review(), JSON))
    assert json.loads(answer[1])["response"]["patchType"] == "JSONPatch"
    assert outcomes == {("mutate", "admitted"): 1}
    assert len(seconds) == 1


def test_others_are_asked_in_a_thread_and_their_word_is_a_warning():
    threads = []

    def others(found):
        threads.append(threading.current_thread())
        return [Problem(reference=found.reference, field="spec.x", reason="Missing", message="it is missing")]

    (answer,), _, _ = asked(("/validate", review("ApiRoute", "sidewinder.dev", ROUTE), JSON), others=others)
    response = json.loads(answer[1])["response"]
    assert response["allowed"]
    assert response["warnings"] == ["sidewinder: spec.x: it is missing (Missing)"]
    assert threads[0] is not threading.main_thread()


def test_others_that_take_long_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(server, "OTHERS_SECONDS", 0.05)
    enough = threading.Event()

    def others(found):
        enough.wait(10)
        return ()

    async def go():
        admission = Admission(Options(image="x"), lambda namespace: {}, others)
        await admission.open("127.0.0.1", 0, None)
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{admission.address[1]}") as session:
                body = review("ApiRoute", "sidewinder.dev", ROUTE)
                async with session.post("/validate", data=body, headers={"content-type": JSON}) as response:
                    return await response.json()
        finally:
            enough.set()
            await admission.close()

    response = asyncio.run(asyncio.wait_for(go(), 30))["response"]
    assert response["allowed"]
    assert "no time to look at other objects" in response["warnings"][0]


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(server, "BODY_SECONDS", 0.05)

    async def go():
        admission = Admission(Options(image="x"), lambda namespace: {}, lambda found: ())
        await admission.open("127.0.0.1", 0, None)
        reader, writer = await asyncio.open_connection(*admission.address)
        writer.write(
            b"POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"
        )
        head = await reader.readuntil(b"\r\n")
        writer.close()
        await admission.close()
        return head

    assert asyncio.run(asyncio.wait_for(go(), 30)).startswith(b"HTTP/1.1 408")
