"""A request's head: bytes to a Request, strictly (RFC 9112). Called by downstream/http1, which finds the head's end.

What is decided where the standard leaves a choice:
* Content-Length: digits only; a leading zero is accepted and rewritten; a repeated or listed length is refused.
* Host against an absolute target: the target wins, Host is rewritten (RFC 9112 section 3.2.2). https there is refused.
* Methods are tokens in upper case: a backend that folds case must not be fooled by "get".
* Upgrade: one protocol, HTTP/1.1, no body, not h2c, TLS or HTTP: a tunnel is asked for. Else it is served without.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from httptools import HttpParserError

from sidewinder_sidecar.errors import DownstreamError
from sidewinder_sidecar.fields import Fields, Row
from sidewinder_sidecar.http1.lines import (
    FEW,
    LENGTH_ONLY,
    LISTED,
    SMALL,
    SPECIAL,
    Seen,
    allowing,
    bad_byte,
    content_length,
    options,
    splitter,
    strip,
)
from sidewinder_sidecar.messages import Request

if TYPE_CHECKING:
    from sidewinder_sidecar.settings import Limits

_VERSION: Final = re.compile(rb"HTTP/\d\.\d")
_KNOWN: Final = frozenset((b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"CONNECT"))
_METHOD: Final = re.compile(rb"[A-Z][A-Z_-]{0,23}")
_IN_TARGET: Final = allowing(
    bytes(byte for byte in range(0x21, 0x7F) if byte != 0x23)
)  # no fragment: that never travels
_AUTHORITY: Final = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_PORT: Final = re.compile(rb":[0-9]+\Z")
_UPGRADE: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?")
_NO_TUNNEL: Final = (b"h2c", b"http/", b"tls/")

_authorities: Final[dict[bytes, bytes]] = {}  # as sent → lower case, for those that passed; emptied when full
_AUTHORITIES: Final = 1024


def fault(seen: bytes, limits: Limits, judged: int = 0) -> tuple[str, str] | None:
    """What already rules the beginning of a request's head out: (key of errors.TABLE, detail).

    The first offence by position wins, so that every split of the same bytes is answered the same. `judged` as in
    `bad_byte`.
    """
    bad = bad_byte(seen, judged)
    line = seen.find(b"\r\n")
    if (line if line >= 0 else len(seen)) > limits.request_line and bad >= limits.request_line:
        return "uri_too_long", f"the request line is longer than {limits.request_line} bytes"
    if line >= 0 and len(seen) > line + limits.header_bytes and bad >= line + limits.header_bytes:
        return "headers_too_large", f"the header fields take more than {limits.header_bytes} bytes"
    return ("bad_request", f"byte {seen[bad]:#04x} at {bad} of the head") if bad < len(seen) else None


def parse(head: bytes, limits: Limits, seen: Seen) -> tuple[Request, bool]:
    """A whole head, with its empty line; and whether the caller keeps the connection. Raises DownstreamError."""
    end = head.find(b"\r\n")
    if len(head) > SMALL and (found := fault(head, limits)):
        raise DownstreamError(*found)
    words = head[:end].split(b" ")
    if len(words) != 3:
        raise _refused(head, limits, "the request line is not a method, a target and a version")
    method, target, version = words
    if method not in _KNOWN and (method == b"PRI" or not _METHOD.fullmatch(method)):  # PRI: HTTP/2's preface
        raise _refused(head, limits, "the method is not one, in upper case")
    minor = 1 if version == b"HTTP/1.1" else 0 if version == b"HTTP/1.0" else -1
    if minor < 0:
        raise _unspoken(head, limits, version)
    if target.translate(_IN_TARGET) != target or not target:
        raise _refused(head, limits, "the target has a fragment, or a byte that is not visible ASCII")
    block = head[end:-2]
    origin = target[0] == 47 and method != b"CONNECT"  # 47: a slash
    if block == seen.block and minor and origin:
        again = Fields(seen.rows, seen.source, seen.index.copy())
        return Request(method, target, seen.text, again, seen.length), seen.keep
    try:
        rows = splitter.split(head, end)
    except HttpParserError as error:
        raise _refused(head, limits, str(error)) from None
    if len(rows) > FEW and len(rows) > limits.header_count:
        raise DownstreamError("headers_too_large", f"more than {limits.header_count} header fields")
    fields = Fields(rows, None if b"\t" in head else block)
    index = fields.index
    host = index.get(b"host")
    if len(index) != len(rows):
        _judge_repeats(rows)
    if host is None and minor:
        raise DownstreamError("bad_request", "HTTP/1.1 without a Host field")
    if origin:
        authority = b"" if host is None else _authorities.get(host) or _authority(host)
        asked = Request(method, target, authority, fields, 0)
    else:
        asked = _other_form(method, target, host, fields)
    asked.minor, asked.upgrade = minor, b"connect" if method == b"CONNECT" else b""
    if SPECIAL.isdisjoint(index):
        splitter.spent = False
        keep = minor == 1
    else:
        keep = _judge_request(asked, fields)
    plain = origin and minor and not (asked.upgrade or asked.expects_continue or fields.added)
    if plain and len(head) <= SMALL and fields.source is not None:
        seen.learn(block, fields, asked.length, keep, asked.authority)
    return asked, keep


def _refused(head: bytes, limits: Limits, detail: str) -> DownstreamError:
    """400, unless something earlier in the head is to blame."""
    return DownstreamError(*(fault(head, limits) or ("bad_request", detail)))


def _unspoken(head: bytes, limits: Limits, version: bytes) -> DownstreamError:
    if _VERSION.fullmatch(version) and fault(head, limits) is None:
        return DownstreamError("version_not_supported", f"{version.decode()} is not spoken here")
    return _refused(head, limits, "the request line does not end in HTTP/1.1 or HTTP/1.0")


def _judge_repeats(rows: list[Row]) -> None:
    names = [row[0] for row in rows]
    for name in (b"host", b"content-length", b"transfer-encoding", b"expect"):
        if names.count(name) > 1:
            raise DownstreamError("bad_request", f"more than one {name.decode()} field")


def _authority(host: bytes) -> bytes:
    """Lower case, if it is a host with an optional port and nothing else (no userinfo, not empty)."""
    if (parts := _AUTHORITY.fullmatch(host)) is None or int(parts[1] or 0) > 65535:
        raise DownstreamError("bad_request", "the host is not a name or address with an optional port")
    if len(_authorities) >= _AUTHORITIES:
        _authorities.clear()
    _authorities[host] = lower = host.lower()
    return lower


def _other_form(method: bytes, target: bytes, host: bytes | None, fields: Fields) -> Request:
    """authority-form (CONNECT), `*` (OPTIONS) and absolute-form: the target wins over Host (RFC 9112 section 3.2)."""
    if host is not None:
        _authority(host)
    if method == b"CONNECT":
        authority = _authority(target)
        if not _PORT.search(authority):
            raise DownstreamError("bad_request", "CONNECT needs host:port")
        return Request(method, target, authority, fields, 0)
    if target == b"*":
        if method != b"OPTIONS":
            raise DownstreamError("bad_request", "the target * is for OPTIONS alone")
        return Request(method, target, b"" if host is None else host.lower(), fields, 0)
    if target[:7].lower() != b"http://":
        raise DownstreamError("bad_request", "the target is neither a path nor an http:// address")
    cut = min((at for at in (target.find(b"/", 7), target.find(b"?", 7)) if at >= 0), default=len(target))
    authority, rest = target[7:cut], target[cut:]
    if rest[:1] != b"/":
        rest = b"*" if method == b"OPTIONS" and not rest else b"/" + rest
    asked = Request(method, rest, _authority(authority), fields, 0)
    asked.received = target
    if host is not None and host != authority:
        fields.rows = [(row[0], row[1], authority) if row[0] == b"host" else row for row in fields.rows]
        fields.index[b"host"] = authority
        fields.source = None
    return asked


def _judge_request(asked: Request, fields: Fields) -> bool:
    """Framing, connection and expectation of a request that speaks of them."""
    index = fields.index
    if (length := index.get(b"content-length")) is not None:
        if b"transfer-encoding" in index:
            raise DownstreamError("bad_request", "Content-Length with Transfer-Encoding")
        asked.length = content_length(length, fields)
        if asked.length is None:
            raise DownstreamError("bad_request", "Content-Length is not a number of bytes")
    if (coding := index.get(b"transfer-encoding")) is not None:
        _judge_coding(coding, asked.minor)
        asked.length = None
    if asked.method == b"CONNECT" and (length is not None or coding is not None):
        raise DownstreamError("bad_request", "CONNECT has no body")
    if (expected := index.get(b"expect")) is not None:
        if expected.lower() != b"100-continue":
            raise DownstreamError("expectation_failed", "only 100-continue can be expected")
        asked.expects_continue = asked.minor == 1 and asked.length != 0
    if LENGTH_ONLY.isdisjoint(index):
        splitter.spent = False
        return asked.minor == 1
    nominated = options(fields)
    if b"upgrade" in nominated and asked.minor and asked.length == 0 and not asked.upgrade:
        asked.upgrade = _tunnel(fields)
    trailers = any(_wants_trailers(value) for value in fields.all(b"te"))
    strip(fields, nominated, () if expected is None or asked.expects_continue else (b"expect",))
    if trailers:
        fields.add(b"te", b"TE", b"trailers")
    return b"close" not in nominated if asked.minor else b"keep-alive" in nominated


def _judge_coding(coding: bytes, minor: int) -> None:
    if not minor:
        raise DownstreamError("bad_request", "Transfer-Encoding in HTTP/1.0")
    if (lower := coding.lower()) != b"chunked":
        if LISTED.split(lower)[-1] == b"chunked" and b"chunked" not in LISTED.split(lower)[:-1]:
            raise DownstreamError("not_implemented", "no transfer coding but chunked is known")
        raise DownstreamError("bad_request", "the last transfer coding is not chunked")


def _wants_trailers(value: bytes) -> bool:
    return any(item.partition(b";")[0].strip() == b"trailers" for item in value.lower().split(b","))


def _tunnel(fields: Fields) -> bytes:
    wanted = fields.all(b"upgrade")
    protocol = wanted[0].lower() if len(wanted) == 1 else b""
    return protocol if _UPGRADE.fullmatch(protocol) and not protocol.startswith(_NO_TUNNEL) else b""
