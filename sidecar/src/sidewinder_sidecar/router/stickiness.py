"""A user stays on the version it met: by a cookie of ours, or by a header's value.

Chosen by the route's compilation, asked by the exchange before the split. Neither keeps any state: every replica of a
gateway, and the same one after a restart, answers alike.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import log
from typing import TYPE_CHECKING, Final, Protocol

from sidewinder_sidecar.snapshot.routes import CookieStickiness, HeaderStickiness, Stickiness

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Request
    from sidewinder_sidecar.router.route import Share

OPAQUE: Final = 9  # bytes: 12 letters without padding, and no two backends of a rule alike by chance
_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


class Sticky(Protocol):
    """`find`: the share this request belongs to, None if the split may say. `mark`: the Set-Cookie for a new one."""

    def find(self, fields: Fields) -> Share | None: ...
    def mark(self, share: Share, request: Request) -> bytes | None: ...


class Cookie:
    """The cookie's value names the backend without saying its name. A share of weight 0 is no longer known."""

    __slots__ = ("_attributes", "_name", "_shares", "_values")

    def __init__(self, spec: CookieStickiness, shares: Iterable[Share]) -> None:
        if not spec.name or not _TOKEN.issuperset(spec.name.encode()):
            raise ValueError(f"{spec.name!r} cannot name a cookie: letters, digits and -_. can")
        self._name = spec.name.encode()
        live = [share for share in shares if share.weight > 0 and share.backend is not None]
        self._shares = {opaque(share.name): share for share in live}
        self._values = {share: value for value, share in self._shares.items()}
        age = b"; Max-Age=%d" % spec.lifetime if spec.lifetime > 0 else b""
        self._attributes = b"; Path=/" + age + b"; HttpOnly; SameSite=Lax"

    def find(self, fields: Fields) -> Share | None:
        """The share that the caller's cookie names. The first known value wins."""
        if b"cookie" not in fields.index:
            return None
        for line in fields.all(b"cookie"):
            for pair in line.split(b";"):
                name, _, value = pair.partition(b"=")
                if name.strip() == self._name and (share := self._shares.get(value.strip().strip(b'"'))) is not None:
                    return share
        return None

    def mark(self, share: Share, request: Request) -> bytes | None:
        """The Set-Cookie value that makes the caller come back to `share`."""
        if (value := self._values.get(share)) is None:
            return None
        secure = b"; Secure" if request.scheme == b"https" else b""
        return self._name + b"=" + value + self._attributes + secure


class Header:
    """Weighted rendezvous: each share draws a number from (value, its name), the best by weight has it.

    A share's draw does not depend on the others. So when weights move, only users move whose best one changed: as many
    as the shares changed by. Source: Schindelhauer and Schomaker 2005, logarithmic method.
    """

    __slots__ = ("_name", "_shares")

    def __init__(self, spec: HeaderStickiness, shares: Sequence[Share]) -> None:
        self._name = spec.name.lower().encode()
        self._shares = [(share, opaque(share.name), -share.weight) for share in shares if share.weight > 0]

    def find(self, fields: Fields) -> Share | None:
        """The share of this header value; None without the header."""
        if (value := fields.index.get(self._name)) is None or not self._shares:
            return None
        return max(self._shares, key=lambda entry: draw(value, entry[1], entry[2]))[0]

    def mark(self, share: Share, request: Request) -> bytes | None:
        """A header needs no cookie."""
        return None


def opaque(name: str) -> bytes:
    """What stands for a backend in a cookie: the same in every proxy, and no name that a stranger could read."""
    return urlsafe_b64encode(blake2b(name.encode(), digest_size=OPAQUE, person=b"stickiness").digest())


def draw(value: bytes, name: bytes, negative_weight: int) -> float:
    """The rendezvous score: higher is better."""
    digest = blake2b(value, digest_size=8, key=name).digest()
    return negative_weight / log((int.from_bytes(digest, "big") + 1) / (2**64 + 1))


def sticky(spec: Stickiness | None, shares: Sequence[Share]) -> Sticky | None:
    """What a rule's stickiness compiles to. Raises ValueError for what no cookie can be."""
    match spec:
        case CookieStickiness():
            return Cookie(spec, shares)
        case HeaderStickiness():
            return Header(spec, shares)
        case None:
            return None
