"""SIGTERM while exchanges stand at every point: each ends as it should, the process by itself and in time."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.support.adversary import (
    BODY,
    DRAIN,
    OK,
    READ,
    SERVE,
    STALL,
    TOLD,
    Case,
    Peer,
    Script,
    Upstream,
    answer_of,
    configuration,
    connect,
)
from tests.support.sidecar import Sidecar, sidecar

pytestmark = pytest.mark.live

GET = b"GET / HTTP/1.1\r\nHost: @\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: @\r\nContent-Length: 6\r\n\r\nabc"
WEBSOCKET = b"GET / HTTP/1.1\r\nHost: @\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SIX = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc"
TERM = "term"  # the signal comes here
SLOW = {"retry": {"attempts": 1, "codes": [503], "backoff": 3600.0, "max_backoff": 3600.0}}
DRAIN_SECONDS = 3

# How each caller stands at SIGTERM, what its upstream does then; status, whole, the log's error (None: no line).
CASES: dict[str, tuple[Script, Script, int, bool, str | None, dict[str, object]]] = {
    "idle": ((GET, TOLD, TERM, DRAIN), (SERVE,), 200, True, "", {}),
    "never-asked": ((TERM, DRAIN), (SERVE,), 0, False, None, {}),
    "in-head": ((b"GET / HTTP", TERM, GET[10:], DRAIN), (SERVE,), 200, True, "", {}),
    "in-body": ((PUT, TERM, b"def", DRAIN), (SERVE,), 200, True, "", {}),
    "in-body-for-ever": ((PUT, TERM, DRAIN), (SERVE,), 503, True, "draining", {}),
    "waiting": ((GET, TERM, DRAIN), (BODY, TERM, OK, DRAIN), 200, True, "", {}),
    "waiting-for-ever": ((GET, TERM, DRAIN), (BODY, STALL), 503, True, "draining", {}),
    "in-answer": ((GET, TOLD, TERM, DRAIN), (BODY, SIX, TERM, b"def", DRAIN), 200, True, "", {}),
    "in-answer-for-ever": ((GET, TOLD, TERM, DRAIN), (BODY, SIX, STALL), 200, False, "draining", {}),
    "tunnel": ((WEBSOCKET, READ, TERM, b"x", DRAIN), (READ, SWITCHED, TOLD, b"bye"), 101, True, "", {}),
    "tunnel-for-ever": ((WEBSOCKET, READ, TERM, DRAIN), (READ, SWITCHED, STALL), 101, True, "draining", {}),
    "backing-off": (
        (GET, TERM, DRAIN),
        (BODY, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", DRAIN),
        503, True, "draining", SLOW,
    ),
}  # fmt: skip


def halves(script: Script, name: str) -> tuple[Script, Script]:
    """What is done before the signal, and after it."""
    steps = tuple(step.replace(b"@", name.encode()) if isinstance(step, bytes) else step for step in script)
    at = steps.index(TERM) if TERM in steps else len(steps)
    return steps[:at], steps[at + 1 :]


class Ends:
    """Both ends of one case."""

    def __init__(self, name: str, port: int, upstream: Upstream, told: threading.Event) -> None:
        client, server = CASES[name][:2]
        before, after = halves(server, name)
        upstream.serve((before + after,), {len(before): told} if after else {})
        self.name = name
        self.caller = Peer(connect(port), False)
        before, after = halves(client, name)
        self.thread = threading.Thread(target=self.caller.run, args=(before + after, {len(before): told}), daemon=True)
        self.thread.start()


def everybody_stands(proxy: Sidecar, upstreams: dict[str, Upstream]) -> None:
    """All have come as far as they come before the signal."""
    asked = [name for name, case in CASES.items() if name not in ("never-asked", "in-head")]
    proxy.wait(lambda: all(any(peer.received for peer in upstreams[name].peers) for name in asked))
    running = len(asked) - 1  # all but the idle one
    proxy.wait(lambda: f"sidewinder_requests_in_flight {running}\n" in proxy.metrics())
    proxy.wait(lambda: f'sidewinder_connections{{listener="in"}} {len(CASES)}\n' in proxy.metrics())
    until = time.monotonic() + 0.3
    proxy.wait(lambda: time.monotonic() > until)  # what has been answered has arrived


def test_every_point_of_an_exchange(tmp_path: Path) -> None:
    upstreams = {name: Upstream() for name in CASES}
    made = configuration({name: Case((), rule=case[5]) for name, case in CASES.items()}, upstreams)
    told = threading.Event()
    with sidecar(tmp_path, made, LIMIT_DRAIN_SECONDS=str(DRAIN_SECONDS), LIMIT_LINGER_SECONDS="0.5") as proxy:
        port = proxy.ready()
        ends = [Ends(name, port, upstreams[name], told) for name in CASES]
        try:
            everybody_stands(proxy, upstreams)
            began = time.monotonic()
            proxy.terminate()
            proxy.wait(lambda: "draining" in proxy.errors.read_text())
            with pytest.raises(ConnectionRefusedError):
                connect(port)
            told.set()
            assert proxy.exit(DRAIN_SECONDS + 5) == 0
            assert DRAIN_SECONDS - 0.5 < time.monotonic() - began < DRAIN_SECONDS + 4
            for end in ends:
                end.thread.join(5)
        finally:
            told.set()
            for upstream in upstreams.values():
                upstream.close()
        lines = {line["authority"]: line for line in proxy.log(0)}
    for end in ends:
        _, _, status, whole, error, _ = CASES[end.name]
        seen, complete, fields = answer_of(end.caller.received, end.caller.ending)
        told_about = (end.name, end.caller.received, end.caller.ending, lines.get(end.name))
        assert seen == status, told_about
        assert status < 200 or complete == whole, told_about
        assert (error is None) == (end.name not in lines), told_about
        assert error is None or lines[end.name].get("error", "") == error, told_about
        if status == 503:
            assert "destination_unavailable" in fields["proxy-status"], told_about
    assert "Traceback" not in proxy.errors.read_text()
