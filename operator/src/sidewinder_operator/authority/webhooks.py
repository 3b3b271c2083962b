"""The webhooks' configurations at the API server: every replica reads what they trust, the leader writes it.

Run by `main`: `Webhooks.serve` in every replica, `Webhooks.publish` among the leader's duties. Calls `serving` for
every decision and `apiserver` for the rest.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography import x509

from sidewinder_operator.apiserver import FAILURES, ApiServer
from sidewinder_operator.authority.root import Trust, fingerprint
from sidewinder_operator.authority.serving import Publication, Served, Serving

log = logging.getLogger("sidewinder.webhooks")

GROUP = "/apis/admissionregistration.k8s.io/v1"
CONFIGURATIONS = (  # by the names that the chart gives them
    f"{GROUP}/mutatingwebhookconfigurations/sidewinder-injection",
    f"{GROUP}/validatingwebhookconfigurations/sidewinder-validation",
)
STRATEGIC = "application/strategic-merge-patch+json"  # webhooks are told apart by name: the rest stays the chart's
LOOK_SECONDS = 10.0  # two GETs of 3 KB


def names(service: str, namespace: str, domain: str) -> tuple[str, ...]:
    """What the API server calls the webhooks by, and what people may."""
    short = f"{service}.{namespace}.svc"
    return short, f"{short}.{domain}", f"{service}.{namespace}", service


class Webhooks:
    """One replica's certificate and, where it leads, what the webhooks trust. `use` loads a new certificate."""

    def __init__(
        self,
        api: ApiServer,
        trust: Callable[[], Trust],
        serving: Serving,
        use: Callable[[Served], None],
        leader: Callable[[], bool],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._api = api
        self._trust = trust
        self._serving = serving
        self._use = use
        self._leader = leader
        self._look_seconds = look_seconds
        self.renewals = 0
        self.published = 0

    async def serve(self) -> None:
        """Keeps a certificate that the API server accepts, until cancelled. The first one needs nobody."""
        self._renew(())
        while True:
            try:
                trusted = everywhere(await self._bundles())
            except FAILURES as fault:  # what is served stays; it is renewed all the same
                log.warning("the webhooks' configurations cannot be read: %s", str(fault) or type(fault).__name__)
                trusted = ()
            self._renew(trusted)
            await asyncio.sleep(self._look_seconds)

    async def publish(self) -> None:
        """Keeps what the webhooks trust right, until cancelled: a duty of the leader."""
        publication = Publication()
        while True:
            try:
                await self._publish(publication)
            except FAILURES as fault:
                log.warning("what the webhooks trust cannot be published: %s", str(fault) or type(fault).__name__)
            await asyncio.sleep(self._look_seconds)

    def _renew(self, trusted: Sequence[x509.Certificate]) -> None:
        if self._serving.step(self._trust(), trusted, dt.datetime.now(dt.UTC), time.monotonic()):
            assert self._serving.served is not None
            self._use(self._serving.served)
            self.renewals += 1

    async def _publish(self, publication: Publication) -> None:
        there = await self._bundles()
        wanted = publication.step(self._trust(), everywhere(there), anywhere(there), time.monotonic())
        if wanted is None:
            return
        text = base64.b64encode(wanted).decode()
        for path, webhooks in there.items():
            body = {"webhooks": [{"name": name, "clientConfig": {"caBundle": text}} for name in webhooks]}
            if not self._leader():
                return
            await self._api.send("PATCH", path, body, kind=STRATEGIC, query={"fieldManager": "sidewinder-operator"})
        self.published += 1
        log.info("the webhooks trust %d roots", wanted.count(b"BEGIN CERTIFICATE"))

    async def _bundles(self) -> dict[str, dict[str, tuple[x509.Certificate, ...]]]:
        """Configuration → webhook → what it trusts."""
        return {path: trusted(await self._api.get(path)) for path in CONFIGURATIONS}


def trusted(configuration: Mapping[str, Any]) -> dict[str, tuple[x509.Certificate, ...]]:
    """Webhook → the roots that it trusts; none where there is nothing that can be read."""
    found: dict[str, tuple[x509.Certificate, ...]] = {}
    for webhook in configuration.get("webhooks") or ():
        text = (webhook.get("clientConfig") or {}).get("caBundle") or ""
        try:
            roots = tuple(x509.load_pem_x509_certificates(base64.b64decode(text))) if text else ()
        except (ValueError, binascii.Error):
            roots = ()
        found[webhook["name"]] = roots
    return found


def anywhere(bundles: Mapping[str, Mapping[str, Sequence[x509.Certificate]]]) -> tuple[x509.Certificate, ...]:
    """The roots that any webhook trusts."""
    roots = {fingerprint(root): root for hooks in bundles.values() for each in hooks.values() for root in each}
    return tuple(roots.values())


def everywhere(bundles: Mapping[str, Mapping[str, Sequence[x509.Certificate]]]) -> tuple[x509.Certificate, ...]:
    """The roots that every webhook trusts."""
    sets = [{fingerprint(root): root for root in roots} for hooks in bundles.values() for roots in hooks.values()]
    if not sets:
        return ()
    first, *others = sets
    return tuple(root for name, root in first.items() if all(name in other for other in others))
