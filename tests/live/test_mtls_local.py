"""mTLS in a real `sidewinder up`: who is refused under each mode, what `sidewinder tls` says, renewal under load."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_mesh import SIDEWINDER, Up, running

pytestmark = pytest.mark.live

SHOP = "productpage.bookinfo.localhost"
WAY_IN = "spiffe://cluster.local/ns/sidewinder-system/sa/way-in"
PRODUCTPAGE = "spiffe://cluster.local/ns/bookinfo/sa/default"  # what its LocalProcess leaves at its default
POLICY = """
apiVersion: sidewinder.dev/v1alpha1
kind: ApiPolicy
metadata: {name: zero-trust, namespace: bookinfo}
spec: {targetRefs: [{kind: Namespace}], mtls: {mode: %s}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One `up` of the canary, whose policy each test writes."""
    with running("canary", tmp_path_factory.mktemp("mtls"), "--access-log") as up:
        up.ready()
        yield up


def say(up: Up, mode: str) -> None:
    """The namespace's mode, live in all sidecars."""
    file = up.folder / "zero-trust.yaml"
    if file.exists() and file.read_text() == POLICY % mode:
        return
    before = len(up.lines)
    file.write_text(POLICY % mode)
    up.told("live in all", after=before)


def inbound(up: Up, name: str) -> int:
    port: int = up.proxy(name)["ports"]["inbound"]
    return port


def admin(up: Up, name: str, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", up.proxy(name)["ports"]["admin"], timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def metrics(up: Up, name: str) -> str:
    return up.get("localhost", "/metrics", port=up.proxy(name)["ports"]["probe"]).body.decode()


def tls(up: Up, service: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(SIDEWINDER), "tls", service, "-n", "bookinfo", "--state", str(up.state), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_sidecars_know_each_other_without_a_policy(mesh: Up) -> None:
    say(mesh, "Permissive")
    assert mesh.get(SHOP).status == 200
    rows = [row for name in ("reviews-v1", "reviews-v2") for row in admin(mesh, name, "/callers")["callers"]]
    assert {(row["caller"], row["mtls"]) for row in rows if row["mtls"]} == {(PRODUCTPAGE, True)}
    (row,) = [row for row in admin(mesh, "productpage", "/callers")["callers"] if row["mtls"]]
    assert (row["caller"], row["mode"]) == (WAY_IN, "Permissive")


def test_who_shows_no_certificate_passes_is_told_of_or_is_refused(mesh: Up) -> None:
    say(mesh, "Permissive")
    assert mesh.get("reviews", port=inbound(mesh, "reviews-v1")).status == 200

    say(mesh, "Audit")
    before = len(mesh.lines)
    assert mesh.get("reviews", port=inbound(mesh, "reviews-v1")).status == 200
    mesh.told("127.0.0.1 called port", after=before)
    assert 'kind="mtls",action="Audit",policy="bookinfo/zero-trust"} ' in metrics(mesh, "reviews-v1")

    say(mesh, "Strict")
    before = len(mesh.lines)
    answer = mesh.get("reviews", "/reviews/1", port=inbound(mesh, "reviews-v1"))
    assert answer.status == 403
    assert "mTLS is required" in answer.fields["proxy-status"]
    assert b"zero-trust" not in answer.body + repr(answer.fields).encode(), "the answer names no policy"
    assert "bookinfo/zero-trust/mtls" in mesh.told('"status":403', after=before), "the access log does"
    assert 'kind="mtls",action="Deny",policy="bookinfo/zero-trust"} ' in metrics(mesh, "reviews-v1")
    page = mesh.get(SHOP).json()
    assert page["called"]["called"]["application"] == "ratings", "the whole shop serves on"


@pytest.mark.parametrize("name", ["REVIEWS", "reviews.bookinfo.svc.cluster.local", "127.0.0.1", "other.example"])
def test_another_name_or_header_gains_nothing(mesh: Up, name: str) -> None:
    say(mesh, "Strict")
    claims = {"X-Forwarded-Client-Cert": f"URI={WAY_IN}", "X-Forwarded-For": "127.0.0.1", "X-Beta": "true"}
    assert mesh.get(name, "/reviews/1", port=inbound(mesh, "reviews-v1"), fields=claims).status == 403
    absolute = f"http://{name}/reviews/1"
    assert mesh.get(name, absolute, port=inbound(mesh, "reviews-v1")).status == 403


def test_the_command_says_whom_strict_breaks(tmp_path: Path) -> None:
    with running("canary", tmp_path) as up:
        up.ready()
        assert up.get("reviews.bookinfo.localhost").status == 200
        safe = tls(up, "reviews")
        assert safe.returncode == 0, safe.stdout + safe.stderr
        assert WAY_IN in safe.stdout
        assert "Strict breaks nothing that was seen of bookinfo/reviews" in safe.stdout
        assert up.get("reviews", port=inbound(up, "reviews-v2")).status == 200
        broken = tls(up, "reviews", "-o", "json")
        assert broken.returncode == 1
        told = json.loads(broken.stdout)
        assert [(row["caller"], row["breaks"]) for row in told["callers"]] == [("127.0.0.1", True), (WAY_IN, False)]
        assert told["proxies"] == ["reviews-v1", "reviews-v2"]
        nobody = tls(up, "nothing")
        assert nobody.returncode == 1
        assert "has no Service bookinfo/nothing" in nobody.stderr


class Load:
    """Requests without a pause on kept connections, until told to end; `wrong` is what did not go well."""

    def __init__(self, port: int, connections: int = 4) -> None:
        self.served = 0
        self.wrong: list[str] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/", headers={"Host": SHOP})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.wrong.append(f"{answer.status} {answer.headers['proxy-status']} {body[:200]!r}")
                self.served += 1
            except (OSError, http.client.HTTPException) as fault:
                self.wrong.append(repr(fault))
                connection.close()
        connection.close()

    @contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(15)


RENEWALS = 4  # of every sidecar, so that keys change on both sides of every connection, in every order


def test_certificates_are_renewed_under_load_without_a_failed_request(tmp_path: Path) -> None:
    names = ("way-in", "productpage", "reviews-v1", "reviews-v2", "ratings")
    with running("canary", tmp_path, "--certificate-seconds", "12") as up:
        up.ready()
        (up.folder / "zero-trust.yaml").write_text(POLICY % "Strict")
        up.told("live in all")
        serials: dict[str, set[str]] = {name: set() for name in names}

        def renewed() -> bool:
            for name in names:
                serials[name].add(admin(up, name, "/identity")["certificate"]["serial"])
            return all(len(seen) > RENEWALS for seen in serials.values())

        with Load(up.port).running() as load:
            up.until(renewed, f"{RENEWALS} renewals of each sidecar", 90)
        assert load.wrong == []
        assert load.served > 100
        assert up.get("reviews", port=inbound(up, "reviews-v1")).status == 403, "Strict held all the while"


def test_another_root_under_load_without_a_failed_request(tmp_path: Path) -> None:
    with running("canary", tmp_path) as up:
        up.ready()
        (up.folder / "zero-trust.yaml").write_text(POLICY % "Strict")
        up.told("live in all")
        before = admin(up, "ratings", "/identity")["roots"]
        with Load(up.port).running() as load:
            command = [str(SIDEWINDER), "rotate-root", "--state", str(up.state), "--timeout", "120"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
            served = load.served
            up.until(lambda: load.served > served + 50, "calls with the old root forgotten")
        assert load.wrong == []
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line[0:6] for line in done.stdout.replace("sidewinder │ ", "").splitlines()][:3] == [
            "1 of 3",
            "2 of 3",
            "3 of 3",
        ]
        (root,) = admin(up, "ratings", "/identity")["roots"]
        assert root not in before


def ratings(up: Up) -> list[dict[str, Any]]:
    return [proxy for proxy in up.status()["proxies"] if "/ratings/" in proxy["id"]]


def test_another_service_account_takes_over_without_a_failed_request(tmp_path: Path) -> None:
    with running("canary", tmp_path) as up:
        up.ready()
        file = up.folder / "processes.yaml"
        before = up.proxy("ratings")["processes"]["sidecar"]
        with Load(up.port).running() as load:
            text = file.read_text().replace(
                "apps/shop.py, ratings]", "apps/shop.py, ratings]\n  serviceAccount: ratings"
            )
            file.write_text(text)

            def replaced() -> bool:
                found = ratings(up)
                return len(found) == 1 and found[0]["processes"]["sidecar"] != before and bool(found[0]["ready"])

            up.until(replaced, "taken over")
            served = load.served
            up.until(lambda: load.served > served + 50, "calls to the new one")
        assert load.wrong == []
        name = next(proxy["name"] for proxy in up.status()["proxies"] if "/ratings/" in proxy["id"])
        assert (
            admin(up, name, "/identity")["certificate"]["spiffe_id"] == "spiffe://cluster.local/ns/bookinfo/sa/ratings"
        )


def test_nothing_of_an_identity_is_left_behind(tmp_path: Path) -> None:
    with running("canary", tmp_path) as up:
        up.ready()
        sidecar = up.proxy("ratings")["processes"]["sidecar"]
        environ = Path(f"/proc/{sidecar}/environ").read_bytes().split(b"\0")
        folder = Path(
            next(each for each in environ if each.startswith(b"SIDEWINDER_IDENTITY=")).decode().partition("=")[2]
        )
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        began = time.monotonic()
        assert up.end() == 0
        assert time.monotonic() - began < 20
        assert not folder.exists()
        assert not folder.parent.exists()
