"""What a certificate says and whether it holds: told by a TLS handshake with ourselves in memory, 4 ms.

So every judgement is OpenSSL's own, the one that peers will make, and nothing here parses ASN.1: key and certificate
belong together, a root of the bundle signed it, strictly. Times are told, and judged by `renewal`. Pure, but that a
key has to be a file. Called by `enrol` and `renewal`.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import ssl

import msgspec

from sidewinder_sidecar.tls.contexts import STRICT

MOST_ROOTS = 64  # of a bundle: a rotation needs two
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which Python does not name

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")


class Unfit(Exception):
    """A certificate, key or bundle that cannot be used; says which and why."""


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """What our certificate says. Times are seconds since 1970."""

    spiffe_id: str
    subject: str  # its common name: the pod's uid; empty where it has none
    serial: str  # hexadecimal
    not_before: float
    not_after: float


class Root(msgspec.Struct, frozen=True, kw_only=True):
    """One of those we trust."""

    name: str
    sha256: str
    not_after: float


def examine(certificate: str, key: str, bundle: str) -> Leaf:
    """What the certificate in a file says, if the key in the other is its own and the bundle's text trusts it. Raises
    Unfit.
    """
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(ours, certificate, key)
    theirs = trusting(bundle)
    theirs.check_hostname = False
    theirs.verify_flags |= NO_CHECK_TIME
    try:
        told = _shake(theirs, ours)
    except ssl.SSLCertVerificationError as fault:
        raise Unfit(f"{certificate}: {fault.verify_message}") from None
    except ssl.SSLError as fault:
        raise Unfit(f"{certificate}: {fault.reason or fault}") from None
    uris = [value for kind, value in told.alternatives if kind == "URI"]
    if len(uris) != 1 or not uris[0].startswith("spiffe://"):
        raise Unfit(f"{certificate}: not one SPIFFE ID among its names, but {uris or 'none'}")
    return Leaf(
        spiffe_id=uris[0],
        subject=dict(_flat(told.subject)).get("commonName", ""),
        serial=told.serial.lower(),
        not_before=float(ssl.cert_time_to_seconds(told.not_before)),
        not_after=float(ssl.cert_time_to_seconds(told.not_after)),
    )


def load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Our certificate into a context. Raises Unfit."""
    try:
        context.load_cert_chain(certificate, key, password=_nobody_types)
    except ssl.SSLError as fault:
        if fault.reason == "KEY_VALUES_MISMATCH":
            raise Unfit(f"{certificate}: {key} is not its key") from None
        raise Unfit(f"{certificate}: no certificate, or {key} no key, in PEM: {fault.reason or fault}") from None
    except OSError as fault:
        raise Unfit(f"{certificate}, {key}: {fault.strerror}") from None


def _nobody_types() -> str:
    raise OSError(0, "the key is encrypted")  # else OpenSSL asks on the terminal


def trusting(bundle: str) -> ssl.SSLContext:
    """A client's context that trusts these roots and nobody else, in TLS 1.3 alone. Raises Unfit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= STRICT
    for text in split(bundle):
        try:
            context.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as fault:
            raise Unfit(f"a certificate of the bundle cannot be read: {fault}") from None
    return context


def split(bundle: str) -> list[str]:
    """The certificates of a bundle, in its order; what stands between them is nothing. Raises Unfit for none."""
    found = [match[0] for match in _PEM.finditer(bundle)]
    if not found:
        raise Unfit("the bundle has no certificate in PEM")
    if len(found) > MOST_ROOTS:
        raise Unfit(f"the bundle has {len(found)} certificates; {MOST_ROOTS} are allowed")
    return found


def roots(bundle: str) -> tuple[Root, ...]:
    """Those whom a bundle trusts. Raises Unfit."""
    return tuple(map(_root, split(bundle)))


def _root(text: str) -> Root:
    found = trusting(text).get_ca_certs()
    if not found:
        raise Unfit("a certificate of the bundle is none of a CA")
    told = msgspec.convert(found[0], _Told)
    return Root(
        name=", ".join(value for _, value in _flat(told.subject)),
        sha256=hashlib.sha256(binascii.a2b_base64(_PEM.sub(r"\1", text))).hexdigest(),
        not_after=float(ssl.cert_time_to_seconds(told.not_after)),
    )


class _Told(msgspec.Struct, frozen=True):
    """A certificate as `ssl` tells it."""

    serial: str = msgspec.field(name="serialNumber")
    not_before: str = msgspec.field(name="notBefore")
    not_after: str = msgspec.field(name="notAfter")
    subject: tuple[tuple[tuple[str, str], ...], ...] = ()
    alternatives: tuple[tuple[str, str], ...] = msgspec.field(name="subjectAltName", default=())


def _flat(name: tuple[tuple[tuple[str, str], ...], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for together in name for pair in together)


def _shake(theirs: ssl.SSLContext, ours: ssl.SSLContext) -> _Told:
    """What they learn of us. Raises ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = theirs.wrap_bio(down, up), ours.wrap_bio(up, down, server_side=True)
    for one in (client, server, client):  # hello; hello, certificate, finished; verified
        try:
            one.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return msgspec.convert(client.getpeercert(), _Told)
