"""A certificate signing request to an SVID. Called by `enrol`, and by `credentials` for our own; time is an argument.

Of the request only the public key counts: subject and names come from who the caller was verified to be. Source of
the leaf's shape: SPIFFE X.509-SVID (one URI SAN, no CA, digitalSignature), RFC 5280 and Python 3.13's strict
verification (AKI).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidewinder_operator.authority import root as roots

LONGEST_REQUEST = 16384  # bytes; a P-256 request is 500
LIFETIME = dt.timedelta(hours=24)  # renewed at a jittered half: a day's outage of the operator ends nobody
LONGEST_NAME = 64  # RFC 5280, ub-common-name; a uid has 36 characters
SEGMENT = re.compile(r"[A-Za-z0-9._-]+")  # SPIFFE-ID section 2.2: characters of a path segment


class Refused(Exception):
    """The request is not signed; the text says why and what would be right."""


class Identity(NamedTuple):
    """Who somebody was verified to be. `name` tells those of one service account apart: a pod's uid."""

    trust_domain: str
    namespace: str
    service_account: str
    name: str = ""

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


class Budget:
    """A token bucket over signatures: a storm of enrolments must not starve discovery. Seconds are monotonic."""

    __slots__ = ("_burst", "_last", "_rate", "_tokens")

    def __init__(self, rate: float = 200.0, burst: float = 400.0) -> None:
        # one core signs 4 900 a second: 200 leave it to its other work, and renew 2 000 sidecars in 10 s
        self._rate, self._burst = rate, burst
        self._tokens, self._last = burst, float("-inf")

    def take(self, now: float) -> float:
        """0.0 if one may sign now; else the seconds to wait before asking again."""
        if (wait := self.wait(now)) == 0.0:
            self._tokens -= 1
        return wait

    def wait(self, now: float) -> float:
        """The same, and nothing is taken."""
        if now > self._last:
            self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
            self._last = now
        return 0.0 if self._tokens >= 1 else (1 - self._tokens) / self._rate


def sign(
    request: bytes,
    identity: Identity,
    trust: roots.Trust,
    now: dt.datetime,
    lifetime: dt.timedelta = LIFETIME,
) -> bytes:
    """The SVID for a PEM request, as PEM. Raises Refused."""
    return roots.pem(leaf(_public_key(request), identity, trust, now, lifetime))


def leaf(
    key: ec.EllipticCurvePublicKey,
    identity: Identity,
    trust: roots.Trust,
    now: dt.datetime,
    lifetime: dt.timedelta = LIFETIME,
    names: Sequence[str] = (),
) -> x509.Certificate:
    """The SVID of a key; `names` are DNS names that it may also serve under. Raises Refused."""
    for name in (identity.namespace, identity.service_account):
        if not SEGMENT.fullmatch(name) or name in (".", ".."):
            raise Refused(f"{name!r} cannot stand in a SPIFFE ID")
    issuer = trust.signing
    # a leaf never outlives its root: it would be refused while it still looks good
    end = min(now + lifetime, issuer.certificate.not_valid_after_utc)
    if end <= now:
        raise Refused(f"the signing root expired on {issuer.certificate.not_valid_after_utc:%Y-%m-%d}: rotate it")
    called = [x509.UniformResourceIdentifier(str(identity)), *map(x509.DNSName, names)]
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(identity.name))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - roots.BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(_PURPOSES, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(called), critical=not identity.name)
        .sign(issuer.key, hashes.SHA256())
    )


def _subject(name: str) -> x509.Name:
    """RFC 5280 4.1.2.6: it may be empty, and then the names beside it are critical."""
    if len(name) > LONGEST_NAME:
        raise Refused(f"{name!r} is longer than the {LONGEST_NAME} characters that a commonName has")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])


_USAGE = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
_PURPOSES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


def _public_key(request: bytes) -> ec.EllipticCurvePublicKey:
    if len(request) > LONGEST_REQUEST:
        raise Refused(f"the request has {len(request)} bytes; {LONGEST_REQUEST} are allowed")
    try:
        parsed = x509.load_pem_x509_csr(request)
        key = parsed.public_key()
    except (ValueError, TypeError):
        raise Refused("not a PEM certificate signing request") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Refused("the key must be an EC key on P-256")
    if not parsed.is_signature_valid:
        raise Refused("the request is not signed by its own key: possession is not proved")
    return key
