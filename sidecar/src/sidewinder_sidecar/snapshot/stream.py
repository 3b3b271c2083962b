"""The discovery stream's messages: one JSON object a line, one key that says which (`operator.md`, Discovery).

S→C: begin, set, drop, commit, unknown, retired, ping, goodbye. C→S: hello, want, ack, nack, seen, released, trusts,
stale, health, resigned, drained, pong. A transaction is begin, sets, drops, commit: applied whole or not at all; one is
outstanding at a time. Numbers live per stream. What is not known is refused: the stream closes with the reason, the
last good configuration serves on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

LAGGING = "an older generation than the one that is held"  # why a nack says that the server is behind, not wrong
MOST_EJECTED = 64  # endpoints that one client tells of, 10 KB: a person looks at a few of them
LONGEST_LINE = 4 << 20  # bytes; one resource is one line: 10 000 endpoints are 1.5 MB


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A client's first line: what it can do and what it has. `epoch` counts its connections."""

    capabilities: tuple[str, ...] = ()
    build: str = ""
    epoch: int = 0
    has: dict[str, str] = {}
    state: str = ""


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Transaction `begin` would lead to `state`."""

    begin: int
    state: str


class Set(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A resource's new body. `of`: uid and generation of the object it comes from, where there is one."""

    set: str
    version: str
    body: msgspec.Raw
    of: tuple[str, int] | None = None


class Drop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A resource is gone."""

    drop: str


class Commit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Apply what came since `begin`."""

    commit: int


class Unknown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was wanted and is not there; need not be asked for again within `seconds`. What exists comes as a change."""

    unknown: tuple[str, ...]
    seconds: float = 30.0


class Retired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nobody sends anything new to this pod: all who knew it have acknowledged that it goes. `retired` is the last
    transaction that it acknowledged."""

    retired: int


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Either side asks; three missed close."""

    ping: int


class Pong(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to a ping."""

    pong: int


class Goodbye(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Reconnect within `after_ms`, then close the old stream."""

    goodbye: str
    after_ms: int = 0


class Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line that carries a Hello."""

    hello: Hello


class Want(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First calls to what the sidecar does not know: `ip:port`, `[ip]:port` or an authority. Holds while the stream
    lives."""

    want: tuple[str, ...]


class Ack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The plan is swapped; new requests use it."""

    ack: int
    state: str


class Nack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Refused whole; `state` is what still serves."""

    nack: int
    state: str
    resource: str = ""
    field: str = ""
    why: str


class Ejected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An endpoint that the client leaves alone: `state` is its breaker's, times are seconds since 1970."""

    endpoint: Annotated[str, msgspec.Meta(max_length=64)]  # [ip]:port of IPv6 is 47
    state: Literal["open", "half-open"]
    since: float
    until: float
    why: Annotated[str, msgspec.Meta(max_length=256)] = ""


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which endpoints the client leaves alone, by backend, `MOST_EJECTED` at most; all of them each time."""

    seen: dict[str, tuple[Ejected, ...]]


class Released(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No running exchange uses anything older than this transaction."""

    released: int


class Trusts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The roots that the client trusts, the one that signs now first, each by the first 16 hex digits of its SHA-256;
    and whether that one has signed the client's own certificate. Told when it comes, and when it changes."""

    trusts: tuple[str, ...]
    renewed: bool = False


class Stale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Resources that may be out of date: a token names a key that `keys/…` lacks. The operator asks the issuer anew,
    as often as it sees fit."""

    stale: tuple[str, ...]


class Health(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the client has found out of the endpoints that it checks (`checks.key`): well or not, None for what it does
    not know any more. All of it after a hello, then what changes. Only who was given an endpoint is believed."""

    health: dict[str, bool | None]


class Resigned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Service's last resort ends all the same, `resigned` seconds after it began to leave: nobody is to be told of it
    any more, and it waits a moment for that."""

    resigned: Annotated[float, msgspec.Meta(ge=0)]


class Drained(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The client's process ends, and this is its last word: `drained` seconds after it was told to stop, `leaving`
    seconds after it began to leave. `retired`: after how many of these nobody sent anything new; 0.0: nobody said so.
    What it waited for is what ran when it was told to stop, `upgraded` and `relayed` among the `requests`."""

    drained: Annotated[float, msgspec.Meta(ge=0)]
    leaving: Annotated[float, msgspec.Meta(ge=0)]
    retired: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    requests: Annotated[int, msgspec.Meta(ge=0)] = 0
    upgraded: Annotated[int, msgspec.Meta(ge=0)] = 0  # WebSockets and the like, CONNECT tunnels
    relayed: Annotated[int, msgspec.Meta(ge=0)] = 0  # connections that are no HTTP
    connections: Annotated[int, msgspec.Meta(ge=0)] = 0
    cut_requests: Annotated[int, msgspec.Meta(ge=0)] = 0  # which did not end in time
    cut_connections: Annotated[int, msgspec.Meta(ge=0)] = 0


ToClient: TypeAlias = Begin | Set | Drop | Commit | Unknown | Retired | Ping | Pong | Goodbye
ToServer: TypeAlias = (
    Greeting | Want | Ack | Nack | Seen | Released | Trusts | Stale | Health | Resigned | Drained | Ping | Pong
)

_TO_CLIENT: dict[str, type[ToClient]] = {
    "begin": Begin, "set": Set, "drop": Drop, "commit": Commit, "unknown": Unknown,
    "retired": Retired, "ping": Ping, "pong": Pong, "goodbye": Goodbye,
}  # fmt: skip
_TO_SERVER: dict[str, type[ToServer]] = {
    "hello": Greeting, "want": Want, "ack": Ack, "nack": Nack, "seen": Seen,
    "released": Released, "trusts": Trusts, "stale": Stale, "health": Health, "drained": Drained,
    "resigned": Resigned, "ping": Ping, "pong": Pong,
}  # fmt: skip
_ENCODER = msgspec.json.Encoder()


class Malformed(ValueError):
    """A line that is no message; says which and why."""


def encode(message: ToClient | ToServer) -> bytes:
    """One line, with its newline."""
    return _ENCODER.encode(message) + b"\n"


def to_client(line: bytes) -> ToClient:
    """A line from the server. Raises Malformed."""
    message: ToClient = _parse(line, _TO_CLIENT)
    return message


def to_server(line: bytes) -> ToServer:
    """A line from a client. Raises Malformed."""
    message: ToServer = _parse(line, _TO_SERVER)
    return message


def _parse(line: bytes, kinds: dict[str, Any]) -> Any:
    try:
        first = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Malformed(f"not a JSON object: {fault}") from None
    for key in first:
        if key in kinds:
            try:
                return msgspec.json.decode(line, type=kinds[key])
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
                raise Malformed(f"{key}: {fault}") from None
    raise Malformed(f"no known message among {sorted(first)[:4]}; known are {sorted(kinds)}")
