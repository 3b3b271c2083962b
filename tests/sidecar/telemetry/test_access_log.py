import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.messages import Peer, Relayed
from sidewinder_sidecar.telemetry import access_log
from sidewinder_sidecar.telemetry.access_log import AccessLog
from sidewinder_sidecar.telemetry.redact import Redaction
from tests.support.calls import Route, call


class Kept:
    """A writer in memory."""

    def __init__(self):
        self.chunks = []
        self.full = False

    def put(self, chunk):
        if not self.full:
            self.chunks.append(chunk)
        return not self.full

    def lines(self):
        return [json.loads(line) for line in b"".join(self.chunks).splitlines()]


def logged(asked, **more):
    kept = Kept()
    log = AccessLog(kept, **more)
    log(asked)
    log.flush()
    (line,) = kept.lines()
    return line


def test_all_of_it():
    began = time.monotonic()
    line = logged(
        call(
            b"/a/b?token=secret",
            (b"User-Agent", b"curl/8"),
            peer=Peer("192.0.2.7", 4000, identity="spiffe://x/ns/a/sa/b"),
            route=Route(),
            service="shop/reviews",
            backend="shop/v1",
            address=("10.0.0.1", 9080),
            status=503,
            error="no_endpoints",
            detail="none ready",
            retries=1,
            bytes_in=3,
            bytes_out=4,
            request_id=b"id-1",
            trace_id=b"4bf9",
            started=began,
            first_byte=began + 0.25,
            ended=began + 0.5,
        )
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "listener": "inbound", "method": "GET", "path": "/a/b", "status": 503, "duration_us": 500_000,
        "authority": "reviews:9080", "first_byte_us": 250_000, "flag": "UH", "error": "no_endpoints",
        "detail": "none ready", "route": "shop/reviews", "rule": "everyone", "service": "shop/reviews",
        "backend": "shop/v1", "upstream": "10.0.0.1:9080", "retries": 1, "bytes_in": 3, "bytes_out": 4,
        "peer": "192.0.2.7", "identity": "spiffe://x/ns/a/sa/b", "user_agent": "curl/8", "request_id": "id-1",
        "trace_id": "4bf9",
    }  # fmt: skip


@pytest.mark.parametrize(("error", "status"), [("", 200), ("denied", 403)], ids=["let in", "refused"])
def test_who_called_and_what_decided(error, status):
    """Of a request with mTLS that went well the two are quoted once; they are the same where more is to be told."""
    spiffe, rule = "spiffe://cluster.local/ns/shop/sa/web", "shop/zero-trust/pages-read"
    line = logged(call(peer=Peer(identity=spiffe), decision=rule, error=error, status=status))
    assert (line["identity"], line["policy"]) == (spiffe, rule)
    nobody = logged(call(decision="audit:shop/zero-trust/defaultAction"))
    assert "identity" not in nobody
    assert nobody["policy"] == "audit:shop/zero-trust/defaultAction"
    assert "policy" not in logged(call(peer=Peer(identity=spiffe)))


def test_what_decided_on_a_connection():
    kept = Kept()
    log = AccessLog(kept)
    relayed = Relayed("inbound", Peer("192.0.2.7"), 1.0)
    relayed.error, relayed.decision = "denied", "shop/zero-trust/defaultAction"
    log.relayed(relayed)
    log.flush()
    assert kept.lines()[0]["policy"] == "shop/zero-trust/defaultAction"


def test_what_does_not_apply_is_left_out():
    always = {
        "time", "listener", "method", "authority", "path", "status", "duration_us", "first_byte_us", "bytes_in",
        "bytes_out", "peer", "upstream", "user_agent", "request_id", "trace_id",
    }  # fmt: skip
    assert set(logged(call(status=200))) == always


def test_what_is_remembered_is_bounded():
    log = AccessLog(Kept())
    for number in range(access_log.REMEMBERED * 2 + 10):
        log(call(authority=b"host-%d" % number, service=f"service-{number}"))
    assert len(log._texts) <= access_log.REMEMBERED
    assert len(log._places) <= access_log.REMEMBERED


def test_the_query_only_when_asked_for():
    assert "query" not in logged(call(b"/a?b=1"))
    assert logged(call(b"/a?b=1"), query=True)["query"] == "b=1"


def test_the_path_is_what_the_caller_asked_for():
    asked = call(b"/old?x")
    asked.request.target, asked.request.path = b"/new?x", b"/new"
    assert logged(asked)["path"] == "/old"


