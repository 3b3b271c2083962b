"""Tokens in a real `up` with a real issuer: keys that change under load, one fetch for everybody, forwarded claims."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_mesh import EXAMPLES, Up
from tests.support.tokens import claims, jwk, jwks, token

pytestmark = pytest.mark.live

ECHO = "echo.shop.localhost"
ONE = """
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: %(name)s, namespace: shop, labels: {app: echo}}
spec: {command: [python3, echo.py]}
---
"""
ALL = """
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop}
spec: {selector: {app: echo}, ports: [{name: http, port: 9080}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: tokens, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: echo}]
  authentication:
    providers:
    - name: idp
      type: JWT
      jwt:
        issuer: %(url)s
        audiences: [bookinfo]
        jwks: %(jwks)s
        forwardClaims: [{claim: sub, header: x-user-id}, {claim: groups, header: x-groups}]
        stripToken: true
"""


class Idp:
    """The issuer's process (tests/support/key_server.py)."""

    def __init__(self, url: str) -> None:
        self.url = url

    def order(self, **what: Any) -> None:
        request = urllib.request.Request(f"{self.url}/orders", json.dumps(what).encode())
        urllib.request.urlopen(request, timeout=5).close()

    def asked(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/orders", timeout=5) as answer:
            found: dict[str, int] = json.load(answer)
        return found

    def token(self, kid: str, **more: Any) -> bytes:
        return token(claims(iss=self.url, **more), "ES256", kid=kid, name=kid)


@pytest.fixture
def idp() -> Iterator[Idp]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.support.key_server"]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Idp(json.loads(process.stdout.readline())["url"])
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def mesh(tmp_path: Path, idp: Idp, keys: dict[str, Any], replicas: int = 1) -> Iterator[Up]:
    """`up` with some replicas that want tokens of the issuer."""
    folder = tmp_path / "manifests"
    if not folder.exists():
        folder.mkdir()
        (folder / "echo.py").write_bytes((EXAMPLES / "filters/echo.py").read_bytes())
        text = "".join(ONE % {"name": f"echo-{number}"} for number in range(replicas))
        (folder / "all.yaml").write_text(text + ALL % {"url": idp.url, "jwks": json.dumps(keys)})
    up = Up(folder, tmp_path / "state")
    try:
        up.ready()
        yield up
    finally:
        up.end()


def remote(idp: Idp) -> dict[str, Any]:
    return {"type": "Remote", "remote": {"uri": f"{idp.url}/jwks.json", "cacheDuration": "1h"}}


def bearer(raw: bytes) -> dict[str, str]:
    return {"Authorization": f"Bearer {raw.decode()}"}


def passes(up: Up, raw: bytes) -> bool:
    return up.get(ECHO, fields=bearer(raw)).status == 200


class Load:
    """Requests without a pause on kept connections, each with the newest token."""

    def __init__(self, port: int, first: bytes) -> None:
        self.token = first
        self.seen: Counter[tuple[int, str]] = Counter()
        self.slowest = 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port,), daemon=True) for _ in range(4)]

    def _run(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not self._stop.is_set():
            began = time.monotonic()
            connection.request("GET", "/", headers={"Host": ECHO, **bearer(self.token)})
            answer = connection.getresponse()
            answer.read()
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.seen[answer.status, answer.headers.get("proxy-status", "")] += 1
        connection.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)


def test_a_key_that_comes_under_load_costs_no_request(idp: Idp, tmp_path: Path) -> None:
    """The issuer signs with a new key from one moment to the next, without a word: the first of its tokens bring it."""
    idp.order(jwks=jwks(jwk("ES256", "one", "one")))
    with mesh(tmp_path, idp, remote(idp), replicas=2) as up:
        up.until(lambda: passes(up, idp.token("one")), "the first key")
        up.until(lambda: time.time() - _fetched(up) > 31, "an issuer is left alone for half a minute", 60)
        with Load(up.port, idp.token("one")) as load:
            up.until(lambda: sum(load.seen.values()) > 200, "load")
            idp.order(jwks=jwks(jwk("ES256", "one", "one"), jwk("ES256", "two", "two")))
            load.token = idp.token("two")
            before = sum(load.seen.values())
            up.until(lambda: sum(load.seen.values()) > before + 500, "load with the new key")
            load.token = idp.token("one", sub="old")
            before = sum(load.seen.values())
            up.until(lambda: sum(load.seen.values()) > before + 200, "load with the old key")
        assert set(load.seen) == {(200, "")}, load.seen
        assert idp.asked()["jwks"] == 2, "one fetch for two sidecars at the start, one for the new key"


