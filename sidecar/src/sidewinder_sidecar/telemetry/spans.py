"""Spans of sampled calls, by OpenTelemetry's HTTP semantic conventions: one of the server's side, one client's per try.

Called by record.Recorder for sampled calls only. This module knows nothing of the SDK: the first span starts a thread
that imports it (`otlp`), so that an unsampled request costs nothing of it and the loop never waits for an import. What
does not fit the queue is dropped and counted; a receiver that is away costs nothing else.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias

from sidewinder_sidecar.messages import Call, Try
from sidewinder_sidecar.telemetry import redact
from sidewinder_sidecar.telemetry.access_log import LONGEST_AGENT, LONGEST_PATH, text

log = logging.getLogger("sidewinder.spans")

# While spans are encoded in their thread, the loop asks for the interpreter back after this long instead of 5 ms.
SWITCH_SECONDS = 0.0005

# RFC 9110 and RFC 5789: what may stand in http.request.method; anything else is _OTHER and keeps cardinality bounded
METHODS = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
}

Value: TypeAlias = str | int
Attributes: TypeAlias = dict[str, Value]


class Span(NamedTuple):
    """A span before it meets the SDK. Ids in hex, times in wall-clock nanoseconds."""

    name: str
    kind: Literal["server", "client"]
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    remote_parent: bool
    started: int
    ended: int
    failed: bool
    attributes: Attributes


class Pipeline(Protocol):
    """What exports spans: `otlp.Pipeline`."""

    @property
    def finished(self) -> int: ...  # spans that left the queue, one way or the other
    @property
    def exported(self) -> int: ...

    def offer(self, span: Span) -> None: ...
    def close(self, seconds: float) -> None: ...


class Target(NamedTuple):
    """Where spans go, and who says so."""

    endpoint: str
    headers: str
    resource: dict[str, str]


class Spans:
    """Call it once per sampled exchange. `target` is asked once, with the first span: by then the name is known."""

    __slots__ = (
        "_importing",
        "_lost",
        "_offered",
        "_pipeline",
        "_target",
        "_waiting",
        "bound",
        "dropped",
        "offset",
        "query",
    )

    def __init__(self, target: Callable[[], Target], bound: int, query: bool = False) -> None:
        self.bound = bound
        self.query = query
        self.dropped = 0
        self.offset = time.time() - time.monotonic()
        self._target = target
        self._waiting: deque[Span] = deque()
        self._offered = 0
        self._pipeline: Pipeline | None = None
        self._importing: threading.Thread | None = None
        self._lost = False

    def __call__(self, call: Call) -> None:
        """Queue the spans of an exchange."""
        spans = describe(call, self.offset, self.query)
        if self._lost or self.waiting + len(spans) > self.bound:
            self.dropped += len(spans)
            return
        self._waiting.extend(spans)
        if self._pipeline is not None:
            self._drain(self._pipeline)
        elif self._importing is None:
            sys.setswitchinterval(min(SWITCH_SECONDS, sys.getswitchinterval()))
            self._importing = threading.Thread(target=self._import, name="spans-import", daemon=True)
            self._importing.start()

    @property
    def waiting(self) -> int:
        """Spans that no receiver has taken yet."""
        finished = self._pipeline.finished if self._pipeline is not None else 0
        return len(self._waiting) + self._offered - finished

    @property
    def exported(self) -> int:
        """Spans that the receiver has taken."""
        return self._pipeline.exported if self._pipeline is not None else 0

    @property
    def lost(self) -> int:
        """Spans that nobody will see: no room, or the receiver was away for too long."""
        failed = self._pipeline.finished - self._pipeline.exported if self._pipeline is not None else 0
        return self.dropped + failed

    def tick(self) -> None:
        """Once a second: look at the wall clock, hand over what came while the SDK was imported."""
        self.offset = time.time() - time.monotonic()
        if self._pipeline is not None:
            self._drain(self._pipeline)

    def _drain(self, pipeline: Pipeline) -> None:
        while self._waiting:
            self._offered += 1
            pipeline.offer(self._waiting.popleft())

    def _import(self) -> None:
        """In its thread: the SDK and all it needs take a quarter of a second."""
        try:
            from sidewinder_sidecar.telemetry import otlp

            self._pipeline = otlp.Pipeline(self._target(), self.bound)
        except ImportError as fault:
            self._lost = True
            self.dropped += len(self._waiting)
            self._waiting.clear()
            log.error("no spans are exported: %s; install sidewinder-sidecar[tracing]", fault)

    def close(self, seconds: float) -> None:
        """Export what waits, for so long at most."""
        until = time.monotonic() + seconds
        if self._importing is not None:
            self._importing.join(seconds)
        if self._pipeline is not None:
            self._drain(self._pipeline)
            self._pipeline.close(max(0.0, until - time.monotonic()))


def describe(call: Call, offset: float, query: bool) -> list[Span]:
    """The spans of a finished, sampled call. `offset` is the wall clock's lead over the monotonic one."""
    spans = [_server(call, offset, query)]
    for number, attempt in enumerate(call.tries or ()):
        spans.append(_client(call, attempt, number, offset, query))
    return spans


