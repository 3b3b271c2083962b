"""All that the reflectors know, as compile wants it. Called by `main` for every turn of the reconciler."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.compile.needs import needs
from sidewinder_operator.compile.wreck import Wreck
from sidewinder_operator.mesh.workloads import PodReplica
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import Cluster, Object, gather
from sidewinder_operator.resources.core import EndpointSlice, Namespace
from sidewinder_operator.resources.policy import ApiPolicy
from sidewinder_operator.watch.clock import Clock
from sidewinder_operator.watch.kinds import FOLLOWED, PODS, Followed
from sidewinder_operator.watch.named import Named, Start
from sidewinder_operator.watch.records import INJECT, Pod, Written
from sidewinder_operator.watch.reflector import Reflector


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything. `numbers`: uid and generation of what is there, readable or not."""

    cluster: Cluster
    problems: tuple[Problem, ...]
    wrecks: tuple[Wreck, ...]
    pods: tuple[PodReplica, ...]
    numbers: Mapping[Reference, tuple[str, int]]


class Watch:
    """The reflectors of every kind of the table, and of what policies name. `changed` is called for each change, and
    must be cheap; `start` runs a task until it is cancelled. `good` gives what serves on where something is broken."""

    def __init__(
        self,
        api: ApiServer,
        changed: Callable[[], None],
        *,
        followed: tuple[Followed, ...] = FOLLOWED,
        clock: Clock | None = None,
        start: Start | None = None,
    ) -> None:
        self.reflectors: dict[str, Reflector[Any]] = {
            row.kind: Reflector(api, row.path, row.keep, changed, clock=clock) for row in followed
        }
        self.named = Named(api, changed, start or _task, clock=clock)
        self.good: Callable[[], Iterable[object]] = tuple
        self._shown: dict[Reference, ApiPolicy] = {}

    async def synced(self) -> None:
        """Waits until every kind was whole once."""
        for reflector in self.reflectors.values():
            await reflector.synced.wait()

    @property
    def whole(self) -> bool:
        """Every kind was whole once: nothing is missing of what must be known."""
        return all(reflector.synced.is_set() for reflector in self.reflectors.values())

    def pods(self) -> Iterator[Pod]:
        """Every pod that runs or is about to."""
        yield from self.reflectors[PODS].records.values()

    def pod(self, uid: str) -> Pod | None:
        """A pod by its uid: whether somebody who says to be it can be."""
        found: Pod | None = self.reflectors[PODS].records.get(uid)
        return found

    def labels(self, namespace: str) -> Mapping[str, str]:
        """Of a namespace; none when it is not known."""
        spaces: Mapping[str, Written] = self.reflectors[Namespace.KIND].records
        named = (each.found for each in spaces.values() if each.reference.name == namespace)
        return next((found.metadata.labels for found in named if found is not None), {})

    def enabled(self) -> set[str]:
        """The namespaces that want sidecars."""
        spaces: Mapping[str, Written] = self.reflectors[Namespace.KIND].records
        return {
            each.reference.name
            for each in spaces.values()
            if each.found is not None and each.found.metadata.labels.get(INJECT) == "enabled"
        }

    def lacking(self) -> Iterator[Pod]:
        """The pods of namespaces that want sidecars that have none and have not said that they want none."""
        wanting = self.enabled()
        for pod in self.pods():
            if (
                pod.namespace in wanting
                and not (pod.sidecar or pod.host_network or pod.terminating)
                and pod.labels.get(INJECT) != "disabled"
            ):
                yield pod

    def uninjected(self) -> dict[str, int]:
        """Namespace → how many such pods it has."""
        return dict(Counter(pod.namespace for pod in self.lacking()))

    async def settled(self) -> None:
        """Waits until what policies name is known as well; call it when all kinds are."""
        self.named.follow({need for policy in self._policies() for need in needs(policy)})
        await self.named.settled()

    def look(self) -> Known:
        """Everything, now."""
        written = [record for kind in self.reflectors if kind != PODS for record in self._of(kind)]
        self.named.follow({need for policy in self._policies() for need in needs(policy)})
        written = [*self._settled(written), *self.named.records()]
        broken = [each.reference for each in written if each.found is None]
        zones = dict(_zones(written))
        ours = (pod for pod in self.pods() if pod.sidecar and pod.addresses and not pod.host_network)
        return Known(
            cluster=gather((each.found for each in written if each.found is not None), broken),
            problems=tuple(sorted((*(problem for each in written for problem in each.problems), *self._unreadable()))),
            wrecks=tuple(sorted(each.wreck for each in written if each.wreck is not None)),
            pods=tuple(sorted((pod.replica(zones.get(pod.uid, "")) for pod in ours), key=lambda pod: pod.uid)),
            numbers={each.reference: (each.uid, each.generation) for each in written},
        )

    def _policies(self) -> Iterator[ApiPolicy]:
        written: Iterable[Written] = self.reflectors[ApiPolicy.KIND].records.values()
        for found in (*(each.found for each in written), *self.good()):
            if isinstance(found, ApiPolicy):
                yield found

    def _unreadable(self) -> Iterator[Problem]:
        """Beside "there is no such Secret", which is what compile sees: why that may be wrong."""
        unreadable = self.named.unreadable()
        for policy in self._shown.values() if unreadable else ():
            for need in sorted(unreadable & needs(policy)):
                yield Problem(
                    reference=policy.reference,
                    field="spec",
                    reason="RefNotPermitted",
                    message=f"the operator cannot read {need.kind} {need.namespace}/{need.name}: its log says why; the "
                    "chart's value policySecrets.namespaces says where it may",
                    severity="Warning",
                )

    def _settled(self, written: list[Written]) -> Iterator[Written]:
        """A policy whose Secret is on its way stays what it was: the absence would close its scope for a moment."""
        unsettled = self.named.unsettled()
        shown: dict[Reference, ApiPolicy] = {}
        for each in written:
            found: Object | None = each.found
            if isinstance(found, ApiPolicy):
                if not unsettled.isdisjoint(needs(found)):
                    if (before := self._shown.get(each.reference)) is None:
                        continue
                    found, each = before, msgspec.structs.replace(each, found=before)
                shown[each.reference] = found
            yield each
        self._shown = shown

    def _of(self, kind: str) -> Iterator[Written]:
        yield from self.reflectors[kind].records.values()


def _task(name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    async def run() -> None:
        await work()

    return asyncio.get_running_loop().create_task(run(), name=name)


def _zones(written: list[Written]) -> Iterator[tuple[str, str]]:
    """Uid of a pod → the zone of its node, which EndpointSlices say and pods before Kubernetes 1.35 do not."""
    for each in written:
        if isinstance(each.found, EndpointSlice):
            for endpoint in each.found.endpoints:
                if endpoint.target_ref is not None and endpoint.zone:
                    yield endpoint.target_ref.uid, endpoint.zone
