"""The operator's own certificate, and the TLS contexts made of it and of what the mesh trusts. Run by `main`.

1. Every replica makes a leaf of its own with the CA's key it holds, for a key that never leaves its memory. It serves
   with it and calls other replicas with it.
2. A context's roots can only grow, so that another trust is another context. `server` is the one that listeners keep:
   it hands each handshake to the newest. Connections that stand are not touched.
3. No session is resumed: a resumed one would not ask again whether the client's certificate is still trusted.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import ssl
from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority.bell import Bell
from sidewinder_operator.authority.root import Trust, pem, signed_by
from sidewinder_operator.authority.sign import LIFETIME, Identity, Refused, leaf

log = logging.getLogger("sidewinder.authority")

LOOK_SECONDS = 60.0
# Strict is Python 3.13's default; a user's root may itself be signed by another, which is then no business of ours.
_VERIFY = ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN


class Credentials:
    """One replica's leaf. `names`: the DNS names that clients call it by."""

    def __init__(self, identity: Identity, names: Sequence[str], lifetime: dt.timedelta = LIFETIME) -> None:
        self.identity = identity
        self.certificate: x509.Certificate | None = None
        self.renewals = 0
        self.ready = asyncio.Event()  # there is one
        self._names = tuple(names)
        self._lifetime = lifetime
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._trust: Trust | None = None
        self._bell = Bell()
        # what others use
        self.server = _context(ssl.PROTOCOL_TLS_SERVER)
        self.server.sni_callback = self._hand_over
        self._newest = self.server
        self._client: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        until = f"until {self.certificate.not_valid_after_utc:%Y-%m-%d %H:%M}" if self.certificate else "none yet"
        return f"<Credentials {self.identity}: {until}>"

    @property
    def client(self) -> ssl.SSLContext:
        """For the next connection to another replica; there is one once it is `ready`."""
        assert self._client is not None
        return self._client

    def ring(self) -> None:
        """The trust may have changed."""
        self._bell.ring()

    async def run(self, trust: Callable[[], Trust]) -> None:
        """Keeps the leaf valid, until cancelled. Asks for the trust, which there must be."""
        while True:
            try:
                self.step(trust(), dt.datetime.now(dt.UTC))
            except Refused as refused:  # an expired root: what there is serves on
                log.error("the operator's own certificate cannot be renewed: %s", refused)
            await self._bell.heard(LOOK_SECONDS)

    def step(self, trust: Trust, now: dt.datetime) -> bool:
        """True: something is new. Raises sign.Refused when the root that signs has expired."""
        due = self._due(trust, now)
        if not due and self._trust is not None and self._trust.bundle == trust.bundle:
            return False
        if due:
            self._key = ec.generate_private_key(ec.SECP256R1())
            self.certificate = leaf(self._key.public_key(), self.identity, trust, now, self._lifetime, self._names)
            self.renewals += 1
            log.info("the operator's own certificate is new: %r", self)
        self._trust = trust
        self._newest = self._made(ssl.PROTOCOL_TLS_SERVER, trust)
        self._client = self._made(ssl.PROTOCOL_TLS_CLIENT, trust)
        self.ready.set()
        return True

    def _due(self, trust: Trust, now: dt.datetime) -> bool:
        # 1 there is none  2 another root signs  3 half of its life is over
        if self.certificate is None or not signed_by(self.certificate, trust.signing.certificate):
            return True
        begin, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return now >= begin + (end - begin) / 2

    def _made(self, protocol: ssl._SSLMethod, trust: Trust) -> ssl.SSLContext:
        assert self.certificate is not None
        assert self._key is not None
        made = _context(protocol)
        made.load_verify_locations(cadata=trust.pem().decode())
        key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        load(made, pem(self.certificate) + key)
        return made

    def _hand_over(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._newest


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_flags |= _VERIFY
    made.set_alpn_protocols(["http/1.1"])
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        made.verify_mode = ssl.CERT_OPTIONAL  # who enrols has none yet; who needs one is refused by the page
        made.num_tickets = 0
    return made


def load(into: ssl.SSLContext, chain: bytes) -> None:
    """Gives a context its certificate and key, in PEM, through anonymous memory: the key is never in a file system."""
    memory = os.memfd_create("sidewinder", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(chain)
        into.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
