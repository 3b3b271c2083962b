"""What TLS is spoken with: our certificate and the roots we trust, as OpenSSL's contexts. Made for `keyring`.

Between proxies: TLS 1.3 alone, both sides with a certificate, chains to a root of the bundle judged strictly (Python
3.13's defaults). Host names are not looked at there: a SPIFFE ID is, by `certificate`. To hosts outside: ordinary TLS,
1.2 at least, with the host's name.

No sessions are resumed: a resumed handshake judges no chain, so it would outlive a root that was taken away. It would
save 0.35 ms of 0.8 on either side, once per connection, on which thousands of requests are sent.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

from sidewinder_sidecar.tls import certificate
from sidewinder_sidecar.tls.certificate import Unfit

H1: Final = "sidewinder/h1"
TCP: Final = "sidewinder/tcp"
OURS: Final = (H1, TCP)  # by ALPN: no application offers these
STRICT: Final = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN  # Python 3.13's defaults, on every version


class Undecoded(ssl.SSLObject):
    """uvloop has every peer's certificate decoded into a dict that it keeps, 1.3 KB and 8 µs; nobody reads it."""

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The DER; else nothing."""
        return super().getpeercert(True) if binary_form else {}


class Credentials:
    """An identity in use: who we are, and the contexts that say so. `epoch` tells one certificate from the next."""

    __slots__ = ("epoch", "h1", "not_after", "not_before", "server", "spiffe_id", "tcp", "trust_domain")

    def __init__(self, pair: tuple[str, str], bundle: str, epoch: int) -> None:
        """`pair` are the files of certificate and key, `bundle` the text of the roots. Raises Unfit, OSError."""
        leaf = own(pair[0])
        self.epoch = epoch
        self.spiffe_id = leaf.spiffe_id
        self.trust_domain = leaf.trust_domain
        self.not_before = leaf.not_before
        self.not_after = leaf.not_after
        self.server = _mutual(ssl.PROTOCOL_TLS_SERVER, pair, bundle, OURS)
        self.server.num_tickets = 0
        self.h1 = _mutual(ssl.PROTOCOL_TLS_CLIENT, pair, bundle, (H1,))
        self.tcp = _mutual(ssl.PROTOCOL_TLS_CLIENT, pair, bundle, (TCP,))

    def __repr__(self) -> str:
        return f"<Credentials {self.spiffe_id} epoch {self.epoch}>"


def own(path: str) -> certificate.Leaf:
    """What our own certificate says: the first in its file. Raises Unfit, OSError."""
    with open(path, encoding="ascii", errors="replace") as file:
        text = file.read(1 << 20)
    begin, _, _ = text.partition("-----END CERTIFICATE-----")
    try:
        der = ssl.PEM_cert_to_DER_cert(f"{begin[begin.find('-----BEGIN') :]}-----END CERTIFICATE-----")
    except ValueError as fault:
        raise Unfit(f"{path}: no certificate in PEM: {fault}") from None
    try:
        return certificate.read(der)
    except Unfit as fault:
        raise Unfit(f"{path}: {fault}") from None


def _mutual(side: int, pair: tuple[str, str], bundle: str, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the SPIFFE ID is the name, and is looked at by us
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= STRICT
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(*pair, password=_nobody_types)
    context.load_verify_locations(cadata=bundle)
    context.set_alpn_protocols(list(protocols))
    context.sslobject_class = Undecoded
    return context


def _nobody_types() -> str:
    raise OSError(0, "the key is encrypted")  # else OpenSSL asks on the terminal


def outside(trust: str) -> ssl.SSLContext:
    """For hosts that are none of ours; `trust` is PEM, or "" for the system's roots. Raises ssl.SSLError."""
    context = ssl.create_default_context(cadata=trust or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context
