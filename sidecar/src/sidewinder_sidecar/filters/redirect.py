"""RequestRedirect: answers with a Location. Made by plan.build for a rule, called once per request of that rule.

The port, as HTTPRequestRedirectFilter has it: the one that is set; else, when a scheme is set, that scheme's well-known
port; else the one the caller came to, which its authority tells. The well-known port of the resulting scheme is left
out.
"""

from __future__ import annotations

from collections.abc import Callable

from sidewinder_sidecar.filters.path import replacement
from sidewinder_sidecar.messages import Call, Reply
from sidewinder_sidecar.snapshot.filters import Redirect

WELL_KNOWN = {b"http": b"80", b"https": b"443"}


def build(spec: Redirect, prefix: bytes) -> Callable[[Call], Reply]:
    """The filter of one RequestRedirect."""
    hostname = spec.hostname.encode("idna") if not spec.hostname.isascii() else spec.hostname.encode()
    scheme = spec.scheme.encode()
    port = str(spec.port).encode() if spec.port else b""
    replace = replacement(spec.path, prefix) if spec.path is not None else None

    def redirect(call: Call) -> Reply:
        request = call.request
        path = request.path if replace is None else replace(call)
        if not path.startswith(b"/"):  # `OPTIONS *` and CONNECT have none
            path = b"/"
        if request.query:
            path += b"?" + request.query
        to = scheme or request.scheme
        came_host, came_port = split(request.authority)
        host = hostname or came_host
        if not host:  # HTTP/1.0 without Host: relative, and never taken for another host's name
            return Reply(spec.status, fields=((b"location", b"/" + path.lstrip(b"/")),), body=b"")
        number = port or (b"" if scheme else came_port)
        where = host if not number or number == WELL_KNOWN.get(to) else host + b":" + number
        return Reply(spec.status, fields=((b"location", b"%b://%b%b" % (to, where, path)),), body=b"")

    return redirect


def split(authority: bytes) -> tuple[bytes, bytes]:
    """Host and port of an authority; an IPv6 literal keeps its brackets."""
    host, colon, port = authority.rpartition(b":")
    if not colon or port.endswith(b"]"):
        return authority, b""
    return host, port
