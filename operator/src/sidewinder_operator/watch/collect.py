"""All that the reflectors know, as compile wants it. Called by `main` for every turn of the reconciler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.compile.wreck import Wreck
from sidewinder_operator.mesh.workloads import PodReplica
from sidewinder_operator.problems import Problem, Reference
from sidewinder_operator.resources import Cluster, gather
from sidewinder_operator.resources.core import EndpointSlice, Namespace
from sidewinder_operator.watch.clock import Clock
from sidewinder_operator.watch.kinds import FOLLOWED, PODS, Followed
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
    """The reflectors of every kind of the table. `changed` is called for each change, and must be cheap."""

    def __init__(
        self,
        api: ApiServer,
        changed: Callable[[], None],
        *,
        followed: tuple[Followed, ...] = FOLLOWED,
        clock: Clock | None = None,
    ) -> None:
        self.reflectors: dict[str, Reflector[Any]] = {
            row.kind: Reflector(api, row.path, row.keep, changed, clock=clock) for row in followed
        }

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

    def look(self) -> Known:
        """Everything, now."""
        written = [record for kind in self.reflectors if kind != PODS for record in self._of(kind)]
        broken = [each.reference for each in written if each.found is None]
        zones = dict(_zones(written))
        ours = (pod for pod in self.pods() if pod.sidecar and pod.addresses and not pod.host_network)
        return Known(
            cluster=gather((each.found for each in written if each.found is not None), broken),
            problems=tuple(sorted(problem for each in written for problem in each.problems)),
            wrecks=tuple(sorted(each.wreck for each in written if each.wreck is not None)),
            pods=tuple(sorted((pod.replica(zones.get(pod.uid, "")) for pod in ours), key=lambda pod: pod.uid)),
            numbers={each.reference: (each.uid, each.generation) for each in written},
        )

    def _of(self, kind: str) -> Iterator[Written]:
        yield from self.reflectors[kind].records.values()


def _zones(written: list[Written]) -> Iterator[tuple[str, str]]:
    """Uid of a pod → the zone of its node, which EndpointSlices say and pods before Kubernetes 1.35 do not."""
    for each in written:
        if isinstance(each.found, EndpointSlice):
            for endpoint in each.found.endpoints:
                if endpoint.target_ref is not None and endpoint.zone:
                    yield endpoint.target_ref.uid, endpoint.zone