def test_the_time_is_the_wall_clock(monkeypatch):
    line = logged(call(started=time.monotonic()))
    parsed = time.strptime(line["time"][:19] + " UTC", "%Y-%m-%dT%H:%M:%S %Z")
    import calendar

    assert abs(calendar.timegm(parsed) - time.time()) < 60


@pytest.mark.parametrize(
    ("raw", "shown"),
    [(b'/"\\', '/"\\'), (b"/\r\n\0", "/\r\n\0"), (b"/\xff\xc3\xa9", "/\\xffé"), (b"/" + b"x" * 9000, "/" + "x" * 2047)],
)
def test_a_line_is_one_object_whatever_it_holds(raw, shown):
    assert logged(call(raw))["path"] == shown


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=50))
def test_any_bytes(path, agent, detail):
    detail = detail.encode("utf-8", "ignore").decode()
    line = logged(call(path, (b"user-agent", agent), method=path[:9], authority=agent, detail=detail, request_id=agent))
    assert line["status"] == 0


def test_lines_go_on_their_way_in_chunks():
    kept = Kept()
    log = AccessLog(kept)
    for _ in range(1000):
        log(call(b"/" + b"x" * 200))
    assert kept.chunks
    assert all(len(chunk) < access_log.CHUNK + 1000 for chunk in kept.chunks)
    log.flush()
    assert len(kept.lines()) == 1000
    assert log.dropped == 0


def test_a_reader_who_stalls_costs_lines_that_are_counted():
    kept = Kept()
    log = AccessLog(kept)
    log(call())
    kept.full = True
    log.flush()
    log(call())
    log.flush()
    kept.full = False
    log(call())
    log.flush()
    assert (log.dropped, len(kept.lines())) == (2, 1)


def told_of(relayed):
    kept = Kept()
    log = AccessLog(kept)
    log.relayed(relayed)
    log.flush()
    (line,) = kept.lines()
    return line


def test_a_relayed_connection_has_a_line_of_its_own_kind():
    began = time.monotonic()
    peer = Peer("10.1.0.5", 4000)
    peer.destination = ("fd00:96::7", 5432)
    relayed = Relayed("outbound", peer, began)
    relayed.protocol, relayed.host, relayed.address = "TLS", "db.example", ("10.0.0.1", 5432)
    relayed.service, relayed.backend = "shop/db:5432", "shop/db"
    relayed.connected, relayed.ended = began + 0.25, began + 2
    relayed.bytes_in, relayed.bytes_out, relayed.retries = 3, 4, 1
    relayed.error, relayed.detail = "idle", "nothing moved"
    line = told_of(relayed)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "listener": "outbound", "protocol": "TLS", "service": "shop/db:5432", "backend": "shop/db",
        "host": "db.example", "duration_us": 2_000_000, "connect_us": 250_000, "bytes_in": 3, "bytes_out": 4,
        "peer": "10.1.0.5", "destination": "[fd00:96::7]:5432", "upstream": "10.0.0.1:5432", "retries": 1,
        "error": "idle", "flag": "SI", "detail": "nothing moved",
    }  # fmt: skip


def test_what_there_is_nothing_to_say_about_is_left_out():
    line = told_of(Relayed("inbound", Peer(), time.monotonic()))
    assert set(line) == {"time", "listener", "protocol", "duration_us", "bytes_in", "bytes_out", "peer", "upstream"}


def test_a_query_that_is_shown_shows_no_token():
    line = logged(call(b"/a?page=2&access_token=s3cret", status=200), query=True)
    assert line["query"] == "page=2&access_token=[redacted]"


def test_what_a_policy_hides_is_not_told():
    asked = call(b"/a?email=ada@example", (b"User-Agent", b"ada's own"), status=200, request_id=b"id-1")
    asked.attributes = {"redact": Redaction(frozenset({b"user-agent"}), frozenset({b"email"}))}
    line = logged(asked, query=True)
    assert (line["query"], line["user_agent"], line["request_id"]) == ("email=[redacted]", "[redacted]", "id-1")


def test_who_calls_is_whom_a_proxy_protocol_header_names():
    relayed = Relayed("inbound", Peer("10.0.0.9", 4000), time.monotonic())
    relayed.peer.stands_for("203.0.113.5")
    assert told_of(relayed)["peer"] == "203.0.113.5"


def test_a_relayed_connection_that_passed_says_by_which_rule():
    relayed = Relayed("inbound", Peer("10.0.0.9", 4000), time.monotonic())
    relayed.peer.decision = "audit:shop/trial/no-strangers"
    assert told_of(relayed)["policy"] == "audit:shop/trial/no-strangers"
    relayed.decision = "shop/zero-trust/defaultAction"
    assert told_of(relayed)["policy"] == "shop/zero-trust/defaultAction"
