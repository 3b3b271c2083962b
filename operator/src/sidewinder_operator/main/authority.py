"""Identity in one replica, whole: the CA, our own certificate, who may enrol, who is who, the trust bundles.

Wired by `process`. `start` begins what every replica does; `publish` is a duty of the leader. Everything here is a part
of `authority` that has been told where to look.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable, Collection, Iterable

from aiohttp import web
from cryptography import x509

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.authority import bundles, keeper
from sidewinder_operator.authority.bundles import Bundle, Bundles
from sidewinder_operator.authority.credentials import Credentials
from sidewinder_operator.authority.enrol import Enrolment, Who
from sidewinder_operator.authority.keeper import SECRET, Held, Keeper
from sidewinder_operator.authority.root import Trust, signed_by
from sidewinder_operator.authority.sign import LONGEST_NAME, Identity
from sidewinder_operator.authority.webhooks import names
from sidewinder_operator.discovery.caller import Stranger, caller
from sidewinder_operator.inject.options import AUDIENCE, BUNDLE, TRUST
from sidewinder_operator.main.metrics import Family, Histogram, Sample, by, one
from sidewinder_operator.main.supervise import Supervisor
from sidewinder_operator.settings import Settings
from sidewinder_operator.watch.collect import Watch
from sidewinder_operator.watch.owner import Owner
from sidewinder_operator.watch.reflector import Reflector

SERVICE = ACCOUNT = "sidewinder-operator"  # of the chart, fixed


class Authority:
    """`who` tells this replica's certificate from the others'; `seconds` is told how long each enrolment took."""

    def __init__(
        self, api: ApiServer, settings: Settings, watch: Watch, leader: Callable[[], bool], who: str, seconds: Histogram
    ) -> None:
        self._watch = watch
        self._settings = settings
        namespace, domain = settings.namespace, settings.cluster_domain
        self.secrets: Reflector[Held] = Reflector(
            api,
            f"/api/v1/namespaces/{namespace}/secrets",
            keeper.keep,
            self._on_secret,
            fields=f"metadata.name={SECRET}",
        )
        self.maps: Reflector[Bundle] = Reflector(
            api, "/api/v1/configmaps", bundles.keeping(BUNDLE), self._on_bundle, fields=f"metadata.name={TRUST}"
        )
        self.keeper = Keeper(api, namespace, domain, self._held, self.secrets.synced)
        self.names = names(SERVICE, namespace, domain)
        self.identity = Identity(domain, namespace, ACCOUNT, who[-LONGEST_NAME:])
        self.credentials = Credentials(self.identity, self.names)
        self.bundles = Bundles(
            api, TRUST, BUNDLE, self.keeper.current, self._spaces, self.maps.records.values, self.maps.synced,
            leader, Owner(api).references,
        )  # fmt: skip
        self.enrolment = Enrolment(
            api, self.keeper.current, Who(domain, AUDIENCE, watch.pod),
            lifetime=dt.timedelta(seconds=settings.certificate_seconds), observe=seconds.observe,
        )  # fmt: skip
        self.keeper.watch(lambda trust: self.credentials.ring())
        self.keeper.watch(lambda trust: self.bundles.ring())

    def start(self, supervisor: Supervisor) -> None:
        """What every replica does."""
        supervisor.start("reflector Secret", self.secrets.run)
        supervisor.start("reflector ConfigMap", self.maps.run)
        supervisor.start("CA", self.keeper.run)
        supervisor.start("certificate", self._certify)

    def ring(self) -> None:
        """Pods or namespaces may have changed."""
        self.enrolment.ring()
        self.bundles.ring()

    async def publish(self) -> None:
        """The trust bundles, until cancelled."""
        await self.keeper.loaded.wait()
        await self.bundles.publish()

    async def _certify(self) -> None:
        await self.keeper.loaded.wait()
        await self.credentials.run(self.keeper.current)

    # ── what is seen ──────────────────────────────────────────────────────────────────────────────────────────────

    def _on_secret(self) -> None:
        self.keeper.ring()

    def _on_bundle(self) -> None:
        self.bundles.ring()

    def _held(self) -> Held | None:
        return next(iter(self.secrets.records.values()), None)

    def _spaces(self) -> Collection[str]:
        """Who is labelled, who has a pod with a proxy, and ourselves."""
        running = (pod.namespace for pod in self._watch.pods() if pod.sidecar)
        return {self._settings.namespace, *self._watch.enabled(), *running}

    def lacking(self, trust: Trust) -> Collection[str]:
        """The namespaces whose bundle does not say this trust."""
        text = trust.pem().decode()
        return set(self._spaces()) - {each.namespace for each in self.maps.records.values() if each.text == text}

    # ── who is who on the port ────────────────────────────────────────────────────────────────────────────────────

    def name(self, request: web.Request) -> str:
        """The pod whose sidecar asks, by its uid. Raises Stranger."""
        found = caller(request)
        pod = self._watch.pod(found.name)
        if pod is None:
            raise Stranger(f"there is no running pod with the uid {found.name!r}")
        expected = Identity(self._settings.cluster_domain, pod.namespace, pod.service_account)
        if found.identity != str(expected):
            raise Stranger(f"the certificate is of {found.identity}, the pod {pod.uid} is {expected}")
        return pod.uid

    def lasting(self, request: web.Request) -> float:
        """How many seconds the caller's certificate still holds."""
        return max(0.0, caller(request).until - time.time())

    def is_operator(self, request: web.Request) -> bool:
        """Another replica asks."""
        try:
            return caller(request).identity == str(self.identity)
        except Stranger:
            return False

    def trusts(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the certificate of an open connection, if there is one, could still open it."""
        connection = transport.get_extra_info("ssl_object")
        shown = connection.getpeercert(binary_form=True) if connection is not None else None
        if shown is None or self.keeper.trust is None:
            return True
        certificate = x509.load_der_x509_certificate(shown)
        return any(signed_by(certificate, root) for root in self.keeper.trust.bundle)

    # ── what is measured ──────────────────────────────────────────────────────────────────────────────────────────

    def families(self) -> tuple[Family, ...]:
        """For the metrics."""
        enrolment, written = self.enrolment, self.bundles
        return (
            Family("signatures_total", "counter", "Certificates for sidecars.", one(lambda: enrolment.signatures)),
            Family(
                "enrolment_refusals_total", "counter", "Certificates refused.", by("reason", lambda: enrolment.refusals)
            ),
            Family("ca_usable", "gauge", "Whether the CA's Secret is as it is used.", one(self._usable)),
            Family("root_expiry_timestamp_seconds", "gauge", "When a root ends, by its use.", self._expiries),
            Family("trust_bundle_writes_total", "counter", "Trust bundles written.", one(lambda: written.writes)),
            Family("trust_bundle_failures_total", "counter", "Writes that failed.", one(lambda: written.failures)),
        )

    def _usable(self) -> float:
        return float(self.keeper.loaded.is_set() and not self.keeper.fault)

    def _expiries(self) -> Iterable[Sample]:
        return [({"use": use, "root": root}, at) for (use, root), at in self.keeper.expiries().items()]
