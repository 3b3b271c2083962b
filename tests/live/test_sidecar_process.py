"""The whole process: bytes through it, what it tells, how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.otlp import receiver
from tests.support.sidecar import backend, raw, sidecar, snapshot

pytestmark = pytest.mark.live

MODIFIED = [
    {"type": "RequestHeaderModifier", "set": [{"name": "X-Team", "value": "shop"}], "remove": ["x-secret"]},
    {"type": "ResponseHeaderModifier", "add": [{"name": "x-served-by", "value": "sidewinder"}]},
    {"type": "URLRewrite", "hostname": "app.local", "path": {"type": "ReplacePrefixMatch", "value": "/v2"}},
]


def test_bytes_metrics_and_log(tmp_path):
    with backend() as app, sidecar(tmp_path, snapshot(app.port, filters=MODIFIED)) as proxy:
        port = proxy.ready()
        parent = f"00-{'4b' * 16}-{'0a' * 8}-01"  # no spans are made here: it passes as it is
        asked = {"x_secret": "1", "x_request_id": "id-7", "X_Forwarded_For": "1.1.1.1", "traceparent": parent}
        answer = proxy.ask(port, "/a?b=1&c", **asked)
        assert answer.status == 200
        assert answer.headers["x-served-by"] == "sidewinder"
        seen = answer.json()
        assert seen["path"] == "/v2/a?b=1&c"
        headers = dict(seen["headers"])
        assert len(headers) == len(seen["headers"])  # nothing twice
        assert headers["host"] == "app.local"
        assert headers["x-team"] == "shop"
        assert "x-secret" not in headers
        assert headers["x-request-id"] == "id-7"
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-host"] == f"127.0.0.1:{port}"
        assert headers["traceparent"] == parent
        posted = proxy.ask(port, "/b", "POST", b"x" * 100_000)
        assert len(posted.json()["body"]) == 100_000
        lines = proxy.log(2)
        assert [(line["method"], line["path"], line["status"]) for line in lines] == [
            ("GET", "/a", 200),
            ("POST", "/b", 200),
        ]
        assert lines[0]["request_id"] == "id-7"
        assert (lines[0]["route"], lines[0]["rule"], lines[0]["backend"]) == (
            "shop/reviews",
            "everyone",
            "shop/reviews",
        )
        assert lines[1]["bytes_in"] == 100_000
        assert lines[0]["trace_id"] == parent[3:35]
        metrics = proxy.metrics()
        assert re.search(
            r'sidewinder_requests_total\{listener="in",route="shop/reviews",.*status="200".*\} 2\n', metrics
        )
        assert re.search(r"sidewinder_request_bytes_total\{.*\} 100000\n", metrics)
        assert "sidewinder_requests_in_flight 0\n" in metrics
        proxy.terminate()
        assert proxy.exit() == 0


def test_every_kind_of_answer_of_its_own(tmp_path):
    rules = [
        {
            "name": "old",
            "matches": [{"path": {"type": "PathPrefix", "value": "/old"}}],
            "filters": [
                {"type": "RequestRedirect", "scheme": "https", "path": {"type": "ReplaceFullPath", "value": "/n"}}
            ],
        },
        {
            "name": "closed",
            "matches": [{"path": {"type": "Exact", "value": "/closed"}}],
            "filters": [{"type": "DirectResponse", "status": 503, "body": "back at nine"}],
        },
        {"name": "nowhere", "matches": [{"path": {"type": "Exact", "value": "/no"}}], "backends": [{"backend": ""}]},
    ]
    with sidecar(tmp_path, snapshot(9, rules=rules)) as proxy:
        port = proxy.ready()
        moved = proxy.ask(port, "/old/x?y=1", Host="shop.example")
        assert (moved.status, moved.headers["location"]) == (302, "https://shop.example/n?y=1")
        closed = proxy.ask(port, "/closed")
        assert (closed.status, closed.body) == (503, b"back at nine")
        assert proxy.ask(port, "/no").status == 500
        lost = proxy.ask(port, "/else", Accept="application/json")
        assert lost.status == 404
        assert "sidewinder; error=destination_not_found" in lost.headers["proxy-status"]
        lines = proxy.log(4)
        assert [line.get("error", "") for line in lines] == ["", "", "invalid_backend", "no_route"]
        assert [line.get("flag", "") for line in lines] == ["", "", "NC", "NR"]


def test_a_request_that_is_none_is_told_too(tmp_path):
    with backend() as app, sidecar(tmp_path, snapshot(app.port)) as proxy:
        answer = raw(
            proxy.ready(), b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 400 ")
        (line,) = proxy.log(1)
        assert (line["status"], line["error"]) == (400, "bad_request")
        assert app.asked == []


def test_spans_reach_a_receiver_and_memory_stays(tmp_path):
    with backend() as app, receiver() as taken:
        retry = {"attempts": 1, "codes": [503], "backoff": 0.01}
        with sidecar(tmp_path, snapshot(app.port, retry=retry), OTLP_ENDPOINT=taken.endpoint) as proxy:
            port = proxy.ready()
            statuses = [503, 200]
            app.status = lambda path: statuses.pop(0) if path == "/twice" and statuses else 200
            parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            assert proxy.ask(port, "/twice", traceparent=parent).status == 200
            server, *clients = taken.wait(3)
            assert (server["kind"], server["parent_id"]) == (2, "00f067aa0ba902b7")
            assert {span["trace_id"] for span in (server, *clients)} == {parent[3:35]}
            assert [span["parent_id"] for span in clients] == [server["span_id"]] * 2
            assert [span["attributes"]["http.response.status_code"] for span in clients] == [503, 200]
            told = [dict(asked["headers"])["traceparent"][36:52] for asked in app.asked]
            assert told == [span["span_id"] for span in clients]
            assert server["resource"]["service.name"] == "reviews"
            unsampled = proxy.ask(port, "/", traceparent=parent[:-2] + "00").json()
            assert dict(unsampled["headers"])["traceparent"].endswith("-00")
            for _ in range(300):
                proxy.ask(port, "/many")
            taken.wait(603, 20)
            resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{proxy.process.pid}/status").read_text())
            assert int(resident[1]) < 44 * 1024, resident[0]  # 40 MB on the interpreter as shipped
            assert "sidewinder_spans_dropped_total 0\n" in proxy.metrics()
        assert len(taken.spans) == 603


def test_a_receiver_that_is_away_costs_nothing_else(tmp_path):
    away = {"OTLP_ENDPOINT": "http://127.0.0.1:9", "SPAN_QUEUE": "10"}
    with backend() as app, sidecar(tmp_path, snapshot(app.port), **away) as proxy:
        port = proxy.ready()
        assert [proxy.ask(port, "/").status for _ in range(50)] == [200] * 50
        found = re.search(r"sidewinder_spans_dropped_total (\d+)", proxy.metrics())
        assert int(found[1]) >= 80
        proxy.terminate()
        assert proxy.exit() == 0


def test_a_stalled_reader_of_the_log_stalls_nothing(tmp_path):
    reader, writer = os.pipe()
    try:
        with (
            backend() as app,
            sidecar(tmp_path, snapshot(app.port), ACCESS_LOG=f"/proc/{os.getpid()}/fd/{writer}") as proxy,
        ):
            port = proxy.ready()
            for _ in range(300):
                assert proxy.ask(port, "/" + "x" * 2000).status == 200
            assert proxy.ask(proxy.port("probe"), "/livez").status == 200
            proxy.terminate()
            assert proxy.exit() == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_doors(tmp_path):
    with backend() as app, sidecar(tmp_path, snapshot(app.port)) as proxy:
        proxy.ready()
        probe, admin = proxy.port("probe"), proxy.port("admin")
        assert proxy.ask(probe, "/livez").json() == {"status": "alive"}
        config = proxy.ask(admin, "/config").json()
        assert config["resources"]["proxy/self"]["name"] == "reviews-v1"
        assert f'sidewinder_config_info{{state="{config["state"]}"}} 1' in proxy.metrics()
        assert proxy.ask(probe, "/config").status == 404
        assert proxy.ask(admin, "/config", Host="evil.example").status == 421


def test_drain_by_a_person_keeps_accepting(tmp_path):
    with backend() as app, sidecar(tmp_path, snapshot(app.port)) as proxy:
        port = proxy.ready()
        assert proxy.ask(proxy.port("admin"), "/drain", "POST").status == 200
        unready = proxy.ask(proxy.port("probe"), "/readyz")
        assert (unready.status, unready.json()["missing"]) == (503, ["draining"])
        answer = proxy.ask(port, "/")
        assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_sigterm_finishes_what_runs_and_accepts_no_more(tmp_path):
    with backend() as app, sidecar(tmp_path, snapshot(app.port)) as proxy:
        port = proxy.ready()
        answers = []
        asking = threading.Thread(target=lambda: answers.append(proxy.ask(port, "/slow")))
        asking.start()
        proxy.wait(lambda: app.asked)
        idle = socket.create_connection(("127.0.0.1", port), 5)
        idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        proxy.terminate()
        while idle.recv(65536):  # kept alive, told to go
            pass
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            proxy.ask(port, "/")
        assert proxy.process.poll() is None
        app.release.set()
        asking.join(10)
        assert (answers[0].status, answers[0].headers["connection"]) == (200, "close")
        assert proxy.exit() == 0
        assert len(proxy.output.read_bytes().splitlines()) == 2


def test_sigterm_ends_what_does_not_end(tmp_path):
    with backend() as app, sidecar(tmp_path, snapshot(app.port), LIMIT_DRAIN_SECONDS="0.3") as proxy:
        port = proxy.ready()
        answers = []
        asking = threading.Thread(target=lambda: answers.append(proxy.ask(port, "/slow")))
        asking.start()
        proxy.wait(lambda: app.asked)
        before = time.monotonic()
        proxy.terminate()
        assert proxy.exit() == 0
        assert time.monotonic() - before < 5
        asking.join(10)
        assert answers[0].status == 503
        assert "error=destination_unavailable" in answers[0].headers["proxy-status"]
        (line,) = [json.loads(line) for line in proxy.output.read_bytes().splitlines()]
        assert line["error"] == "draining"


def test_twice_means_now(tmp_path):
    with backend() as app, sidecar(tmp_path, snapshot(app.port)) as proxy:
        port = proxy.ready()
        asking = threading.Thread(target=lambda: proxy.ask(port, "/slow"))
        asking.start()
        proxy.wait(lambda: app.asked)
        proxy.terminate()
        proxy.wait(lambda: "draining" in proxy.errors.read_text())
        proxy.process.send_signal(signal.SIGINT)
        assert proxy.exit(5) == 0
        asking.join(10)


WRONG = {
    "no file": (None, "No such file"),
    "no JSON": ("{", "no JSON object of resources"),
    "an unknown field": ({"proxy/self": {"name": "a", "namespace": "b", "speed": 1}}, "unknown field `speed`"),
    "an unknown kind": ({"sorcery/a": {}}, "not known here"),
    "no proxy": ({}, "proxy/self"),
}


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG)
def test_a_fixed_configuration_that_cannot_be_used(tmp_path, content, said):
    file = tmp_path / "s.json"
    if content is not None:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    with sidecar(tmp_path, SNAPSHOT=str(file)) as proxy:
        assert proxy.exit() == 1
        assert said in proxy.errors.read_text()
        assert "Traceback" not in proxy.errors.read_text()


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with sidecar(tmp_path, snapshot(9, port)) as proxy:
            assert proxy.exit() == 1
            assert f"127.0.0.1:{port}" in proxy.errors.read_text()
            assert "in use" in proxy.errors.read_text()
        with sidecar(tmp_path, snapshot(9), PROBE_PORT=str(port)) as proxy:
            assert proxy.exit() == 1
            assert f"SIDEWINDER_PROBE_PORT={port}" in proxy.errors.read_text()


def test_all_mistakes_before_anything_listens(tmp_path):
    with sidecar(tmp_path, snapshot(9), PROBE_PORT="x", LIMIT_PIPELINED="-1", PROBE_PROT="1") as proxy:
        assert proxy.exit() == 2
        assert [line.partition("=")[0].partition(":")[0] for line in proxy.errors.read_text().splitlines()] == [
            "SIDEWINDER_LIMIT_PIPELINED",
            "SIDEWINDER_PROBE_PORT",
            "SIDEWINDER_PROBE_PROT",
        ]


def test_arguments_are_told_that_there_are_none():
    command = [sys.executable, "-c", "from sidewinder_sidecar.main import main; main()", "serve"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "takes no arguments, not 'serve'" in ended.stderr
