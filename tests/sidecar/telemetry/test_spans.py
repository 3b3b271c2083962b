import sys
import threading
import time

import pytest

from sidewinder_sidecar.messages import Peer, Try
from sidewinder_sidecar.telemetry import spans
from sidewinder_sidecar.telemetry.redact import Redaction
from sidewinder_sidecar.telemetry.spans import Spans, Target, describe
from tests.support.calls import Route, call

TRACE, PARENT, OWN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7", b"b7ad6b7169203331"


def tried(number, status, error=""):
    attempt = Try((f"10.0.0.{number}", 9080), 1.0 + number / 10, b"%016x" % number)
    attempt.ended, attempt.status, attempt.error = attempt.started + 0.05, status, error
    return attempt


def sampled(**more):
    given = {"trace_id": TRACE, "parent_id": PARENT, "span_id": OWN, "sampled": True, "started": 1.0, "ended": 2.0}
    return call(b"/a?page=1&token=1", (b"user-agent", b"curl"), **(given | {"route": Route(), "status": 200} | more))


def test_the_server_span():
    (span,) = describe(sampled(), 1000.0, False)
    assert (span.name, span.kind, span.failed) == ("GET shop/reviews", "server", False)
    assert (span.trace_id, span.span_id, span.parent_id, span.remote_parent) == (TRACE, OWN, PARENT, True)
    assert (span.started, span.ended) == (1001 * 10**9, 1002 * 10**9)
    assert span.attributes == {
        "http.request.method": "GET", "network.protocol.version": "1.1", "server.address": "reviews",
        "server.port": 9080, "sidewinder.route": "shop/reviews", "sidewinder.rule": "everyone", "url.path": "/a",
        "url.scheme": "http", "sidewinder.listener": "inbound", "client.address": "192.0.2.7",
        "network.peer.address": "192.0.2.7", "network.peer.port": 40000, "user_agent.original": "curl",
        "http.response.status_code": 200,
    }  # fmt: skip


def test_the_client_and_the_connection_differ_behind_proxy_protocol():
    peer = Peer("10.0.0.9", 4000)
    peer.stands_for("203.0.113.5")
    (span,) = describe(sampled(peer=peer), 0.0, False)
    assert (span.attributes["client.address"], span.attributes["network.peer.address"]) == ("203.0.113.5", "10.0.0.9")


def test_a_client_span_per_try():
    asked = sampled(tries=[tried(1, 503), tried(2, 0, "reset"), tried(3, 200)], backend="shop/v1")
    server, *clients = describe(asked, 0.0, False)
    assert [(span.kind, span.parent_id, span.remote_parent) for span in clients] == [("client", OWN, False)] * 3
    assert [span.span_id for span in clients] == [b"%016x" % number for number in (1, 2, 3)]
    assert [span.failed for span in clients] == [True, True, False]
    assert [span.attributes.get("error.type") for span in clients] == ["503", "reset", None]
    assert [span.attributes.get("http.request.resend_count") for span in clients] == [None, 1, 2]
    assert [span.attributes.get("http.response.status_code") for span in clients] == [503, None, 200]
    assert clients[0].attributes["url.full"] == "http://reviews:9080/a"
    assert clients[0].attributes["network.peer.address"] == "10.0.0.1"
    assert not server.failed


@pytest.mark.parametrize(
    ("status", "error", "server", "client"),
    [(200, "", "", ""), (404, "", "", "404"), (500, "", "500", "500"), (503, "no_endpoints", "no_endpoints", "503")],
)
def test_what_counts_as_failed(status, error, server, client):
    first, second = describe(sampled(status=status, error=error, tries=[tried(1, status)]), 0.0, False)
    assert (first.attributes.get("error.type", ""), second.attributes.get("error.type", "")) == (server, client)
    assert (first.failed, second.failed) == (bool(server), bool(client))


def test_an_unknown_method_keeps_cardinality_bounded():
    asked = sampled(route=None)
    asked.request.method = b"BREW"
    (span,) = describe(asked, 0.0, False)
    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


