"""The certificate the API server meets at the webhooks, and which roots it is told to trust: two state machines, pure.

`Serving` runs in every replica: each makes a certificate of its own with the mesh's root and keeps the key in memory.
`Publication` runs on the leader. Together no connection is refused:

1. What the webhooks trust grows at once (old and new roots), and shrinks only after all replicas have had the time to
   change.
2. A replica changes to a new root only when the webhooks have trusted it for a while: API servers learn of that with a
   delay.
3. Within one root a certificate is renewed long before it ends, and nobody needs to be told.

Called by `webhooks`; calls `root`. Time is an argument, as monotonic seconds, and as a date where certificates ask.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sidewinder_operator.authority.root import BACKDATED, Trust, fingerprint, pem, signed_by

LIFETIME = dt.timedelta(
    days=7
)  # renewed at half: a replica that runs for months has renewed it often enough to know how
SETTLE_SECONDS = 15.0  # API servers watch the webhooks' configurations; a second is usual
OVERLAP_SECONDS = 120.0  # every replica looks every ten seconds, and settles


class Served(NamedTuple):
    """A certificate for the webhooks' names, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuer: str  # the root's fingerprint

    def __repr__(self) -> str:
        return f"<Served by {self.issuer} until {self.certificate.not_valid_after_utc:%Y-%m-%d %H:%M}>"

    def pem(self) -> bytes:
        """Certificate and key, as TLS libraries load them."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem(self.certificate) + key


def issue(names: Sequence[str], trust: Trust, now: dt.datetime, lifetime: dt.timedelta = LIFETIME) -> Served:
    """A server's certificate for these DNS names and addresses, signed by the root that signs."""
    issuer = trust.signing
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))  # RFC 5280 4.1.2.6: empty, so the SAN is critical
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(min(now + lifetime, issuer.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_alternative, names))), critical=True)
        .sign(issuer.key, hashes.SHA256())
    )
    return Served(certificate, key, fingerprint(issuer.certificate))


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Serving:
    """One replica's certificate. `step` is called every few seconds, with what the webhooks trust as last seen."""

    def __init__(self, names: Sequence[str], lifetime: dt.timedelta = LIFETIME) -> None:
        self.served: Served | None = None
        self._names = tuple(names)
        self._lifetime = lifetime
        self._trusted_since: tuple[str, float] | None = None  # the root that will sign, and when it was seen published

    def step(self, trust: Trust, published: Iterable[x509.Certificate], now: dt.datetime, clock: float) -> bool:
        """True: `served` is new, load it."""
        signing = fingerprint(trust.signing.certificate)
        seen = signing in {fingerprint(root) for root in published}
        if not seen:
            self._trusted_since = None
        elif self._trusted_since is None or self._trusted_since[0] != signing:
            self._trusted_since = signing, clock
        if not self._due(trust, now, clock):
            return False
        self.served = issue(self._names, trust, now, self._lifetime)
        return True

    def _due(self, trust: Trust, now: dt.datetime, clock: float) -> bool:
        # 1 there is none  2 it has ended  3 same root: past half  4 another root: trusted, and settled
        if self.served is None:
            return True
        certificate = self.served.certificate
        if now >= certificate.not_valid_after_utc:
            return True
        if signed_by(certificate, trust.signing.certificate):
            return (
                now
                >= certificate.not_valid_before_utc
                + (certificate.not_valid_after_utc - certificate.not_valid_before_utc) / 2
            )
        return self._trusted_since is not None and clock - self._trusted_since[1] >= SETTLE_SECONDS


class Publication:
    """What the webhooks are told to trust. `step` is called every few seconds by the leader."""

    def __init__(self) -> None:
        self._whole_since: tuple[frozenset[str], float] | None = None  # everything of the trust is published

    def step(
        self, trust: Trust, everywhere: Iterable[x509.Certificate], anywhere: Iterable[x509.Certificate], clock: float
    ) -> bytes | None:
        """What to publish, in PEM; None when it is right as it is. Given: what all webhooks trust, and what any."""
        wanted = {fingerprint(root): root for root in trust.bundle}
        there = {fingerprint(root): root for root in anywhere}
        if not wanted.keys() <= {fingerprint(root) for root in everywhere}:
            self._whole_since = None
            return b"".join(pem(root) for root in {**wanted, **there}.values())
        now_whole = frozenset(wanted)
        if self._whole_since is None or self._whole_since[0] != now_whole:
            self._whole_since = now_whole, clock
        if there.keys() == wanted.keys() or clock - self._whole_since[1] < OVERLAP_SECONDS:
            return None
        return trust.pem()
