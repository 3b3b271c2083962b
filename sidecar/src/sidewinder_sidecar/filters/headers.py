"""RequestHeaderModifier and ResponseHeaderModifier: set, add, remove, in that order.

Made by plan.build for a rule or a backend, called once per request or response. Names that carry the message's framing,
the connection or its host belong to the proxy: a modifier of one is refused when it is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from sidewinder_sidecar.fields import Fields
from sidewinder_sidecar.filters import template
from sidewinder_sidecar.messages import Call, Response
from sidewinder_sidecar.snapshot.filters import FieldValue, RequestHeaders, ResponseHeaders

# RFC 9110 section 7.6.1 and RFC 9112: hop-by-hop, framing, and where the request goes
OWN = frozenset(
    (
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")  # RFC 9110 section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")

Edit: TypeAlias = Callable[[Fields, "dict[str, str] | None"], None]


def request(spec: RequestHeaders) -> Callable[[Call], None] | None:
    """The filter of one RequestHeaderModifier; None when it changes nothing."""
    edits = compile_edits(spec)
    if not edits:
        return None

    def modify(call: Call) -> None:
        fields, captures = call.request.fields, call.captures
        for edit in edits:
            edit(fields, captures)

    return modify


def response(spec: ResponseHeaders) -> Callable[[Call, Response], None] | None:
    """The filter of one ResponseHeaderModifier; None when it changes nothing."""
    edits = compile_edits(spec)
    if not edits:
        return None

    def modify(call: Call, answer: Response) -> None:
        fields, captures = answer.fields, call.captures
        for edit in edits:
            edit(fields, captures)

    return modify


def compile_edits(spec: RequestHeaders | ResponseHeaders) -> tuple[Edit, ...]:
    """Every change as a function. Raises ValueError for a name or value that cannot be sent."""
    edits = [_edit(field, replace=True) for field in spec.set]
    edits += [_edit(field, replace=False) for field in spec.add]
    edits += [_removal(name) for name in spec.remove]
    return tuple(edits)


def checked(name: str) -> tuple[bytes, bytes]:
    """A header's lower-case name and its name as written. Raises ValueError."""
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name[:64]!r} is no header name; letters, digits and - are")
    if name.lower() in OWN:
        raise ValueError(f"header {name!r} belongs to the proxy and cannot be modified")
    return name.lower().encode(), name.encode()


def static_value(text: str) -> bytes:
    """A header's value. Raises ValueError."""
    if not _VALUE.fullmatch(text):
        raise ValueError("a header's value holds a control character")
    return text.strip(" \t").encode()


def _edit(field: FieldValue, replace: bool) -> Edit:
    lower, name = checked(field.name)
    if field.template:
        fill = template.value(field.value)
        if replace:
            return lambda fields, captures: fields.set(lower, name, fill(captures))
        return lambda fields, captures: fields.add(lower, name, fill(captures))
    value = static_value(field.value)
    if replace:
        return lambda fields, _captures: fields.set(lower, name, value)
    return lambda fields, _captures: fields.add(lower, name, value)


def _removal(name: str) -> Edit:
    lower, _ = checked(name)
    return lambda fields, _captures: fields.remove(lower)
