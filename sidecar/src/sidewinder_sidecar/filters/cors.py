"""CORS: who may read answers from a page of another origin. Source: the Fetch standard. Made by `plan/guards`, and
for a rule by `filters`.

A preflight is answered here, before anybody asks for credentials, which it never carries; it does not reach the
application. One of an origin that may not is answered 204 as well, without the headers that would let the browser go
on: the standard has no other way to say no. Every answer, our own refusals too, bears our headers and `Vary: Origin`;
what the application says of CORS itself is replaced. Access-Control-Request-Private-Network is not granted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidewinder_sidecar.messages import Call, Reply, Response
from sidewinder_sidecar.snapshot.policies import CorsSpec

KIND: Final = "cors"
ORIGIN: Final = b"origin"
VARY: Final = b"vary"
ASKED_METHOD: Final = b"access-control-request-method"
ASKED_HEADERS: Final = b"access-control-request-headers"
ALLOW_ORIGIN: Final = b"access-control-allow-origin"
ALLOW_CREDENTIALS: Final = b"access-control-allow-credentials"
ALLOW_METHODS: Final = b"access-control-allow-methods"
ALLOW_HEADERS: Final = b"access-control-allow-headers"
EXPOSE_HEADERS: Final = b"access-control-expose-headers"
MAX_AGE: Final = b"access-control-max-age"
ANSWERS: Final = (
    ALLOW_ORIGIN, ALLOW_CREDENTIALS, ALLOW_METHODS, ALLOW_HEADERS, EXPOSE_HEADERS, MAX_AGE,
    b"access-control-allow-private-network",
)  # fmt: skip
ANY: Final = b"*"
LONGEST_ECHO: Final = 1024  # bytes of asked header names that are given back where all are allowed


def _uncounted(kind: str, action: str, policy: str) -> None:
    """A rule's filter is no policy."""


def build(spec: CorsSpec, count: Callable[[str, str, str], None] = _uncounted) -> Cors:
    """Raises ValueError for origins that would let every page read with its visitors' credentials."""
    if spec.allow_credentials and "*" in spec.allow_origins:
        raise ValueError("credentials cannot be allowed to every origin")
    return Cors(spec, count)


class Cors:
    """`apply` answers preflights, `answer` marks every answer."""

    __slots__ = (
        "_any", "_count", "_credentials", "_decision", "_expose", "_headers", "_max_age", "_methods", "_origins",
        "_policy", "_suffixes",
    )  # fmt: skip

    def __init__(self, spec: CorsSpec, count: Callable[[str, str, str], None]) -> None:
        self._count = count
        self._policy = spec.policy
        self._decision = f"{spec.policy}/cors" if spec.policy else ""
        self._any = "*" in spec.allow_origins
        self._origins = frozenset(origin.encode() for origin in spec.allow_origins)
        # "https://*.shop.example:8443" is b"https://" and b".shop.example:8443"
        self._suffixes = tuple(
            (origin[: origin.index("*")].encode(), origin[origin.index("*") + 1 :].encode())
            for origin in spec.allow_origins
            if "://*." in origin
        )
        self._credentials = spec.allow_credentials
        self._methods = b", ".join(method.encode() for method in spec.allow_methods)
        self._headers = b", ".join(name.encode() for name in spec.allow_headers)
        self._expose = b", ".join(name.encode() for name in spec.expose_headers)
        self._max_age = b"%d" % spec.max_age

    def apply(self, call: Call) -> Reply | None:
        """A preflight ends here; its headers are added by `answer`."""
        if not _is_preflight(call):
            return None
        allowed = self._allows(call.request.fields.index[ORIGIN])
        self._count(KIND, "Allow" if allowed else "Deny", self._policy)
        return Reply(204, decision=self._decision)

    def answer(self, call: Call, response: Response) -> None:
        """Ours instead of what stands there."""
        fields = response.fields
        for name in ANSWERS:
            if name in fields.index:
                fields.remove(name)
        _vary(response, b"Origin")
        origin = call.request.fields.index.get(ORIGIN)
        if origin is None or not self._allows(origin):
            return
        fields.add(ALLOW_ORIGIN, ALLOW_ORIGIN, ANY if self._any else origin)
        if self._credentials:
            fields.add(ALLOW_CREDENTIALS, ALLOW_CREDENTIALS, b"true")
        if _is_preflight(call):
            self._grant(call, response)
        elif self._expose:
            fields.add(EXPOSE_HEADERS, EXPOSE_HEADERS, self._expose)

    def _grant(self, call: Call, response: Response) -> None:
        """What the request that follows may be. With credentials `*` is a name like any other, so what was asked for
        is given back."""
        fields, asked = response.fields, call.request.fields.index
        methods, headers = self._methods, self._headers
        if methods == ANY and self._credentials:
            methods = asked[ASKED_METHOD]
            _vary(response, b"Access-Control-Request-Method")
        if headers == ANY and self._credentials:
            headers = asked.get(ASKED_HEADERS, b"")[:LONGEST_ECHO]
            _vary(response, b"Access-Control-Request-Headers")
        if methods:
            fields.add(ALLOW_METHODS, ALLOW_METHODS, methods)
        if headers:
            fields.add(ALLOW_HEADERS, ALLOW_HEADERS, headers)
        fields.add(MAX_AGE, MAX_AGE, self._max_age)

    def _allows(self, origin: bytes) -> bool:
        if self._any or origin in self._origins:
            return True
        for scheme, suffix in self._suffixes:
            if origin.startswith(scheme) and origin.endswith(suffix) and len(origin) > len(scheme) + len(suffix):
                return _is_host(origin[len(scheme) : -len(suffix)])
        return False

    def __repr__(self) -> str:
        return f"<Cors {self._policy} {len(self._origins)} origins>"


def _is_preflight(call: Call) -> bool:
    index = call.request.fields.index
    return call.request.method == b"OPTIONS" and ORIGIN in index and ASKED_METHOD in index


def _is_host(labels: bytes) -> bool:
    """What `*` stands for: labels of a host name, and not `evil.example/` or a user before an `@`."""
    return all(label and label.replace(b"-", b"a").replace(b"_", b"a").isalnum() for label in labels.split(b"."))


def _vary(response: Response, name: bytes) -> None:
    """The answer depends on that header of the request: caches must know."""
    for value in response.fields.all(VARY):
        listed = [each.strip().lower() for each in value.split(b",")]
        if name.lower() in listed or ANY in listed:
            return
    response.fields.add(VARY, b"vary", name)
