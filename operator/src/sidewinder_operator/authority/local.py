"""The CA inside `sidewinder up`: a root that lives in memory alone, and a certificate for each proxy, as files.

Called by `cli.up`, which says who a proxy is: it started it. Nothing of the root is ever written; with the process it
is gone, and with it all that it signed.

1. A proxy's folder has its key, its certificate and the roots that it trusts, each 0600, as `identity.files` of the
   sidecar names them; they are there before the proxy starts.
2. Each is renewed when half of its life is over, with jitter. The three files are written beside and renamed, so that
   each is whole at any time; who reads between two renames sees that they do not fit, and reads again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.sign import LIFETIME, Identity, leaf

log = logging.getLogger("sidewinder.authority")

KEY, CERTIFICATE, BUNDLE = "key.pem", "certificate.pem", "bundle.pem"
HALF = (0.45, 0.55)  # of a life, as the sidecars of a cluster do it
AGAIN_SECONDS = 5.0  # after a disk that was full
LOOK_SECONDS = 3600.0  # a machine that has slept finds what is due by the clock


class _Issued:
    """One proxy's."""

    __slots__ = ("folder", "identity", "renew_at")

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self.renew_at = 0.0  # seconds since 1970


class Authority:
    """One per `up`. `trust` is what everybody in it trusts; `lifetime` what its certificates have."""

    def __init__(
        self,
        trust_domain: str,
        lifetime: dt.timedelta = LIFETIME,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.trust_domain = trust_domain
        self.renewals = 0
        self._lifetime = lifetime
        self._now = now
        self.trust = roots.Trust(self.root())
        self._issued: dict[Path, _Issued] = {}
        self._more = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Authority {self.trust_domain}: {len(self._issued)} proxies, {self.renewals} renewals>"

    def issue(self, folder: Path, namespace: str, service_account: str, uid: str = "") -> Path:
        """Gives a proxy its certificate, and renews it from now on. Raises OSError when it cannot be written."""
        issued = _Issued(folder, Identity(self.trust_domain, namespace, service_account, uid))
        folder.mkdir(mode=0o700)
        self._write(issued)
        self._issued[folder] = issued
        self._more.set()
        return folder

    def forget(self, folder: Path) -> None:
        """The proxy is gone."""
        if self._issued.pop(folder, None) is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def root(self) -> roots.Root:
        """Another one, for a rotation; nobody trusts it yet."""
        return roots.create(self.trust_domain, self._now())

    def use(self, trust: roots.Trust) -> None:
        """What everybody trusts from now on, and who signs: all proxies get new files."""
        self.trust = trust
        for issued in self._issued.values():
            issued.renew_at = 0.0
        self._more.set()

    async def run(self) -> None:
        """Renews what is due, until cancelled."""
        while True:
            self._more.clear()
            wait = self.step()
            try:
                await asyncio.wait_for(self._more.wait(), wait)
            except TimeoutError:
                pass

    def step(self) -> float:
        """Renews what is due now; the seconds until something is next."""
        now = self._now().timestamp()
        for issued in self._issued.values():
            if issued.renew_at > now:
                continue
            try:
                self._write(issued)
            except OSError as fault:  # the old one holds for as long again
                log.error("the certificate of %s cannot be renewed: %s", issued.identity, fault.strerror)
                issued.renew_at = now + AGAIN_SECONDS
            else:
                self.renewals += 1
        soonest = min((issued.renew_at for issued in self._issued.values()), default=now + LOOK_SECONDS)
        return min(max(soonest - now, 0.0), LOOK_SECONDS)

    def _write(self, issued: _Issued) -> None:
        key, now = ec.generate_private_key(ec.SECP256R1()), self._now()
        certificate = leaf(key.public_key(), issued.identity, self.trust, now, self._lifetime)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _replace(issued.folder, {KEY: private, CERTIFICATE: roots.pem(certificate), BUNDLE: self.trust.pem()})
        issued.renew_at = now.timestamp() + self._lifetime.total_seconds() * random.uniform(*HALF)


def _replace(folder: Path, contents: dict[str, bytes]) -> None:
    """Each file whole, in the place of the one before; readable by its owner alone from its first byte."""
    for name, content in contents.items():
        descriptor = os.open(
            folder / f"{name}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        with open(descriptor, "wb") as file:
            file.write(content)
    for name in contents:
        os.replace(folder / f"{name}.new", folder / name)
