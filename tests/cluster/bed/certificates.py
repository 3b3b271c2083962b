"""Certificates, service account keys, tokens and kubeconfigs of a bed.

Called by configuration.py when a bed is made and by faults.py, which gives a certificate another age; calls
`cryptography`. Two authorities as Kubernetes wants them: one for everybody, one for the API aggregation layer.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import secrets
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PEM = serialization.Encoding.PEM
Signer = ec.EllipticCurvePrivateKey


def _private(key: Signer | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(user: str, group: str | None) -> x509.Name:
    parts = [x509.NameAttribute(x509.NameOID.COMMON_NAME, user)]
    if group:
        parts.append(x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(authority: bool) -> x509.KeyUsage:
    others = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        **others,
    )


class Authority:
    """A certificate authority in a folder, where name.crt and name.key lie."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        if not (folder / f"{name}.key").exists():
            self._found()
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())

    def _found(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name, now = _name(self._name, None), datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - day, now + 365 * day
        )
        self._write(self._name, key, builder, key, authority=True)

    def _write(
        self, name: str, key: Signer, builder: x509.CertificateBuilder, signer: Signer, *, authority: bool = False
    ) -> None:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        builder = builder.add_extension(own, critical=False).add_extension(theirs, critical=False)
        builder = builder.add_extension(_usage(authority), critical=True)
        certificate = builder.sign(signer, hashes.SHA256())
        self._place(f"{name}.key", _private(key))
        self._place(f"{name}.crt", certificate.public_bytes(PEM))

    def _place(self, name: str, content: bytes) -> None:
        """Whole or not at all: a component that watches the file must never read half of it."""
        unfinished = self._folder / f".{name}"
        unfinished.write_bytes(content)
        unfinished.chmod(0o600)
        unfinished.rename(self._folder / name)

    def issue(self, name: str, user: str, *names: str, group: str | None = None) -> None:
        """A certificate for server and client at once, valid from yesterday for a year."""
        day, now = datetime.timedelta(days=1), datetime.datetime.now(datetime.UTC)
        alternatives = x509.SubjectAlternativeName([_alternative(each) for each in names or (user,)])
        self._issue(name, _name(user, group), alternatives, now - day, now + 365 * day)

    def renew(self, name: str, begin: datetime.datetime, end: datetime.datetime) -> None:
        """The same certificate with another validity and a new key."""
        old = x509.load_pem_x509_certificate((self._folder / f"{name}.crt").read_bytes())
        alternatives = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self._issue(name, old.subject, alternatives, begin, end)

    def _issue(
        self,
        name: str,
        subject: x509.Name,
        alternatives: x509.SubjectAlternativeName,
        begin: datetime.datetime,
        end: datetime.datetime,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = x509.CertificateBuilder(
            self._certificate.subject, subject, key.public_key(), x509.random_serial_number(), begin, end
        )
        usages = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        self._write(name, key, builder.add_extension(alternatives, critical=False), self._key)


def service_account_keys(folder: Path) -> None:
    """What the API server signs service account tokens with."""
    signer = rsa.generate_private_key(65537, 2048)
    public = signer.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "sa.pub").write_bytes(public)
    (folder / "sa.key").write_bytes(_private(signer))


def kubeconfig(folder: Path, path: Path, server: str, user: str, group: str = "system:authenticated") -> None:
    """A kubeconfig with a new token for the user, in JSON, which YAML readers take as it is."""
    token = secrets.token_hex(16)
    authority = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
    with open(folder / "tokens.csv", "a") as tokens:
        tokens.write(f'{token},{user},{user},"{group}"\n')
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bed",
        "clusters": [{"name": "bed", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": user}}],
    }
    path.write_text(json.dumps(config, indent=1))
    path.chmod(0o600)