def test_the_query_only_when_asked_for():
    server, client = describe(sampled(tries=[tried(1, 200)]), 0.0, True)
    assert server.attributes["url.query"] == "page=1&token=[redacted]"
    assert client.attributes["url.full"] == "http://reviews:9080/a?page=1&token=[redacted]"


def test_what_a_policy_hides_is_in_no_span():
    asked = sampled(tries=[tried(1, 200)])
    asked.attributes = {"redact": Redaction(frozenset({b"user-agent"}), frozenset({b"page"}))}
    server, client = describe(asked, 0.0, True)
    assert server.attributes["url.query"] == "page=[redacted]&token=[redacted]"
    assert client.attributes["url.full"] == "http://reviews:9080/a?page=[redacted]&token=[redacted]"
    assert server.attributes["user_agent.original"] == "[redacted]"


@pytest.mark.parametrize(
    ("authority", "address", "port"),
    [(b"[2001:db8::1]:81", "2001:db8::1", 81), (b"[2001:db8::1]", "2001:db8::1", 80), (b"a", "a", 80)],
)
def test_the_server_s_address(authority, address, port):
    asked = sampled()
    asked.request.authority = authority
    (span,) = describe(asked, 0.0, False)
    assert (span.attributes["server.address"], span.attributes["server.port"]) == (address, port)


class Pipeline:
    """An exporter in memory."""

    def __init__(self):
        self.offered = []
        self.finished = self.exported = 0

    def offer(self, span):
        self.offered.append(span)

    def close(self, seconds):
        self.finished = self.exported = len(self.offered)


@pytest.fixture
def pipelines(monkeypatch):
    """Stands for the SDK: `made` are the pipelines, `gate` holds the import."""
    from types import ModuleType

    made, gate = [], threading.Event()
    module = ModuleType("otlp")

    def pipeline(target, bound):
        assert gate.wait(5)
        made.append(Pipeline())
        return made[-1]

    module.Pipeline = pipeline
    monkeypatch.setitem(sys.modules, "sidewinder_sidecar.telemetry.otlp", module)
    monkeypatch.setattr("sidewinder_sidecar.telemetry.otlp", module, raising=False)
    return made, gate


def test_spans_wait_for_the_import_and_are_bounded(pipelines):
    made, gate = pipelines
    exporter = Spans(lambda: Target("http://x", "", {}), 10)
    for _ in range(15):
        exporter(sampled())
    assert (exporter.waiting, exporter.dropped, made) == (10, 5, [])
    gate.set()
    until = time.monotonic() + 5
    while not exporter._pipeline and time.monotonic() < until:
        time.sleep(0.005)
    exporter.tick()
    assert len(made[0].offered) == 10
    exporter(sampled())  # still nobody has taken one
    assert (exporter.waiting, exporter.lost) == (10, 6)
    made[0].finished, made[0].exported = 10, 4
    exporter(sampled())
    assert (exporter.waiting, exporter.lost, exporter.exported) == (1, 12, 4)
    exporter.close(1)
    assert (exporter.waiting, exporter.exported) == (0, 11)


def test_without_the_sdk_spans_are_lost_and_said(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "sidewinder_sidecar.telemetry.otlp", None)
    monkeypatch.delattr("sidewinder_sidecar.telemetry.otlp", raising=False)
    exporter = Spans(lambda: Target("http://x", "", {}), 10)
    exporter(sampled())
    exporter._importing.join(5)
    exporter(sampled())
    exporter.close(1)
    assert exporter.lost == 2
    assert "sidewinder-sidecar[tracing]" in caplog.text


def test_nothing_of_the_sdk_is_imported_here():
    import subprocess

    program = (
        "import sys; from sidewinder_sidecar.telemetry import record, spans; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


def test_the_loop_gets_the_interpreter_back_soon(pipelines):
    before = sys.getswitchinterval()
    try:
        exporter = Spans(lambda: Target("http://x", "", {}), 10)
        exporter(sampled())
        assert sys.getswitchinterval() <= spans.SWITCH_SECONDS * 1.01
    finally:
        sys.setswitchinterval(before)
        pipelines[1].set()
        exporter.close(5)
