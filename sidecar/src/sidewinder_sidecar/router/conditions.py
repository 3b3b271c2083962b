"""What a match asks for besides the path: headers and query parameters, as functions of the request.

Compiled by `plan/routes`, asked by the index. Of a repeated header or parameter the first value counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote_to_bytes

from sidewinder_sidecar.router import regex

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Request
    from sidewinder_sidecar.snapshot.routes import ValueMatch

Condition: TypeAlias = Callable[["Request"], bool]


def header(spec: ValueMatch) -> Condition:
    """Raises ValueError for an expression that is none."""
    name = spec.name.lower().encode()
    if spec.type == "RegularExpression":
        fullmatch = regex.compile(spec.value).fullmatch

        def matches(request: Request) -> bool:
            value = request.fields.index.get(name)
            return value is not None and fullmatch(value) is not None

        return matches
    wanted = spec.value.encode()
    return lambda request: request.fields.index.get(name) == wanted


def query(spec: ValueMatch) -> Condition:
    """Raises ValueError for an expression that is none."""
    name = spec.name.encode()
    if spec.type == "RegularExpression":
        fullmatch = regex.compile(spec.value).fullmatch

        def matches(request: Request) -> bool:
            value = parameters(request.query).get(name)
            return value is not None and fullmatch(value) is not None

        return matches
    wanted = spec.value.encode()
    return lambda request: parameters(request.query).get(name) == wanted


@lru_cache(maxsize=32)  # many matches look at one request's query: parse it once. 32 of at most a request line each
def parameters(text: bytes) -> dict[bytes, bytes]:
    """First value of each parameter, decoded as forms are: `%41` and `+`."""
    found: dict[bytes, bytes] = {}
    for pair in text.split(b"&"):
        name, _, value = pair.partition(b"=")
        found.setdefault(_decode(name), _decode(value))
    return found


def _decode(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
