"""The access log: one JSON line per exchange, encoded at once, handed to a Writer once a second or every 64 KiB.

Told by record.Recorder. The path stands without its query unless the settings ask for it: queries carry tokens. Bytes
that are no UTF-8 appear as `\\xff`. What repeats (places, hosts, agents) is quoted once and remembered:
a line costs 2 µs that way, and 5 with an encoder for all of it.

Fields of every line: time (when the request began, UTC), listener, method, authority, path, status (0: the caller left
before an answer began), duration_us, first_byte_us (of the answer, 0 for none), bytes_in and bytes_out (bodies), peer,
upstream (the endpoint last tried), user_agent, request_id, trace_id. Where they apply: route, rule, service, backend,
retries, error (the error table's key), flag (its mark), detail, identity (the caller's SPIFFE ID), policy (the rule
that decided, "<namespace>/<policy>/<rule>"; "audit:…" would have refused), query. A line of a relayed connection has
`protocol` instead of method, authority, path and status.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.messages import Call, Relayed
from sidewinder_sidecar.telemetry import redact
from sidewinder_sidecar.telemetry.writer import Writer

CHUNK: Final = 65536  # a pipe's capacity on Linux: larger ones would be cut anyway
LONGEST_PATH: Final = 2048  # what is longer helps nobody in a log and lets a stranger fill it
LONGEST_AGENT: Final = 256
REMEMBERED: Final = 1024  # quoted texts of each kind, 300 KB at worst; a stranger's inventions only empty it

_encode: Final = msgspec.json.Encoder().encode


class AccessLog:
    """Call it once per exchange; call `flush` once a second and before exit."""

    __slots__ = (
        "_agents",
        "_buffer",
        "_callers",
        "_places",
        "_prefix",
        "_second",
        "_texts",
        "dropped",
        "offset",
        "query",
        "writer",
    )

    def __init__(self, writer: Writer, query: bool = False) -> None:
        self.writer = writer
        self.query = query
        self.dropped = 0  # lines
        self.offset = 0.0  # wall clock minus monotonic clock; renewed by flush
        self._buffer = bytearray()
        self._second = 0
        self._prefix = b""
        # quoted already
        self._agents = _Quoted()
        self._texts = _Quoted()
        self._callers: dict[tuple[str, str], bytes] = {}
        self._places: dict[tuple[str, ...], bytes] = {}
        self.flush()

    def __call__(self, call: Call) -> None:
        """One line."""
        if self.writer.full:
            self.dropped += 1
            return
        buffer = self._buffer
        buffer += self.line(call)
        if len(buffer) > CHUNK:
            self._hand_over()

    def relayed(self, relayed: Relayed) -> None:
        """One line of a connection that is no exchange. It is rare enough for an encoder."""
        if self.writer.full:
            self.dropped += 1
            return
        self._buffer += _encode(self._told(relayed)) + b"\n"
        if len(self._buffer) > CHUNK:
            self._hand_over()

    def _told(self, relayed: Relayed) -> dict[str, object]:
        wall = relayed.started + self.offset
        if (second := int(wall)) != self._second:
            self._turn(second)
        peer, connected = relayed.peer, relayed.connected
        told: dict[str, object] = {
            "time": f"{self._prefix.decode()}.{int((wall - second) * 1000):03d}Z",
            "listener": relayed.listener,
            "protocol": relayed.protocol,
            "service": relayed.service,
            "backend": relayed.backend,
            "host": relayed.host,
            "duration_us": int((relayed.ended - relayed.started) * 1e6),
            "connect_us": int((connected - relayed.started) * 1e6) if connected else 0,
            "bytes_in": relayed.bytes_in,
            "bytes_out": relayed.bytes_out,
            "peer": peer.client,
            "destination": _place(peer.destination) if peer.destination is not None else "",
            "upstream": _place(relayed.address),
            "retries": relayed.retries,
            "error": relayed.error,
            "flag": TABLE[relayed.error].flag if relayed.error else "",
            "detail": relayed.detail[:512],
            "identity": peer.identity,
            "policy": relayed.decision or relayed.peer.decision,
        }
        return {name: value for name, value in told.items() if value or name in _ALWAYS}

    def line(self, call: Call) -> bytes:
        """What is told of an exchange."""
        request, route = call.request, call.route
        path, _, query = request.received.partition(b"?")
        started = call.started
        wall = started + self.offset
        second = int(wall)
        if second != self._second:
            self._turn(second)
        if route is not None:
            place = (call.listener, route.name, route.rule, call.service, call.backend)
        else:
            place = (call.listener, "", "", call.service, call.backend)
        texts = self._texts
        agent, request_id = request.fields.index.get(b"user-agent", b""), call.request_id
        if call.attributes is not None:
            hidden = redact.of(call.attributes)
            agent = redact.header(b"user-agent", agent, hidden)
            request_id = redact.header(b"x-request-id", request_id, hidden)
        rare = b""
        if call.error or call.retries or self.query or call.detail:
            rare = self._rare(call, query)
        elif call.decision or call.peer.identity:
            who = call.peer.identity, call.decision
            rare = self._callers.get(who) or self._caller(who)
        return (
            b'{"time":"%b.%03dZ"%b,"method":%b,"authority":%b,"path":%b,"status":%d,"duration_us":%d,"first_byte_us":%d,'
            b'"bytes_in":%d,"bytes_out":%d,"peer":%b,"upstream":%b,"user_agent":%b,"request_id":%b,"trace_id":"%b"%b}\n'
        ) % (
            self._prefix,
            (wall - second) * 1000,
            self._places.get(place) or self._place(place),
            texts[request.method],
            texts[request.authority],
            _encode(path[:LONGEST_PATH].decode("utf-8", "backslashreplace")),
            call.status,
            (call.ended - started) * 1e6,
            (call.first_byte - started) * 1e6 if call.first_byte else 0,
            call.bytes_in,
            call.bytes_out,
            texts[call.peer.encoded],
            _encode(_place(call.address)),  # to look up one of a thousand would take as long
            self._agents[agent],
            _encode(request_id.decode("latin-1")),
            call.trace_id,  # hex: trace.start has seen to it
            rare,
        )

    def _rare(self, call: Call, query: bytes) -> bytes:
        """What most lines do not have."""
        told: dict[str, object] = {
            "query": text(redact.query(query, redact.of(call.attributes))[:LONGEST_PATH]) if self.query else "",
            "retries": call.retries,
            "error": call.error,
            "flag": TABLE[call.error].flag if call.error else "",
            "detail": call.detail[:512],
            "identity": call.peer.identity,
            "policy": call.decision,
        }
        shown = {name: value for name, value in told.items() if value}
        return b"," + _encode(shown)[1:-1] if shown else b""

    def _place(self, place: tuple[str, ...]) -> bytes:
        if len(self._places) >= REMEMBERED:
            self._places.clear()
        names = ("listener", "route", "rule", "service", "backend")
        told = {name: value for name, value in zip(names, place, strict=True) if value or name == "listener"}
        self._places[place] = quoted = b"," + _encode(told)[1:-1]
        return quoted

    def _caller(self, who: tuple[str, str]) -> bytes:
        """Of every request with mTLS: quoted once, like places."""
        if len(self._callers) >= REMEMBERED:
            self._callers.clear()
        told = {name: value for name, value in zip(("identity", "policy"), who, strict=True) if value}
        self._callers[who] = quoted = b"," + _encode(told)[1:-1]
        return quoted

    def _turn(self, second: int) -> None:
        self._second = second
        self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()

    def flush(self) -> None:
        """Hand over what waits and look at the wall clock."""
        self.offset = time.time() - time.monotonic()
        if self._buffer:
            self._hand_over()

    def _hand_over(self) -> None:
        if not self.writer.put(bytes(self._buffer)):
            self.dropped += self._buffer.count(b"\n")
        self._buffer.clear()


def _place(address: tuple[str, int]) -> str:
    host, port = address
    if not port:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_ALWAYS: Final = frozenset({"listener", "protocol", "duration_us", "bytes_in", "bytes_out", "peer", "upstream"})


class _Quoted(dict[bytes, bytes]):
    """Raw bytes → their JSON string; forgets all when it is full."""

    __slots__ = ()

    def __missing__(self, raw: bytes) -> bytes:
        if len(self) >= REMEMBERED:
            self.clear()
        self[raw[:LONGEST_AGENT]] = quoted = _encode(text(raw[:LONGEST_AGENT]))
        return quoted


def text(raw: bytes) -> str:
    """Any bytes as text; what is no UTF-8 stays readable."""
    return raw.decode("utf-8", "backslashreplace")
