"""Who is at the other end of a TLS connection, as the certificate says that the handshake has verified. Pure.

Asked by `main` for discovery and for the acknowledgements between replicas. What a leaf says was decided by whoever
signed it (`authority.sign`): one SPIFFE ID, and a name that tells those of one identity apart, a pod's uid.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web


class Stranger(Exception):
    """Nobody is known by this connection; the text says why."""


class Caller(NamedTuple):
    """One verified client. `until`: seconds since 1970, when its certificate ends."""

    identity: str
    name: str
    until: float


def caller(request: web.Request) -> Caller:
    """Who asks. Raises Stranger."""
    transport = request.transport
    return read(transport.get_extra_info("peercert") if transport is not None else None)


def read(certificate: Mapping[str, Any] | None) -> Caller:
    """The caller of a certificate as `ssl` tells it, `{}` or None where there is none. Raises Stranger."""
    if not certificate:
        raise Stranger("no client certificate was shown: enrol first")
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(names) != 1 or not names[0].startswith("spiffe://"):
        raise Stranger("the client certificate has no SPIFFE ID, or several")
    common = [text for part in certificate.get("subject", ()) for field, text in part if field == "commonName"]
    until = ssl.cert_time_to_seconds(certificate["notAfter"])
    return Caller(names[0], common[0] if len(common) == 1 else "", float(until))
