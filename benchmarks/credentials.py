"""What the security scenarios show and verify: certificates and a token. Called by subjects, loads.

The certificates are the operator's own: what a sidecar would get. Both subjects are given the same.
"""

from __future__ import annotations

import atexit
import datetime as dt
import functools
import json
import ssl
import tempfile
import time
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority import sign

DOMAIN = "cluster.local"
CALLER = sign.Identity(DOMAIN, "bench", "caller", "caller")
SERVER = sign.Identity(DOMAIN, "bench", "server", "server")
LIFE = dt.timedelta(hours=24)
ISSUER, AUDIENCE, KEY_ID = "https://idp.example", "bench", "one"


@functools.cache
def folder(who: sign.Identity) -> Path:
    """Where `who` has key.pem, certificate.pem and bundle.pem, as a sidecar's identity is kept. Gone with the run."""
    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    request = asked.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    place = _run() / who.name
    place.mkdir()
    files = {
        "key.pem": private,
        "certificate.pem": sign.sign(request, who, _trust(), dt.datetime.now(dt.UTC), LIFE),
        "bundle.pem": _trust().pem(),
    }
    for name, content in files.items():
        (place / name).write_bytes(content)
        (place / name).chmod(0o600)
    return place


@functools.cache
def caller() -> ssl.SSLContext:
    """A mesh's client, as another sidecar is one; whom it called is not the load's business."""
    place = folder(CALLER)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.load_verify_locations(place / "bundle.pem")
    context.load_cert_chain(place / "certificate.pem", place / "key.pem")
    context.set_alpn_protocols(["sidewinder/h1"])
    return context


@functools.cache
def token() -> str:
    """An RS256 token that outlives the run."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "scope": "read", "iat": now, "exp": now + 86_400}
    return jwt.encode(claims, _key(), algorithm="RS256", headers={"kid": KEY_ID})


@functools.cache
def jwks() -> str:
    """The key that it is verified with."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(_key().public_key(), as_dict=True)
    return json.dumps({"keys": [{**public, "kid": KEY_ID, "alg": "RS256", "use": "sig"}]})


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@functools.cache
def _trust() -> roots.Trust:
    return roots.Trust(roots.create(DOMAIN, dt.datetime.now(dt.UTC)))


@functools.cache
def _run() -> Path:
    place = tempfile.TemporaryDirectory(prefix="sidewinder-bench-")
    atexit.register(place.cleanup)
    return Path(place.name)
