"""The webhooks' TLS: one context whose certificate is replaced in place. Made by `main`, used by `server`.

A handshake takes the certificate that is loaded when it begins; connections that stand are not touched, so that no
rotation refuses one. The key is never in a file system (`credentials.load`).
"""

from __future__ import annotations

import ssl

from sidewinder_operator.authority.credentials import load
from sidewinder_operator.authority.serving import Served


def context() -> ssl.SSLContext:
    """Without a certificate until `use` has given it one."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2  # Kubernetes' own least
    made.set_alpn_protocols(["http/1.1"])
    return made


def use(into: ssl.SSLContext, served: Served) -> None:
    """From the next handshake on this certificate is shown."""
    load(into, served.pem())
