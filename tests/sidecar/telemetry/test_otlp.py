import logging
import sys
import threading
import time

import pytest

from sidewinder_sidecar.telemetry import otlp
from sidewinder_sidecar.telemetry.spans import Span, Spans, Target
from tests.sidecar.telemetry.test_spans import OWN, PARENT, TRACE, sampled, tried
from tests.support.otlp import receiver

RESOURCE = {"service.name": "reviews", "service.namespace": "shop"}


@pytest.fixture(autouse=True)
def _as_it_was():
    interval, level = sys.getswitchinterval(), logging.getLogger("opentelemetry").level
    yield
    sys.setswitchinterval(interval)
    logging.getLogger("opentelemetry").setLevel(level)


def handed_over(exporter):
    """Wait for the import, and do what main does once a second."""
    until(lambda: exporter._pipeline)
    exporter.tick()


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.01)


def test_spans_reach_a_receiver_as_they_were():
    with receiver() as taken:
        exporter = Spans(lambda: Target(taken.endpoint, "x-key=a%20b, X-Other=c", RESOURCE), 100)
        before = time.time_ns()
        now = time.monotonic()
        exporter(sampled(tries=[tried(1, 503), tried(2, 200)], started=now, ended=now + 0.5))
        handed_over(exporter)
        found = taken.wait(3)
        exporter.close(5)
    server, first, second = found
    assert (server["name"], server["kind"], server["status"]) == ("GET shop/reviews", 2, 0)
    assert (server["trace_id"], server["parent_id"]) == (TRACE.decode(), PARENT.decode())
    assert [first["kind"], second["kind"]] == [3, 3]
    assert first["parent_id"] == second["parent_id"] == server["span_id"] == OWN.decode()
    assert (first["status"], second["status"]) == (2, 0)
    assert server["resource"]["service.name"] == "reviews"
    assert server["resource"]["telemetry.sdk.name"] == "opentelemetry"
    assert server["attributes"]["http.response.status_code"] == 200
    assert abs(server["start"] - before) < 10**9
    assert server["end"] - server["start"] == pytest.approx(5 * 10**8, abs=10**6)
    assert (taken.requests[0]["x-key"], taken.requests[0]["x-other"]) == ("a b", "c")
    assert taken.requests[0]["content-type"] == "application/x-protobuf"
    assert exporter.exported == 3
    assert exporter.lost == 0


def test_a_root_has_no_parent():
    with receiver() as taken:
        exporter = Spans(lambda: Target(taken.endpoint + "/v1/traces", "", RESOURCE), 100)
        exporter(sampled(parent_id=b""))
        handed_over(exporter)
        assert taken.wait(1)[0]["parent_id"] == ""
        exporter.close(5)


def test_a_receiver_that_is_away_costs_counted_spans_and_one_line(caplog):
    exporter = Spans(lambda: Target("http://127.0.0.1:9", "", RESOURCE), 4)
    for _ in range(10):
        exporter(sampled())
    handed_over(exporter)
    assert exporter.dropped == 6
    until(lambda: exporter.lost == 10)
    exporter.close(5)
    assert caplog.text.count("127.0.0.1:9 is away") == 1
    assert exporter.lost == 10
    assert exporter.exported == 0


def test_a_receiver_that_refuses(caplog):
    with receiver() as taken:
        taken.status = 400
        exporter = Spans(lambda: Target(taken.endpoint, "", RESOURCE), 100)
        exporter(sampled())
        handed_over(exporter)
        until(lambda: exporter.lost == 1)
        taken.status = 200
        exporter(sampled())
        taken.wait(1)
        until(lambda: exporter.exported == 1)
        exporter.close(5)
    told = [
        record.getMessage().rpartition(" is ")[2] for record in caplog.records if str(taken.port) in record.getMessage()
    ]
    assert told == ["away", "back"]


def test_many_go_in_batches_on_one_connection():
    with receiver() as taken:
        exporter = Spans(lambda: Target(taken.endpoint, "", RESOURCE), 2000)
        for _ in range(1000):
            exporter(sampled())
        handed_over(exporter)
        taken.wait(1000)
        exporter.close(5)
        assert len(taken.requests) < 20


def test_closing_takes_bounded_time():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = Spans(lambda: Target(f"http://127.0.0.1:{silent.getsockname()[1]}", "", {}), 100)
        exporter(sampled())
        handed_over(exporter)
        before = time.monotonic()
        exporter.close(0.3)
        assert time.monotonic() - before < 2
    # what the process's end would cut off goes on here, and draws random pauses in the middle of another test
    for thread in [one for one in threading.enumerate() if one.name in ("spans-close", "OtelBatchSpanRecordProcessor")]:
        thread.join(3 * otlp.TIMEOUT)
        assert not thread.is_alive()


def test_requests_is_never_imported():
    import subprocess

    program = (
        "import sys; from sidewinder_sidecar.telemetry.otlp import Pipeline; from sidewinder_sidecar.telemetry.spans "
        "import Target; Pipeline(Target('http://127.0.0.1:9', '', {}), 10).close(1); "
        "sys.exit('requests' in sys.modules or 'urllib3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_a_span_is_what_the_sdk_expects():
    span = Span("GET", "client", TRACE, OWN, b"", False, 1, 2, True, {"a": 1})
    assert otlp.KINDS[span.kind].name == "CLIENT"
