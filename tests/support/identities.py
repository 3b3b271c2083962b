"""Identities on disk as `sidewinder up` writes them, signed by the operator's own code; and callers that show them."""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority import sign
from tests.support.authority import DAY, DOMAIN, issued, now

H1, TCP = "sidewinder/h1", "sidewinder/tcp"


def named(account: str, namespace: str = "shop", domain: str = DOMAIN) -> sign.Identity:
    """Somebody of the mesh."""
    return sign.Identity(domain, namespace, account)


def write(folder: Path, key: str, certificate: str, *trusted: roots.Trust) -> Path:
    """The three files, each renamed into its place."""
    folder.mkdir(exist_ok=True)
    bundle = b"".join(one.pem() for one in trusted).decode()
    for name, content in (("key", key), ("certificate", certificate), ("bundle", bundle)):
        beside = folder / f"{name}.new"
        beside.write_text(content)
        beside.chmod(0o600)
        os.replace(beside, folder / f"{name}.pem")
    return folder


def identity(folder: Path, by: roots.Trust, who: sign.Identity, *trusted: roots.Trust, **more: Any) -> Path:
    """A folder for SIDEWINDER_IDENTITY."""
    return write(folder, *issued(by, who, **more), *(trusted or (by,)))


def forged(by: roots.Trust, uris: tuple[str, ...], *, ca: bool = False, **usage: bool) -> tuple[str, str]:
    """A key and a certificate that a root has signed and nobody should have."""
    key = ec.generate_private_key(ec.SECP256R1())
    asked = {"digital_signature": True, "key_cert_sign": ca, "crl_sign": ca} | usage
    bits = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"),
        False,
    )  # fmt: skip
    issuer = by.signing
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "forged")]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - dt.timedelta(minutes=5))
        .not_valid_after(now() + DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**(bits | asked)), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in uris] or [x509.DNSName("a")]),
            critical=False,
        )
        .sign(issuer.key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), made.public_bytes(serialization.Encoding.PEM).decode()


def client(folder: Path | None, trusted: Path, alpn: tuple[str, ...] = (H1,), newest: Any = None) -> ssl.SSLContext:
    """A caller's context that shows the identity in `folder`, if any, and believes the bundle in `trusted`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(trusted / "bundle.pem")
    if folder is not None:
        context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if newest is not None:
        context.maximum_version = newest
    return context


def ask(port: int, context: ssl.SSLContext, request: bytes = b"GET /a HTTP/1.1\r\nhost: reviews\r\n\r\n") -> bytes:
    """What comes back first; b"" if the other end refuses, whenever it does."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 5) as plain,
            context.wrap_socket(plain, server_hostname="x") as tls,
        ):
            tls.sendall(request)
            return tls.recv(65536)
    except (ConnectionError, ssl.SSLError, BrokenPipeError):
        return b""
