"""The one way to write a path: what rules are written in, what requests are judged in, what goes to the application.

Pure; asked by `filters/path_normalization` about requests and by the operator about rules, which is why it stands here.
Two servers must not read the result differently: whatever one decodes, folds, drops or cuts off at, it is not in there.

One way to write it (RFC 3986 section 6.2.2, and a little more): what may stand for itself does, anything else is
percent-encoded with upper-case digits, no empty segment, no segment of `.` or `..`. Encoded delimiters that mean
nothing to a server (`%40`, `%2C`) stand for themselves too: an application decodes them, so a rule must see what it
sees.

Refused in any case, because servers disagree: encoded slash or backslash, a raw backslash, control bytes, `;` (some
drop what follows it in a segment), a percent sign that decoding once would make the beginning of another code, a broken
code, and what is no UTF-8.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

UNRESERVED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
PLAIN: Final = UNRESERVED + b"!$&'()*+,=:@"  # RFC 3986 pchar without `;`

_PLAIN: Final = frozenset(PLAIN)
_NEEDLESS: Final = frozenset(UNRESERVED)  # no library encodes these: who does wants not to be understood
_CUTTING: Final = frozenset(b"?#")  # a server that decodes before it looks for the query ends the path there
_CODED: Final = frozenset(b'"<>[]^`{|}')  # browsers send some of them as they are
_ODD: Final = re.compile(rb"%([0-9A-Fa-f]{2})|[^" + re.escape(PLAIN + b"/") + rb"]")
_TWICE: Final = re.compile(rb"%25[0-9A-Fa-f]{2}")
_EMPTY: Final = re.compile(rb"//+")
_DOTS: Final = re.compile(rb"/\.\.?(?=/|\Z)")
_MEANS: Final = {
    0x2F: "an encoded slash",
    0x5C: "a backslash",
    0x3B: "a semicolon",
    0x23: "a fragment",
    0x25: "a percent sign without two hexadecimal digits",
    0x20: "a space",
    0x3F: "a question mark",
}


class Unclear(ValueError):
    """The path can be read in more than one way; the text says where, and fits after "the path has"."""


def normal(path: bytes, merge: bool = True) -> bytes:
    """`path`, without its query, written that one way. Raises Unclear.

    Without `merge` what is written to be overlooked is refused instead of understood: dot segments, empty segments,
    letters, digits and dots in percent encoding; and `%3F` and `%23`, which a careless server takes for the path's end.
    """
    if path[:1] != b"/":
        raise Unclear("no slash at its beginning")
    written = _ODD.sub(_merged if merge else _strict, path)
    if _TWICE.search(written):
        raise Unclear("a percent-encoded percent code")
    if b"%" in written:
        try:
            unquote_to_bytes(written).decode()
        except UnicodeDecodeError:
            raise Unclear("bytes that are no UTF-8") from None
    if not merge:
        if b"//" in written:
            raise Unclear("an empty segment")
        if _DOTS.search(written):
            raise Unclear("a dot segment")
        return written
    written = _EMPTY.sub(b"/", written)
    return _without_dots(written) if b"/." in written else written


def _merged(found: re.Match[bytes]) -> bytes:
    """One byte that does not stand for itself, or a code."""
    if (code := found[1]) is None:
        byte = found[0][0]
        if byte in _CODED:
            return b"%%%02X" % byte
        raise Unclear(_what(byte))
    byte = int(code, 16)
    if byte in _PLAIN:
        return bytes((byte,))
    if byte in (0x2F, 0x5C, 0x3B) or byte < 0x20 or byte == 0x7F:
        raise Unclear(_what(byte))
    return found[0].upper()


def _strict(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        byte = int(found[1], 16)
        if byte in _NEEDLESS:
            raise Unclear("a percent code where none is needed")
        if byte in _CUTTING:
            raise Unclear("an encoded question mark or number sign")
    return _merged(found)


def _what(byte: int) -> str:
    return _MEANS.get(byte) or ("a control byte" if byte < 0x80 else "a byte beyond ASCII")


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4; above the root is the root."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):  # what they name is a folder
        kept.append(b"")
    return b"/" + b"/".join(kept)
