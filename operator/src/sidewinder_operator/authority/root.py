"""Roots and the trust bundle: made, read from a Secret, judged, rotated. Called by main and `sidewinder up`.

Rotation has three stages, each safe to stay in: the next root is trusted but does not sign; it signs while the old
one is still trusted; the old one is forgotten. A leaf made at any time is trusted by everybody who has the bundle of
then or later.

Sources: RFC 5280 (extensions), SPIFFE X.509-SVID (section 4.1 for signing certificates), and what Python 3.13
verifies strictly: critical basicConstraints and keyUsage, and a subject key identifier.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = dt.timedelta(days=3650)  # a root that ends surprises everybody: rotation is an act, not an accident
BACKDATED = dt.timedelta(minutes=5)  # clocks of nodes differ; a certificate from the future is refused by all
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
SIGNING, NEXT, OLD = ("ca.crt", "ca.key"), ("next.crt", "next.key"), "old.crt"  # keys of the Secret


class Unfit(ValueError):
    """A root, key or bundle that cannot be used; `faults` says everything that is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Root(NamedTuple):
    """A certificate that signs, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"<Root {fingerprint(self.certificate)} until {self.certificate.not_valid_after_utc:%Y-%m-%d}>"


class Trust(NamedTuple):
    """What the Secret holds. `bundle` is what everybody trusts: the signing root first."""

    signing: Root
    next: Root | None = None
    old: tuple[x509.Certificate, ...] = ()

    @property
    def bundle(self) -> tuple[x509.Certificate, ...]:
        """Signing, next and old roots."""
        following = (self.next.certificate,) if self.next else ()
        return (self.signing.certificate, *following, *self.old)

    def pem(self) -> bytes:
        """The bundle as every sidecar gets it."""
        return b"".join(pem(certificate) for certificate in self.bundle)


def fingerprint(certificate: x509.Certificate) -> str:
    """The first 16 hex digits of SHA-256 over the certificate: enough to tell roots apart in a log."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:16]


def pem(certificate: x509.Certificate) -> bytes:
    """One certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def create(trust_domain: str, now: dt.datetime, lifetime: dt.timedelta = LIFETIME) -> Root:
    """A new self-signed P-256 root for a trust domain ("cluster.local")."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sidewinder"),
                      x509.NameAttribute(NameOID.COMMON_NAME, f"{trust_domain} {now:%Y-%m-%d}")])  # fmt: skip
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([spiffe_id(trust_domain)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Root(certificate, key)


def spiffe_id(trust_domain: str, path: str = "") -> x509.UniformResourceIdentifier:
    """`spiffe://<trust domain><path>`; the path begins with a slash or is empty."""
    return x509.UniformResourceIdentifier(f"spiffe://{trust_domain}{path}")


def load(secret: Mapping[str, bytes], now: dt.datetime) -> Trust:
    """The trust that a Secret's data describe. Raises Unfit with every fault, each naming its key."""
    faults: list[str] = []
    signing = _root(secret, SIGNING, now, faults)
    following = _root(secret, NEXT, now, faults) if NEXT[0] in secret else None
    try:
        old = tuple(x509.load_pem_x509_certificates(secret[OLD])) if secret.get(OLD) else ()
    except ValueError:
        faults.append(f"{OLD}: no PEM certificates")
        old = ()
    for certificate in old:
        faults += [f"{OLD}: {fault}" for fault in unsuited(certificate, now) if "expired" not in fault]
    if faults or signing is None:
        raise Unfit(faults)
    return Trust(signing, following, tuple(root for root in old if root.not_valid_after_utc > now))


def dump(trust: Trust) -> dict[str, bytes]:
    """The Secret's data for a trust; `load` gives it back."""
    data = {SIGNING[0]: pem(trust.signing.certificate), SIGNING[1]: _key_pem(trust.signing.key)}
    if trust.next is not None:
        data |= {NEXT[0]: pem(trust.next.certificate), NEXT[1]: _key_pem(trust.next.key)}
    if trust.old:
        data[OLD] = b"".join(map(pem, trust.old))
    return data


def unsuited(certificate: x509.Certificate, now: dt.datetime) -> Iterator[str]:
    """Why a certificate cannot be a root: each reason with what would be right."""
    if certificate.not_valid_after_utc <= now:
        yield f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        yield f"not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}: is the clock right?"
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.value.ca or not constraints.critical:
        yield "not a CA: a critical basicConstraints with CA:TRUE is needed"
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.value.key_cert_sign or not usage.critical:
        yield "may not sign certificates: a critical keyUsage with keyCertSign is needed"
    if _extension(certificate, x509.SubjectKeyIdentifier) is None:
        yield "has no subjectKeyIdentifier"
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        yield "its key is not an EC key on P-256 or P-384"


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> x509.Extension[_Kind] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except (x509.ExtensionNotFound, ValueError):
        return None


def _root(secret: Mapping[str, bytes], names: tuple[str, str], now: dt.datetime, faults: list[str]) -> Root | None:
    certificate_name, key_name = names
    if missing := [name for name in names if not secret.get(name)]:
        faults += [f"{name}: missing" for name in missing]
        return None
    before = len(faults)
    try:
        certificate = x509.load_pem_x509_certificate(secret[certificate_name])
    except ValueError:
        faults.append(f"{certificate_name}: no PEM certificate")
        return None
    faults += [f"{certificate_name}: {fault}" for fault in unsuited(certificate, now)]
    try:
        key = serialization.load_pem_private_key(secret[key_name], None)
    except (ValueError, TypeError):
        faults.append(f"{key_name}: no unencrypted PEM private key")
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        faults.append(f"{key_name}: not the key of {certificate_name}")
        return None
    return Root(certificate, key) if len(faults) == before else None


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# Rotation: announce → switch → forget.


def announce(trust: Trust, root: Root) -> Trust:
    """Have everybody trust the next root. Raises Unfit while another rotation runs."""
    if trust.next is not None:
        raise Unfit([f"{fingerprint(trust.next.certificate)} is announced already: switch to it first"])
    return trust._replace(next=root)


def switch(trust: Trust) -> Trust:
    """Sign with the next root, once everybody has the bundle; the one before stays trusted."""
    if trust.next is None:
        raise Unfit(["no next root is announced"])
    return Trust(trust.next, None, (trust.signing.certificate, *trust.old))


def forget(trust: Trust) -> Trust:
    """Trust the old roots no longer, once every leaf of theirs has been renewed or has expired."""
    return trust._replace(old=())


def signed_by(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    """Did this root sign it?"""
    try:
        certificate.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
