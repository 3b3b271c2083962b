"""What a request is hashed by: a header, a cookie, the caller's address, a claim. Asked by `upstream/backend`.

The policy's keys in order: the first that the request has. None of them: None, and any endpoint will do.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from os import urandom
from typing import TYPE_CHECKING, Final, Protocol

from sidewinder_sidecar.claims import find, texts
from sidewinder_sidecar.snapshot.upstreams import (
    Balancing,
    ClaimKey,
    CookieKey,
    HashKey,
    HeaderKey,
    Maglev,
    RingHash,
)
from sidewinder_sidecar.upstream.balance.hashed import hashed

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Call, Peer

OPAQUE: Final = 12  # random bytes of a cookie of ours: 16 letters, and no two callers alike


class Source(Protocol):
    """One thing to hash by; None where the request does not have it."""

    def find(self, call: Call | None, peer: Peer | None) -> bytes | None: ...


class Header:
    """The first value of a header."""

    __slots__ = ("_name",)

    def __init__(self, spec: HeaderKey) -> None:
        self._name = spec.name.lower().encode()

    def find(self, call: Call | None, peer: Peer | None) -> bytes | None:
        """Its value, as it stands."""
        return None if call is None else call.request.fields.index.get(self._name)


class Address:
    """The caller's address: who is behind the connection, as far as those in front of us are believed (what
    `filters/forwarded` has found out)."""

    __slots__ = ()

    def find(self, call: Call | None, peer: Peer | None) -> bytes | None:
        """As text; a caller over a Unix socket has none, nor has who is told as `unknown`."""
        if call is not None:
            if call.attributes is not None and (client := call.attributes.get("client")) is not None:
                found: str = client
                return found.encode() or None
            peer = call.peer
        return None if peer is None else peer.encoded or None


class Claim:
    """A claim that this proxy's authentication has verified; of a list all values."""

    __slots__ = ("_name",)

    def __init__(self, spec: ClaimKey) -> None:
        self._name = spec.name

    def find(self, call: Call | None, peer: Peer | None) -> bytes | None:
        """Its values, with what no value has between them."""
        if call is None or call.attributes is None or not (claims := call.attributes.get("claims")):
            return None
        values = texts(find(claims, self._name))
        return "\0".join(values).encode("utf-8", "surrogatepass") if values else None


class Cookie:
    """A cookie's value. Who brings none is given one with the answer, and belongs to its endpoint from now on."""

    __slots__ = ("_attributes", "_name", "_start")

    def __init__(self, spec: CookieKey) -> None:
        self._name = spec.name.encode()
        self._start = self._name + b"="
        age = b"; Max-Age=%d" % spec.ttl if spec.ttl > 0 else b""
        self._attributes = b"; Path=/" + age + b"; HttpOnly; SameSite=Lax"

    def find(self, call: Call | None, peer: Peer | None) -> bytes | None:
        """What the caller brings, else what it will be given."""
        if call is None:
            return None
        fields = call.request.fields
        if b"cookie" in fields.index:
            for line in fields.all(b"cookie"):
                for pair in line.split(b";"):
                    name, _, value = pair.partition(b"=")
                    if name.strip() == self._name and (value := value.strip().strip(b'"')):
                        return value
        for cookie in call.cookies:  # a retry
            if cookie.startswith(self._start):
                return cookie[len(self._start) :].partition(b";")[0]
        value = urlsafe_b64encode(urandom(OPAQUE))
        secure = b"; Secure" if call.request.scheme == b"https" else b""
        call.cookies = (*call.cookies, self._start + value + self._attributes + secure)
        return value


class KeyMaker:
    """All sources of a policy."""

    __slots__ = ("_sources",)

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def key(self, call: Call | None, peer: Peer | None) -> int | None:
        """The hash of the first thing that is there."""
        for source in self._sources:
            if (value := source.find(call, peer)) is not None:
                return hashed(value)
        return None


def key_maker(spec: Balancing) -> KeyMaker | None:
    """What gives requests their keys; None where nothing asks for one."""
    if not isinstance(spec, RingHash | Maglev):
        return None
    return KeyMaker([source(one) for one in spec.keys])


def source(spec: HashKey) -> Source:
    """One key's source."""
    match spec:
        case HeaderKey():
            return Header(spec)
        case CookieKey():
            return Cookie(spec)
        case ClaimKey():
            return Claim(spec)
    return Address()