def _server(call: Call, offset: float, query: bool) -> Span:
    request, peer = call.request, call.peer
    attributes, name = _both(call)
    target, _, asked = request.received.partition(b"?")
    hidden = redact.of(call.attributes)
    attributes["url.path"] = text(target[:LONGEST_PATH])
    attributes["url.scheme"] = request.scheme.decode("latin-1")
    attributes["sidewinder.listener"] = call.listener
    if query and asked:
        attributes["url.query"] = text(redact.query(asked, hidden)[:LONGEST_PATH])
    if peer.address:
        attributes["client.address"], attributes["network.peer.address"] = peer.client, peer.address
        attributes["network.peer.port"] = peer.port
    if (agent := request.fields.get(b"user-agent")) is not None:
        attributes["user_agent.original"] = text(redact.header(b"user-agent", agent, hidden)[:LONGEST_AGENT])
    if call.status:
        attributes["http.response.status_code"] = call.status
    failed = _failure(attributes, call.error, call.status, call.status >= 500)
    started, ended = _nanoseconds(call.started, offset), _nanoseconds(call.ended, offset)
    return Span(name, "server", call.trace_id, call.span_id, call.parent_id, True, started, ended, failed, attributes)


def _client(call: Call, attempt: Try, number: int, offset: float, query: bool) -> Span:
    request = call.request
    attributes, name = _both(call)
    target = redact.target(request.target, redact.of(call.attributes)) if query else request.path
    attributes["url.full"] = text(b"%b://%b%b" % (request.scheme, request.authority, target[:LONGEST_PATH]))
    attributes["network.peer.address"], attributes["network.peer.port"] = attempt.address
    attributes.setdefault("server.address", attempt.address[0])
    attributes.setdefault("server.port", attempt.address[1])
    if number:
        attributes["http.request.resend_count"] = number
    if attempt.status:
        attributes["http.response.status_code"] = attempt.status
    if call.backend:
        attributes["sidewinder.backend"] = call.backend
    failed = _failure(attributes, attempt.error, attempt.status, attempt.status >= 400)
    started, ended = _nanoseconds(attempt.started, offset), _nanoseconds(attempt.ended or call.ended, offset)
    return Span(name, "client", call.trace_id, attempt.span_id, call.span_id, False, started, ended, failed, attributes)


def _both(call: Call) -> tuple[Attributes, str]:
    """What both sides tell, and the span's name: method and, of low cardinality, the route."""
    request, route = call.request, call.route
    known = METHODS.get(request.method)
    attributes: Attributes = {
        "http.request.method": known or "_OTHER",
        "network.protocol.version": f"1.{request.minor}",
    }
    if known is None:
        attributes["http.request.method_original"] = text(request.method[:64])
    host, colon, port = request.authority.rpartition(b":")
    if not colon or port.endswith(b"]"):
        host, port = request.authority, b""
    if host:
        attributes["server.address"] = text(host.strip(b"[]"))
        attributes["server.port"] = int(port) if port.isdigit() else 443 if request.scheme == b"https" else 80
    name = known or "HTTP"
    if route is not None:
        attributes["sidewinder.route"], attributes["sidewinder.rule"] = route.name, route.rule
        name = f"{name} {route.name}"
    return attributes, name


def _failure(attributes: Attributes, error: str, status: int, bad: bool) -> bool:
    if error:
        attributes["error.type"] = error
    elif bad:
        attributes["error.type"] = str(status)
    return bool(error) or bad


def _nanoseconds(monotonic: float, offset: float) -> int:
    return int((monotonic + offset) * 1e9)