def _fetched(up: Up) -> float:
    return (up.state / "keys.json").stat().st_mtime


def test_key_ids_that_are_made_up_do_not_reach_the_issuer(idp: Idp, tmp_path: Path) -> None:
    idp.order(jwks=jwks(jwk("ES256", "one", "one")))
    with mesh(tmp_path, idp, {"type": "Discovery"}) as up:
        good = idp.token("one")
        up.until(lambda: passes(up, good), "the first key")
        began = time.monotonic()
        answers = [up.get(ECHO, fields=bearer(idp.token(f"made-up-{number}"))) for number in range(30)]
        assert {answer.status for answer in answers} == {401}
        assert all(b"made-up" not in answer.body for answer in answers)
        assert time.monotonic() - began < 25, "who cannot be helped does not wait"
        assert passes(up, good)
        assert idp.asked() == {"discovery": 1, "jwks": 1}


def test_keys_from_another_place_under_load_cost_no_request(idp: Idp, tmp_path: Path) -> None:
    """Its keys are fetched when the policy says so: requests wait for them."""
    idp.order(jwks=jwks(jwk("ES256", "one", "one")))
    with mesh(tmp_path, idp, remote(idp)) as up:
        up.until(lambda: passes(up, idp.token("one")), "the first key")
        manifest = up.folder / "all.yaml"
        with Load(up.port, idp.token("one")) as load:
            for number in range(3):
                told = len(up.lines)
                place = f"/jwks.json?place={number}"
                manifest.write_text(re.sub(r"/jwks\.json[^\"]*", place, manifest.read_text()))
                up.told("live in all", after=told)
                before = sum(load.seen.values())
                up.until(lambda before=before: sum(load.seen.values()) > before + 100, "load")
        assert set(load.seen) == {(200, "")}, load.seen
        assert idp.asked()["jwks"] == 4


def test_claims_are_forwarded_and_nothing_that_a_caller_says(idp: Idp, tmp_path: Path) -> None:
    idp.order(jwks=jwks(jwk("ES256", "one", "one")))
    with mesh(tmp_path, idp, remote(idp)) as up:
        good = idp.token("one", groups=["members", "staff"])
        up.until(lambda: passes(up, good), "the first key")
        answer = up.get(ECHO, fields={**bearer(good), "X-User-Id": "root", "x-groups": "admins"})
        assert answer.status == 200
        heard = answer.body.decode().lower()
        assert "ann" in heard
        assert "members,staff" in heard
        assert "root" not in heard
        assert "admins" not in heard
        assert "eyj" not in heard, "the token went no further"


def test_the_last_good_keys_outlive_the_issuer_and_a_restart(idp: Idp, tmp_path: Path) -> None:
    idp.order(jwks=jwks(jwk("ES256", "one", "one")))
    good = idp.token("one")
    with mesh(tmp_path, idp, remote(idp)) as up:
        up.until(lambda: passes(up, good), "the first key")
    for behaviour in ("away", "html"):
        idp.order(behaviour=behaviour)
        with mesh(tmp_path, idp, remote(idp)) as up:
            up.told("the last good keys stay")
            assert passes(up, good)
            assert up.get(ECHO, fields=bearer(idp.token("two"))).status == 401


def test_without_any_key_nobody_is_let_in_and_it_is_not_the_tokens_fault(idp: Idp, tmp_path: Path) -> None:
    idp.order(behaviour="error")
    with mesh(tmp_path, idp, remote(idp)) as up:
        up.told("no token of this issuer is taken")
        refused = up.get(ECHO, fields=bearer(idp.token("one")))
        assert refused.status == 503
        assert "sidewinder; error=" in refused.fields["proxy-status"]
        assert up.get(ECHO).status == 401
        idp.order(behaviour="ok", jwks=jwks(jwk("ES256", "one", "one")))
        up.until(lambda: passes(up, idp.token("one")), "the keys")
