"""Where in a request a credential stands: header, query or cookie. How it is found, and how it is taken out.

Built once per provider by `provider`. A finder returns all that it finds, for two credentials are a caller's mistake
that the frame must see. A credential in a query is masked in what is logged, accepted or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from sidewinder_sidecar.messages import Request
from sidewinder_sidecar.snapshot.authentication import Source

Found: TypeAlias = "tuple[bytes, ...]"
Find: TypeAlias = Callable[[Request], Found]
Strip: TypeAlias = Callable[[Request], None]

NOTHING: Final[tuple[bytes, ...]] = ()
MASK: Final = b"redacted"


def finder(sources: tuple[Source, ...]) -> Find:
    """All credentials at these places. Raises ValueError."""
    finds = tuple(_find(source) for source in sources)
    if len(finds) == 1:
        return finds[0]

    def find(request: Request) -> Found:
        found = NOTHING
        for each in finds:
            found += each(request)
        return found

    return find


def stripper(sources: tuple[Source, ...]) -> Strip:
    """Takes what stands at these places out, so that the application does not get it."""
    strips = tuple(_strip(source) for source in sources)

    def strip(request: Request) -> None:
        for each in strips:
            each(request)

    return strip


def _find(source: Source) -> Find:
    name = source.name.encode()
    if not name:
        raise ValueError("a source of credentials needs a name")
    if source.type == "Header":
        return _in_header(name.lower(), source.prefix.encode())
    return _in_query(name) if source.type == "Query" else _in_cookie(name)


def _in_header(name: bytes, prefix: bytes) -> Find:
    """The prefix is compared as schemes are, in any case (RFC 9110 section 11.1); alone it is an empty credential.

    Several fields of that name are all returned, whatever stands in front: who knows which one the application reads.
    """
    start = prefix.rstrip(b" ").lower()
    spaced, size = start != prefix.lower(), len(start)

    def find(request: Request) -> Found:
        fields = request.fields
        if name not in fields.index:
            return NOTHING
        values = fields.all(name)
        if len(values) > 1:
            return tuple(values)
        value = values[0]
        if not size:
            return (value,)
        if value[:size].lower() != start:
            return NOTHING
        rest = value[size:]
        if not spaced:
            return (rest,)
        return (rest.lstrip(b" "),) if not rest or rest[:1] == b" " else NOTHING

    return find


def _in_query(name: bytes) -> Find:
    def find(request: Request) -> Found:
        query = request.query
        if not query:
            return NOTHING
        found = tuple(value for key, value in _parameters(query) if key == name)
        if found:
            path, _, said = request.received.partition(b"?")
            request.received = path + b"?" + b"&".join(_masked(part, name) for part in said.split(b"&"))
        return found

    return find


def _parameters(query: bytes) -> list[tuple[bytes, bytes]]:
    rows = []
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        rows.append((unquote_to_bytes(key.replace(b"+", b" ")), unquote_to_bytes(value.replace(b"+", b" "))))
    return rows


def _masked(part: bytes, name: bytes) -> bytes:
    return part.partition(b"=")[0] + b"=" + MASK if _is_named(part, name) else part


def _is_named(part: bytes, name: bytes) -> bool:
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" ")) == name


def _in_cookie(name: bytes) -> Find:
    def find(request: Request) -> Found:
        if b"cookie" not in request.fields.index:
            return NOTHING
        return tuple(
            value.strip(b' \t"') for key, value in map(_pair, _crumbs(request)) if key == name
        )  # a quoted value means the same (RFC 6265 section 4.1.1)

    return find


def _crumbs(request: Request) -> list[bytes]:
    return [crumb for value in request.fields.all(b"cookie") for crumb in value.split(b";")]


def _pair(crumb: bytes) -> tuple[bytes, bytes]:
    key, _, value = crumb.partition(b"=")
    return key.strip(), value


def _strip(source: Source) -> Strip:
    name = source.name.encode()
    if source.type == "Header":
        find, lower = _find(source), name.lower()

        def from_header(request: Request) -> None:
            if find(request):  # with another scheme it is another credential
                request.fields.remove(lower)

        return from_header
    return _from_query(name) if source.type == "Query" else _from_cookie(name)


def _from_query(name: bytes) -> Strip:
    def strip(request: Request) -> None:
        parts = request.query.split(b"&") if request.query else []
        kept = [part for part in parts if not _is_named(part, name)]
        if len(kept) != len(parts):
            path = request.target.partition(b"?")[0]
            request.query = b"&".join(kept)
            request.target = path + b"?" + request.query if kept else path

    return strip


def _from_cookie(name: bytes) -> Strip:
    def strip(request: Request) -> None:
        if b"cookie" not in request.fields.index:
            return
        crumbs = _crumbs(request)
        kept = [crumb.strip() for crumb in crumbs if _pair(crumb)[0] != name]
        if len(kept) == len(crumbs):
            return
        request.fields.remove(b"cookie")
        if rest := b"; ".join(crumb for crumb in kept if crumb):
            request.fields.add(b"cookie", b"cookie", rest)

    return strip
