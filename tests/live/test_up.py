"""`sidewinder up` with real processes: the split, changes under load, mistakes, crashes, and leaving nothing behind."""

from __future__ import annotations

import http.client
import math
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.local_mesh import EXAMPLES, SIDEWINDER, Up, relatives, running

pytestmark = pytest.mark.live

SHOP = "productpage.bookinfo.localhost"
REVIEWS = "reviews.bookinfo.localhost"
ONE_IN_A_MILLION = 4.9  # standard deviations of a two-sided bound at p = 1e-6 (normal approximation of the binomial)
MARKED = "TEST_MARK"  # in the environment of `up` and of all that it starts


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One `up` of the canary for the tests that only ask."""
    with running("canary", tmp_path_factory.mktemp("up")) as up:
        up.ready()
        yield up


def version(answer: bytes) -> str:
    """Which version of reviews has answered."""
    return "v2" if b'"reviews", "version": "v2"' in answer else "v1"


def proxies(up: Up) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.status()["proxies"]
    return found


def expect_share(counts: Counter[str], name: str, share: float) -> None:
    total = counts.total()
    bound = ONE_IN_A_MILLION * math.sqrt(total * share * (1 - share)) + 1
    assert abs(counts[name] - total * share) <= bound, f"{counts} for a share of {share}"


class Load:
    """Requests without a pause on some connections, each request's start, status and version of reviews."""

    def __init__(self, port: int, host: str, path: str = "/", connections: int = 4) -> None:
        self.seen: list[tuple[float, int, str]] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(port, host, path), daemon=True) for _ in range(connections)
        ]

    def _run(self, port: int, host: str, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", path, headers={"Host": host})
                response = connection.getresponse()
                body = response.read()
                told = version(body) if response.status == 200 else str(response.headers["proxy-status"])
                self.seen.append((began, response.status, told))
            except (OSError, http.client.HTTPException) as fault:
                self.seen.append((began, 0, repr(fault)))
                connection.close()
        connection.close()

    @property
    def failed(self) -> list[tuple[float, int, str]]:
        return [each for each in self.seen if each[1] != 200]

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


def test_a_request_goes_through_all_the_shop(mesh: Up) -> None:
    answer = mesh.get(SHOP)
    assert answer.status == 200
    page = answer.json()
    assert [page["application"], page["called"]["application"], page["called"]["called"]["application"]] == [
        "productpage",
        "reviews",
        "ratings",
    ]


def test_the_split_is_as_written(mesh: Up) -> None:
    port = mesh.port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    counts: Counter[str] = Counter()
    for _ in range(1500):
        connection.request("GET", "/reviews/1", headers={"Host": REVIEWS})
        response = connection.getresponse()
        counts[version(response.read())] += 1
        assert response.status == 200
    connection.close()
    expect_share(counts, "v2", 0.1)


def test_a_header_chooses_the_other_rule_through_every_hop(mesh: Up) -> None:
    for _ in range(20):
        assert version(mesh.get(SHOP, fields={"x-beta": "true"}).body) == "v2"


def test_a_cookie_keeps_a_user_on_the_version_it_met(mesh: Up) -> None:
    first = mesh.get(REVIEWS, "/reviews/1")
    cookie = first.fields["set-cookie"].partition(";")[0]
    assert cookie.startswith("release=")
    for _ in range(20):
        again = mesh.get(REVIEWS, "/reviews/1", fields={"Cookie": cookie})
        assert version(again.body) == version(first.body)


def test_a_host_that_nobody_owns_is_told(mesh: Up) -> None:
    answer = mesh.get("nobody.bookinfo.localhost")
    assert 400 <= answer.status < 500
    assert "sidewinder" in answer.fields["proxy-status"]


@contextmanager
def outside() -> Iterator[int]:
    """A server that no Service owns; answers with the Host that it was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.headers["host"].encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_hosts_that_no_service_owns_pass_through(mesh: Up) -> None:
    outbound = mesh.proxy("productpage")["ports"]["outbound"]
    with outside() as port:
        answer = mesh.get(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}/x", port=outbound)
        assert (answer.status, answer.body) == (200, f"127.0.0.1:{port}".encode())


@pytest.mark.parametrize("owned", [False, True], ids=["anybody", "a service"])
def test_connect_makes_a_tunnel(mesh: Up, owned: bool) -> None:
    outbound = mesh.proxy("productpage")["ports"]["outbound"]
    with outside() as port, socket.create_connection(("127.0.0.1", outbound), timeout=10) as connection:
        authority = "ratings:9080" if owned else f"127.0.0.1:{port}"
        connection.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            assert byte, head
            head += byte
        assert head.startswith(b"HTTP/1.1 200"), head
        connection.sendall(b"GET /ratings/1 HTTP/1.0\r\nHost: inside\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        assert answer.endswith(b'"ratings", "version": "v1", "stars": 5}' if owned else b"inside")


def test_applications_are_given_the_proxy_and_loopback_is_left_out(mesh: Up) -> None:
    proxy = mesh.proxy("productpage")
    environment = dict(
        entry.partition(b"=")[::2]
        for entry in Path(f"/proc/{proxy['processes']['application']}/environ").read_bytes().split(b"\0")
    )
    url = f"http://127.0.0.1:{proxy['ports']['outbound']}".encode()
    assert environment[b"HTTP_PROXY"] == environment[b"http_proxy"] == url
    assert {b"localhost", b"127.0.0.1", b"::1"} <= set(environment[b"NO_PROXY"].split(b","))
    assert environment[b"PORT"] == str(proxy["ports"]["application"]).encode()


def test_status_says_who_has_acknowledged_what(mesh: Up) -> None:
    told = mesh.status()
    route = next(found for found in told["objects"] if found["kind"] == "ApiRoute")
    assert route["proxies"] == {"required": 5, "acknowledged": 5, "rejected": 0}
    assert all(proxy["ready"] and proxy["current"] for proxy in told["proxies"])
    assert told["problems"] == []


def test_status_for_people(mesh: Up) -> None:
    command = [str(SIDEWINDER), "status", "--state", str(mesh.state)]
    told = subprocess.run(command, check=True, capture_output=True, timeout=30, text=True).stdout
    assert "bookinfo/productpage/0" in told
    assert any(line.split() == ["ApiRoute", "bookinfo/reviews", "5", "5", "0"] for line in told.splitlines()), told


def test_the_sockets_are_for_their_owner_alone(mesh: Up) -> None:
    environment = Path(f"/proc/{mesh.proxy('ratings')['processes']['sidecar']}/environ").read_bytes().split(b"\0")
    discovery = next(entry for entry in environment if entry.startswith(b"SIDEWINDER_DISCOVERY=unix:"))
    path = Path(discovery.partition(b"unix:")[2].decode())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_second_up_on_the_same_port_says_what_to_do(mesh: Up, tmp_path: Path) -> None:
    other = Up(mesh.folder, tmp_path / "other", "--port", str(mesh.port))
    assert other.end(0) == 1
    assert "Choose another port with --port" in "\n".join(other.lines)
    same_state = Up(mesh.folder, mesh.state)
    assert same_state.end(0) == 1
    assert "--state" in "\n".join(same_state.lines)


def patient(tmp_path: Path) -> Path:
    """A copy of the canary without its 500 ms a try, which the applications of a busy machine may miss."""
    folder = tmp_path / "canary"
    shutil.copytree(EXAMPLES / "canary", folder)
    manifest = folder / "canary.yaml"
    lines = [line for line in manifest.read_text().splitlines(keepends=True) if "timeouts:" not in line]
    manifest.write_text("".join(lines))
    return folder


def test_a_change_is_live_within_a_second_and_no_request_fails(tmp_path: Path) -> None:
    with running(patient(tmp_path), tmp_path) as up:
        up.ready()
        manifest = up.folder / "canary.yaml"
        with Load(up.port, REVIEWS, "/reviews/1").running() as load:
            up.until(lambda: len(load.seen) > 200, "200 requests")
            for turn, (old, new) in enumerate([("weight: 90", "weight: 0"), ("weight: 0", "weight: 90")]):
                before = len(up.lines)
                changed = time.monotonic()
                draft = up.folder / ".draft"
                draft.write_text(manifest.read_text().replace(old, new))
                draft.replace(manifest)  # as editors do
                told = up.told("live in all 5 sidecars", after=before, seconds=15)
                assert time.monotonic() - changed < 1.0, told
                count = len(load.seen) + 300
                up.until(lambda count=count: len(load.seen) > count, "300 more requests")
                after = Counter(name for began, _, name in load.seen if began > changed + 1.0)
                if turn == 0:
                    assert set(after) <= {"v2"}, f"{after} a second after the weight of v1 became 0"
        assert load.failed == [], load.failed[:3]


def test_a_mistake_is_told_with_its_place_and_the_last_good_serves_on(tmp_path: Path) -> None:
    with running(patient(tmp_path), tmp_path) as up:
        up.ready()
        manifest = up.folder / "canary.yaml"
        good = manifest.read_text()
        line = next(number for number, row in enumerate(good.splitlines(), 1) if "weight: 90" in row)
        with Load(up.port, REVIEWS, "/reviews/1", connections=2).running() as load:
            before = len(up.lines)
            manifest.write_text(good.replace("weight: 90", "weigth: 90"))
            told = up.told("weigth", after=before, seconds=15)
            assert f"canary.yaml:{line}: ApiRoute bookinfo/reviews: spec.rules[1].backendRefs[0].weigth" in told
            up.told("last good version serves on: ApiRoute bookinfo/reviews", after=before, seconds=15)
            count = len(load.seen)
            up.until(lambda: len(load.seen) > count + 300, "300 more requests")
            before = len(up.lines)
            manifest.write_text("not: [yaml")
            up.told("canary.yaml", after=before, seconds=15)
            count = len(load.seen)
            up.until(lambda: len(load.seen) > count + 100, "100 more requests")
            before = len(up.lines)
            manifest.write_text(good)
            up.told("no problems any more", after=before, seconds=15)
        assert load.failed == [], load.failed[:3]
        expect_share(Counter(name for _, _, name in load.seen), "v2", 0.1)


def test_a_restart_on_broken_manifests_serves_what_was_good_before(tmp_path: Path) -> None:
    with running("canary", tmp_path) as up:
        up.ready()
    manifest = tmp_path / "canary" / "canary.yaml"
    manifest.write_text(manifest.read_text().replace("weight: 90", "weight: many"))
    with running("canary", tmp_path) as up:
        up.ready()
        assert any("last good version serves on" in line for line in up.lines)
        assert up.get(SHOP).status == 200
        assert version(up.get(SHOP, fields={"x-beta": "true"}).body) == "v2"


@pytest.mark.parametrize("which", ["application", "sidecar"])
def test_what_crashes_is_started_again_and_said_so(tmp_path: Path, which: str) -> None:
    with running("canary", tmp_path) as up:
        up.ready()
        pid = up.proxy("reviews-v1")["processes"][which]
        before = len(up.lines)
        os.kill(pid, signal.SIGKILL)
        told = up.told("was killed by SIGKILL; starting it again in", after=before, seconds=20)
        assert told.startswith("reviews-v1 sidecar" if which == "sidecar" else "reviews-v1 ")

        def back() -> bool:
            proxy = up.proxy("reviews-v1")
            return bool(proxy["ready"] and proxy["current"] and proxy["processes"][which] not in (0, pid))

        up.until(back, "ready again")
        assert up.proxy("reviews-v1")["restarts"][which] == 1
        # Of `reviews` the other version would answer, too: v1 itself has to be in the way in's picture again.
        up.until(lambda: up.get("reviews-v1.bookinfo.localhost", "/reviews/1").status == 200, "answers again", 15)


def test_replicas_come_and_go_without_a_failed_request(tmp_path: Path) -> None:
    with running("canary", tmp_path) as up:
        up.ready()
        manifest = up.folder / "processes.yaml"
        one = manifest.read_text()
        with Load(up.port, "ratings.bookinfo.localhost", "/ratings/1", connections=2).running() as load:
            manifest.write_text(one.replace("shop.py, ratings]", "shop.py, ratings]\n  replicas: 3"))
            up.until(
                lambda: sum("ratings" in p["id"] and p["ready"] for p in up.status()["proxies"]) == 3, "3 replicas"
            )
            count = len(load.seen)
            up.until(lambda: len(load.seen) > count + 100, "100 more requests")
            manifest.write_text(one.replace("shop.py, ratings]", "shop.py, ratings, v2]"))  # a new command: all are new

            def replaced() -> bool:
                return sum("ratings" in proxy["id"] for proxy in proxies(up)) == 1

            up.until(replaced, "the old ones gone")
            up.told("ended: it is not asked for any more")
            assert b'"v2"' in up.get("ratings.bookinfo.localhost", "/ratings/1").body
        assert load.failed == [], load.failed[:3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name)
def test_nothing_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    mark = f"{tmp_path}-{number}"
    with running("canary", tmp_path, environment={MARKED: mark}) as up:
        up.ready()
        assert len(relatives(Path(mark))) >= 11, "up, its warden, five sidecars and four applications"
        sidecar = up.proxy("ratings")["processes"]["sidecar"]
        environment = Path(f"/proc/{sidecar}/environ").read_bytes().split(b"\0")
        sockets = next(e for e in environment if e.startswith(b"SIDEWINDER_DISCOVERY=")).partition(b"unix:")[2]
        code = up.end(number)
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        up.until(lambda: relatives(Path(mark)) == [], "all processes gone", 20)
        up.until(lambda: not Path(sockets.decode()).parent.exists(), "the folder of the sockets gone", 15)
        if number != signal.SIGKILL:
            assert "no process is left" in up.lines[-1]


def test_once_more_ctrl_c_ends_at_once_and_still_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "deaf"
    folder.mkdir()
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    (folder / "all.yaml").write_text(SLOW.replace("[python3, slow.py]", f'[python3, -c, "{deaf}"]'))
    mark = f"{tmp_path}-deaf"
    with running(folder, tmp_path, environment={MARKED: mark}) as up:
        up.told("│ deaf")
        up.process.send_signal(signal.SIGINT)
        up.told("stopping")
        assert up.end(signal.SIGINT, 3) == 128 + signal.SIGINT
        up.until(lambda: relatives(Path(mark)) == [], "all processes gone", 20)


def test_a_running_request_is_finished_on_the_way_out(tmp_path: Path) -> None:
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "all.yaml").write_text(SLOW)
    (folder / "slow.py").write_text(SLOW_PROGRAM)
    with running(folder, tmp_path) as up:
        up.ready()
        port = up.port
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(up.get("slow.shop.localhost", "/", port=port).status))
        asking.start()
        up.told("asked")
        assert up.end() == 0
        asking.join(10)
        assert answers == [200]


SLOW = """
apiVersion: v1
kind: Service
metadata: {name: slow, namespace: shop}
spec: {selector: {app: slow}, ports: [{port: 80}]}
---
apiVersion: sidewinder.dev/v1alpha1
kind: LocalProcess
metadata: {name: slow, namespace: shop, labels: {app: slow}}
spec: {command: [python3, slow.py]}
"""
SLOW_PROGRAM = """
import os, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Slow(BaseHTTPRequestHandler):
    def do_GET(self):
        print("asked")
        time.sleep(1.5)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Slow).serve_forever()
"""
