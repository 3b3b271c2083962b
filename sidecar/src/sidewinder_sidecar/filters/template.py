"""Templates with the path's captures: `/v2/{id}` compiled once, filled per request. Used by rewrite, redirect, headers.

A capture comes from a stranger's URL. Filled into a path it can add neither query nor fragment nor a line; filled into
a header's value it can add no other header. What does not fit is percent-encoded, nothing is refused at run time.
`{{` and `}}` are literal braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

Fill: TypeAlias = Callable[[Mapping[str, str] | None], bytes]

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")

# RFC 3986 section 3.3: what a path may hold as it is, and a percent sign that begins an escape
_NOT_PATH = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]|%(?![0-9A-Fa-f]{2})")
# RFC 9110 section 5.5: a value is visible ASCII, space and tab; the rest could end the line or be read in two ways
_NOT_VALUE = re.compile(rb"[^\t\x20-\x7e]")


def _encode(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def path(template: str) -> Fill:
    """A path's template. It begins with a slash, whatever the captures hold."""
    fill = _compile(template, _NOT_PATH)

    def rooted(captures: Mapping[str, str] | None) -> bytes:
        filled = fill(captures)
        return filled if filled.startswith(b"/") else b"/" + filled

    return rooted


def value(template: str) -> Fill:
    """A header value's template."""
    fill = _compile(template, _NOT_VALUE)
    return lambda captures: fill(captures).strip(b" \t")


def names(template: str) -> tuple[str, ...]:
    """The captures a template uses. Raises ValueError for a brace without its partner."""
    return tuple(name for name in _parse(template)[1::2] if name)


def _parse(template: str) -> list[str]:
    """Literal, name, literal, name, …, literal."""
    parts = [""]
    position = 0
    for token in _TOKEN.finditer(template):
        parts[-1] += template[position : token.start()]
        position = token.end()
        if token[1]:
            parts += [token[1], ""]
        elif len(token[0]) == 2:
            parts[-1] += token[0][0]
        else:
            raise ValueError(
                f"template {template!r}: a single {token[0]} at {token.start()}; write {{name}}, or it twice"
            )
    parts[-1] += template[position:]
    return parts


def _compile(template: str, unsafe: re.Pattern[bytes]) -> Fill:
    parts = _parse(template)
    literals = [unsafe.sub(_encode, part.encode()) for part in parts[::2]]
    keys = parts[1::2]
    if not keys:
        return lambda _captures: literals[0]

    def fill(captures: Mapping[str, str] | None) -> bytes:
        pieces = [literals[0]]
        for key, literal in zip(keys, literals[1:], strict=True):
            found = captures.get(key) if captures else None
            if found:  # a group that took no part in the match is None: it fills in nothing
                pieces.append(unsafe.sub(_encode, found.encode("utf-8", "surrogateescape")))
            pieces.append(literal)
        return b"".join(pieces)

    return fill
