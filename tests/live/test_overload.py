"""An application that is asked for more than it can do, and messages that are too large: real processes and sockets."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from statistics import median

import pytest

from tests.support.local_mesh import Up, running

pytestmark = pytest.mark.live

HOST = "narrow.shop.localhost"
FLOOD_SECONDS = 8.0  # the limit is found in two; the rest is what is looked at
CALLERS = 40  # ten times what the application works on at once


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running("overload", tmp_path_factory.mktemp("overload")) as started:
        started.ready()
        yield started


def metric(up: Up, name: str) -> float:
    port = up.proxy("narrow")["ports"]["probe"]
    text = up.get("127.0.0.1", "/metrics", port=port).body.decode()
    found = re.search(rf"^{name}\{{[^}}]*\}} (\S+)$", text, re.MULTILINE)
    assert found is not None, f"{name} is not told"
    return float(found[1])


class Flood:
    """Callers that ask again at once; one that is refused waits a moment, as it is told to."""

    def __init__(self, up: Up, callers: int, seconds: float, priority: str = "") -> None:
        self.up = up
        self.until = time.monotonic() + seconds
        self.settled = self.until - seconds / 2
        self.fields = {"Host": HOST, **({"x-priority": priority} if priority else {})}
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.retry_after: set[str | None] = set()
        self.threads = [threading.Thread(target=self._call) for _ in range(callers)]
        for thread in self.threads:
            thread.start()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.up.port, timeout=20)
        while (began := time.monotonic()) < self.until:
            connection.request("GET", "/", headers=self.fields)
            answer = connection.getresponse()
            answer.read()
            took = time.monotonic() - began
            if began < self.settled:
                continue
            self.statuses[answer.status] += 1
            if answer.status == 200:
                self.latencies.append(took)
            else:
                self.retry_after.add(answer.getheader("retry-after"))
                time.sleep(0.05)
        connection.close()

    def wait(self) -> Flood:
        for thread in self.threads:
            thread.join()
        return self


def test_what_is_let_in_under_a_flood_is_answered_in_time_and_the_low_ones_wait(up: Up) -> None:
    low = Flood(up, CALLERS, FLOOD_SECONDS, "low")
    high = Flood(up, 2, FLOOD_SECONDS, "high")
    low.wait()
    high.wait()
    assert set(low.statuses) == {200, 503}
    assert low.retry_after == {"1"}
    assert set(high.statuses) == {200}, "what matters was never refused"
    answered = (low.statuses[200] + high.statuses[200]) / (FLOOD_SECONDS / 2)
    # 40 callers on 4 places of 20 ms would take 200 ms each, or whatever this machine makes of it; the target is 100
    assert median(low.latencies) < 0.8 * CALLERS / answered
    assert answered > 200 / 3, "4 places of 20 ms are 200 a second, on a machine of its own"
    assert metric(up, "sidewinder_adaptive_concurrency_limit") < 80, "it began at 100; 33, where callers are never late"
    assert metric(up, "sidewinder_adaptive_concurrency_running") == 0


def test_callers_that_send_slowly_shut_nobody_out(up: Up) -> None:
    room = int(metric(up, "sidewinder_adaptive_concurrency_limit"))
    head = b"POST / HTTP/1.1\r\nHost: %b\r\nx-priority: high\r\nContent-Length: 9\r\n\r\nslow" % HOST.encode()
    slow = [socket.create_connection(("127.0.0.1", up.port), timeout=20) for _ in range(room)]
    try:
        for connection in slow:
            connection.sendall(head)
        deadline = time.monotonic() + 20
        while metric(up, "sidewinder_adaptive_concurrency_running") < room - 1:
            assert time.monotonic() < deadline
        while (answer := up.get(HOST, "/")).status == 503:  # until their second is over
            assert time.monotonic() < deadline
        assert answer.status == 200
        assert metric(up, "sidewinder_adaptive_concurrency_running") < room
        slow[0].sendall(b" one.")
        assert slow[0].recv(65536).startswith(b"HTTP/1.1 200 "), "nobody was cut off"
    finally:
        for connection in slow:
            connection.close()


def raw(up: Up, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", up.port), timeout=10) as connection:
        connection.sendall(data)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            received += b"<reset>"
        return received


def test_a_body_that_tells_its_length_is_refused_before_it_is_sent(up: Up) -> None:
    told = raw(
        up, b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 65537\r\nExpect: 100-continue\r\n\r\n" % HOST.encode()
    )
    assert told.startswith(b"HTTP/1.1 413 ")
    assert b"the body has 65537 bytes, 65536 are allowed here" in told
    assert b"100 Continue" not in told


def test_one_that_does_not_is_refused_when_it_is_too_much(up: Up) -> None:
    pieces = b"".join(b"3e8\r\n" + b"x" * 1000 + b"\r\n" for _ in range(70))
    told = raw(up, b"POST / HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % HOST.encode() + pieces)
    assert told.startswith(b"HTTP/1.1 413 ")
    assert b"proxy-status: sidewinder; error=http_request_error" in told
    answer = up.get(HOST, "/", method="POST")
    assert answer.status == 200


def test_header_fields_are_limited_by_the_policy(up: Up) -> None:
    assert up.get(HOST, fields={"x-large": "x" * 7000}).status == 200
    refused = up.get(HOST, fields={"x-large": "x" * 9000})
    assert refused.status == 431
    assert b"8192 are allowed here" in refused.body


def test_an_answer_that_is_too_large_is_cut_and_never_taken_for_whole(up: Up) -> None:
    try:
        answer = up.get(HOST, "/large")
    except (http.client.IncompleteRead, ConnectionResetError):
        return
    assert answer.status == 502, "the way in was so slow that it heard of the reset before the answer"


def test_a_stranger_cannot_say_that_it_is_a_retry(up: Up) -> None:
    seen = up.get(HOST, fields={"x-sidewinder-attempt": "7", "x-mine": "1"}).json()
    assert "x-sidewinder-attempt" not in seen
    assert seen["x-mine"] == "1"
