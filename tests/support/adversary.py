"""Peers that follow a script on raw sockets, and a sidecar between each pair of them: who stalls, resets, ends or lies.

Every case has a service and an upstream of its own, so all cases of a module run through one process at the same time.
What a peer received is judged by h11, which is not what the sidecar parses with.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import h11

from tests.support.sidecar import Sidecar, Snapshot, sidecar

PATIENCE = 15.0  # seconds for any wait: the machine may be busy, the limits below end everything much sooner
AT_ONCE = 16  # cases
LOGGED = 5.0  # seconds until an exchange that has ended must stand in the log
LIMITS = {
    "LIMIT_HEAD_SECONDS": "1", "LIMIT_STALL_SECONDS": "1.5", "LIMIT_IDLE_SECONDS": "2.5",
    "LIMIT_LINGER_SECONDS": "0.5", "LIMIT_TUNNEL_IDLE_SECONDS": "1.5", "LIMIT_DRAIN_SECONDS": "2",
    "OTLP_ENDPOINT": "http://127.0.0.1:9",  # a receiver that is away: traces are continued, nothing else depends on it
}  # fmt: skip

# Steps of a script besides bytes, which are sent, and numbers, which are seconds to wait between two parts of a head.
READ = "read"  # until a head is whole
BODY = "body"  # until the message is whole
TOLD = "told"  # until anything comes
HALF = "half-close"
CLOSE = "close"
RESET = "reset"
STALL = "stall"  # neither read nor write; until the other end is closed or the case is over
DRAIN = "drain"  # read until the other end closes
SERVE = "serve"  # answer every request well, until the other end closes
Step = bytes | str | float
Script = tuple[Step, ...]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GOOD: Script = (SERVE,)


class Case(NamedTuple):
    """One exchange. `upstream` has a script for each connection; then they are good ones."""

    client: Script
    upstream: tuple[Script, ...] = (GOOD,)
    status: int = 200  # of the answer; 0 for none at all
    whole: bool = True  # the answer is complete
    error: str | None = ""  # the log line's; None: there is no line
    heard: bool | None = None  # the upstream has (not) got a whole request on its first connection
    tries: int | None = None  # connections that brought the upstream a head
    retries: int = 0
    rule: Mapping[str, Any] = {}  # of the route
    said: str = ""  # part of Proxy-Status, or of the log's detail where there was no answer


class Outcome(NamedTuple):
    """What came of it."""

    received: bytes
    ending: str  # "eof", "reset", "timeout", or "" when the caller left first
    heard: list[bytes]  # by upstream connection
    line: dict[str, Any] | None
    after: bytes  # the answer to the next, good request

    def tries(self) -> list[bytes]:
        """What the upstream received of this exchange, by connection."""
        mark = str((self.line or {})["request_id"]).encode()
        return [heard for heard in self.heard if mark in heard]

    def __repr__(self) -> str:
        told = (
            {name: self.line[name] for name in ("status", "error", "detail", "retries") if name in self.line}
            if self.line
            else None
        )
        heard = [part[:20] + b".." + part[-40:] for part in self.heard]
        return f"{self.received[:300]!r} {self.ending!r} {told} heard {heard} after {self.after[:20]!r}"


class Peer:
    """One end of a connection, following its script."""

    def __init__(self, connection: socket.socket, request: bool) -> None:
        self.connection = connection
        self.request = request  # whether what comes are requests
        self.received = b""
        self.ending = ""
        self.over = threading.Event()
        connection.settimeout(PATIENCE)

    def run(self, script: Script, waits: Mapping[int, threading.Event] = {}) -> None:
        """Step by step; an error of the socket ends it. `waits`: what must have happened before a step."""
        try:
            for number, step in enumerate(script):
                if number in waits:
                    waits[number].wait(PATIENCE)
                self._step(step)
        except ConnectionError:
            self.ending = "reset"
        except TimeoutError:
            self.ending = "timeout"
        finally:
            with suppress(OSError):
                self.connection.close()

    def _step(self, step: Step) -> None:
        if isinstance(step, bytes):
            self.connection.sendall(step)
        elif isinstance(step, float):
            self.over.wait(step)
        elif step == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif step == HALF:
            self.connection.shutdown(socket.SHUT_WR)
        elif step == STALL:
            self.over.wait(PATIENCE)
        elif step == SERVE:
            self._serve()
        elif step != CLOSE:
            self._read(step)

    def _serve(self) -> None:
        reader = h11.Connection(h11.SERVER)
        while data := self.connection.recv(65536):
            self.received += data
            reader.receive_data(data)
            while (event := reader.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.EndOfMessage):
                    self.connection.sendall(OK)
                    reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    reader.send(h11.EndOfMessage())
                    reader.start_next_cycle()

    def _read(self, until: str) -> None:
        before = len(self.received)
        while not self._enough(until, before):
            data = self.connection.recv(65536)
            if not data:
                self.ending = "eof"
                return
            self.received += data

    def _enough(self, until: str, before: int) -> bool:
        if until == READ:
            return b"\r\n\r\n" in self.received
        if until == BODY:
            return self.request and whole(self.received, h11.SERVER)
        return until == TOLD and len(self.received) > before


class Upstream:
    """Listens at once, accepts when its case runs."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(0.05)
        self.port: int = self.listening.getsockname()[1]
        self.peers: list[Peer] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def serve(self, scripts: tuple[Script, ...], waits: Mapping[int, threading.Event] = {}) -> None:
        """A script for each connection, then good ones. () listens no more."""
        if not scripts:
            self.listening.close()
            return
        waiting = list(scripts)

        def accept() -> None:
            while not self._over.is_set():
                with suppress(TimeoutError):
                    peer = Peer(self.listening.accept()[0], True)
                    self.peers.append(peer)
                    script = waiting.pop(0) if waiting else GOOD
                    self._start(lambda peer=peer, script=script: peer.run(script, waits))

        self._start(accept)

    def _start(self, act: Callable[[], None]) -> None:
        thread = threading.Thread(target=act, daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """No thread and no socket stays."""
        self._over.set()
        for peer in self.peers:
            peer.over.set()
            with suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self.listening.close()


def whole(received: bytes, role: type[h11.Sentinel], ended: bool = False, method: str = "GET") -> bool:
    """Is this a complete message, to somebody who did not write the sidecar's parser?"""
    return bool(messages(received, role, ended, method)[1])


def messages(
    received: bytes, role: type[h11.Sentinel], ended: bool = False, method: str = "GET"
) -> tuple[list[Any], bool]:
    """The events of the first message, and whether it is complete."""
    reader = h11.Connection(role, max_incomplete_event_size=1 << 20)
    if role is h11.CLIENT:
        reader.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
        reader.send(h11.EndOfMessage())
    reader.receive_data(received)
    if ended:
        reader.receive_data(b"")
    seen: list[Any] = []
    try:
        while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            seen.append(event)
            if isinstance(event, h11.EndOfMessage):
                return seen, True
            if isinstance(event, h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError:
        pass
    return seen, False


def answer_of(received: bytes, ending: str) -> tuple[int, bool, dict[str, str]]:
    """The final answer's status (0: none), whether it is complete, its fields."""
    if received.startswith(b"HTTP/1.1 101 "):  # what follows is no HTTP
        return 101, True, {}
    events, complete = messages(received, h11.CLIENT, ending == "eof")
    for event in events:
        if isinstance(event, h11.Response) or (
            isinstance(event, h11.InformationalResponse) and event.status_code == 101
        ):
            return event.status_code, complete, {name.decode(): value.decode() for name, value in event.headers}
    return 0, False, {}


def configuration(cases: Mapping[str, Case], upstreams: Mapping[str, Upstream]) -> Snapshot:
    """A service of its own for every case, its host the case's id."""
    made: Snapshot = {
        "proxy/self": {"name": "adversary", "namespace": "shop", "trace_percent": 0.0},
        "listener/in": {
            "name": "in", "direction": "Outbound", "address": "127.0.0.1", "port": 0, "forward_proxy": True,
        },
    }  # fmt: skip
    for name, case in cases.items():
        rule = {"name": "all", "backends": [{"backend": name}], **case.rule}
        made[f"service/{name}"] = {
            "name": name, "namespace": "shop", "port": 80, "domains": [name], "routes": [name], "backend": name,
            "any_port": True,
        }  # fmt: skip
        made[f"route/{name}"] = {"name": name, "rules": [rule]}
        made[f"backend/{name}"] = {"name": name, "endpoints": name}
        one = {"uid": "a", "address": "127.0.0.1", "port": upstreams[name].port}
        made[f"endpoints/{name}"] = {"name": name, "endpoints": [one]}
    return made


def play(proxy: Sidecar, port: int, name: str, case: Case, upstream: Upstream) -> Outcome:
    """One case; `@` in the client's bytes is its host. It calls from an address of its own, which the log tells."""
    upstream.serve(case.upstream)
    address = f"127.{upstream.port >> 8}.{upstream.port & 255}.9"
    try:
        peer = Peer(connect(port, address), False)
        peer.run(tuple(named(step, name) if isinstance(step, bytes) else step for step in case.client))
        after = b""
        if case.upstream:
            good = Peer(connect(port), False)
            good.run((b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % name.encode(), DRAIN))
            after = good.received
        heard = [each.received for each in upstream.peers]
        line = None if case.error is None else logged(proxy, address)
        return Outcome(peer.received, peer.ending, heard, line, after)
    finally:
        upstream.close()


def named(step: bytes, name: str) -> bytes:
    """`@` is the case's host, `@@` an at sign."""
    return b"@".join(part.replace(b"@", name.encode()) for part in step.split(b"@@"))


def connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE, (address, 0))


def logged(proxy: Sidecar, address: str) -> dict[str, Any] | None:
    """The access log's first line on a caller, if there is one; the log is written once a second."""

    def find() -> dict[str, Any] | None:
        return next((line for line in proxy.log(0) if line["peer"] == address), None)

    until = time.monotonic() + LOGGED
    while (found := find()) is None and time.monotonic() < until:
        time.sleep(0.05)
    return found


def sockets(pid: int) -> int:
    """Open sockets of a process."""
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            count += os.readlink(entry).startswith("socket:")
    return count


def gauge(proxy: Sidecar, name: str) -> float:
    """A metric, all its label sets together."""
    return sum(float(found) for found in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", proxy.metrics(), re.MULTILINE))


def settle(proxy: Sidecar, rest: int) -> None:
    """Nothing is left over: no request, no connection, no socket, no bug."""
    proxy.wait(lambda: sockets(proxy.process.pid) <= rest, PATIENCE)
    assert gauge(proxy, "sidewinder_requests_in_flight") == 0
    assert gauge(proxy, "sidewinder_connections") == 0
    assert gauge(proxy, "sidewinder_bugs_total") == 0
    assert gauge(proxy, "sidewinder_background_deaths_total") == 0
    assert "Traceback" not in proxy.errors.read_text()


@contextmanager
def played(folder: Path, cases: Mapping[str, Case]) -> Iterator[dict[str, Outcome]]:
    """All cases through one process, which has nothing left over in the end."""
    upstreams = {name: Upstream() for name in cases}
    with sidecar(folder, configuration(cases, upstreams), **LIMITS) as proxy:
        port = proxy.ready()
        proxy.metrics()
        until = time.monotonic() + 0.3
        proxy.wait(lambda: time.monotonic() > until)  # the questions above have left
        rest = sockets(proxy.process.pid)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            running = {
                name: pool.submit(play, proxy, port, name, case, upstreams[name]) for name, case in cases.items()
            }
        yield {name: done.result() for name, done in running.items()}
        settle(proxy, rest)
        proxy.terminate()
        assert proxy.exit() == 0


def judge(case: Case, outcome: Outcome) -> None:
    """Is it what the case says?"""
    status, complete, fields = answer_of(outcome.received, outcome.ending)
    assert outcome.ending != "timeout", outcome
    assert status == case.status, outcome
    if status >= 200:
        assert complete == case.whole, outcome
    if case.error is not None:
        assert outcome.line is not None, outcome
        assert outcome.line.get("error", "") == case.error, outcome
        assert outcome.line.get("retries", 0) == case.retries, outcome
        assert case.said in (fields.get("proxy-status", "") + str(outcome.line.get("detail", ""))), outcome
    if case.error and status >= 400:
        assert fields["proxy-status"].startswith("sidewinder; error="), outcome
        assert 'details="' in fields["proxy-status"], outcome
    if case.heard is not None:
        assert any(whole(heard, h11.SERVER) for heard in outcome.tries()) == case.heard, outcome
    if case.tries is not None:
        assert len(outcome.tries()) == case.tries, outcome
    if case.upstream:
        assert outcome.after.startswith(b"HTTP/1.1 200"), outcome
