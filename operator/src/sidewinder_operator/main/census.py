"""How the mesh's pods are: who lacks a sidecar, whose is old, whose is not ready; and what people should be told.

Asked by `pages` for the metrics and by `status.notices` for Events. Everything is counted anew when somebody asks.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from sidewinder_operator.authority.keeper import SECRET
from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.main.authority import Authority
from sidewinder_operator.main.metrics import Family, by, one
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.core import Namespace
from sidewinder_operator.status.notices import Notice
from sidewinder_operator.watch.collect import Watch
from sidewinder_operator.watch.records import Pod

NAMED = 5  # pods in an Event
LATE = 0.25  # of a certificate's life: it is renewed at half, and what failed has been tried again for hours
SOON = dt.timedelta(days=30)  # before a root's end: a rotation takes two days, and people have holidays


class Census:
    """`version` is this replica's own: a sidecar of another one is outdated. `namespace`: the operator's. `lifetime`:
    a certificate's, in seconds.
    """

    def __init__(
        self, watch: Watch, acks: Acks, authority: Authority, namespace: str, version: str, lifetime: float = 86_400.0
    ) -> None:
        self._watch = watch
        self._acks = acks
        self._authority = authority
        self._namespace = namespace
        self.version = version
        self._lifetime = lifetime

    # ── the pods ──────────────────────────────────────────────────────────────────────────────────────────────────

    def outdated(self) -> Iterator[Pod]:
        """Whose sidecar, as it says itself, is of another version."""
        for uid, having in self._acks.having.items():
            pod = self._watch.pod(uid)
            if having.build not in ("", self.version) and pod is not None and not pod.terminating:
                yield pod

    def ending(self) -> Iterator[Pod]:
        """Whose sidecar came with a certificate that should have been renewed long ago."""
        latest = time.time() + self._lifetime * LATE
        for uid, having in self._acks.having.items():
            pod = self._watch.pod(uid)
            if 0 < having.until < latest and pod is not None and not pod.terminating:
                yield pod

    def unready(self) -> Iterator[Pod]:
        """Who has a sidecar and is not ready."""
        return (pod for pod in self._watch.pods() if pod.sidecar and not (pod.ready or pod.terminating))

    def builds(self) -> dict[str, float]:
        """Version → sidecars that say to be of it."""
        return {build: float(count) for build, count in Counter(each.build for each in self._havings()).items()}

    def rejecting(self) -> int:
        """Sidecars that refuse something."""
        return sum(bool(each.rejections) for each in self._havings())

    def _havings(self) -> Iterable[Having]:
        return self._acks.having.values()

    # ── what is told ──────────────────────────────────────────────────────────────────────────────────────────────

    def notices(self) -> Iterator[Notice]:
        """What people should see as Events, now."""
        uids = dict(self._namespaces())
        yield from _of_pods("SidecarMissing", "without a sidecar", self._watch.lacking(), uids)
        old = f"with a sidecar of another version than the operator's, {self.version}"
        yield from _of_pods("SidecarOutdated", old, self.outdated(), uids)
        hours = self._lifetime * LATE / 3600
        ends = f"whose certificate ends within {hours:g} h and is not renewed (`sidewinder identity POD` says why)"
        yield from _of_pods("CertificateEnds", ends, self.ending(), uids)
        yield from self._of_authority()

    def _namespaces(self) -> Iterator[tuple[str, str]]:
        for written in self._watch.reflectors[Namespace.KIND].records.values():
            yield written.reference.name, written.uid

    def _of_authority(self) -> Iterator[Notice]:
        keeper = self._authority.keeper
        about, uid = Reference("Secret", self._namespace, SECRET), next(iter(self._authority.secrets.records), "")
        if keeper.fault:
            yield Notice(about=about, uid=uid, reason="CAUnusable", note=keeper.fault)
        soon = (dt.datetime.now(dt.UTC) + SOON).timestamp()
        for (use, root), end in keeper.expiries().items():
            if use == "signing" and end < soon:
                day = dt.datetime.fromtimestamp(end, dt.UTC)
                note = f"the root {root}, which signs, ends on {day:%Y-%m-%d}: run `sidewinder rotate-root`"
                yield Notice(about=about, uid=uid, reason="RootExpires", note=note)

    # ── what is measured ──────────────────────────────────────────────────────────────────────────────────────────

    def families(self) -> tuple[Family, ...]:
        """For the metrics."""
        return (
            Family("pods_without_sidecar", "gauge", "Pods that should have a sidecar and have none.",
                   by("namespace", self._watch.uninjected)),
            Family("proxies_outdated", "gauge", "Proxies of another version than this operator.",
                   by("namespace", lambda: _counted(self.outdated()))),
            Family("proxies_certificate_ending", "gauge",
                   "Proxies with a quarter of their certificate's life left, which they should have renewed at half.",
                   by("namespace", lambda: _counted(self.ending()))),
            Family("proxies_unready", "gauge", "Pods with a proxy that are not ready.",
                   by("namespace", lambda: _counted(self.unready()))),
            Family("proxies_rejecting", "gauge", "Proxies that refuse something.", one(self.rejecting)),
            Family("proxies", "gauge", "Proxies with a stream, by their version.", by("version", self.builds)),
        )  # fmt: skip


def _counted(pods: Iterable[Pod]) -> dict[str, float]:
    return {namespace: float(count) for namespace, count in Counter(pod.namespace for pod in pods).items()}


def _of_pods(reason: str, text: str, pods: Iterable[Pod], uids: Mapping[str, str]) -> Iterator[Notice]:
    """One of each namespace."""
    named: dict[str, list[str]] = defaultdict(list)
    for pod in pods:
        named[pod.namespace].append(pod.name)
    for namespace, names in sorted(named.items()):
        if (uid := uids.get(namespace)) is None:
            continue
        some = ", ".join(sorted(names)[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        noun, them = ("pod", "it") if len(names) == 1 else ("pods", "them")
        note = f"{len(names)} {noun} {text}; restart {them}: {some}"
        yield Notice(about=Reference("Namespace", namespace, namespace), uid=uid, reason=reason, note=note)
