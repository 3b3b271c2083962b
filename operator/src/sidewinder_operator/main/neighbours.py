"""The other replicas, seen from one: what they hear of its streams, and what it hears of theirs. Wired by `process`.

`doors` serves the one half on the port of sidecars; the other half is a task of every replica, not of the leader alone:
a pod that drains asks the replica that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sidewinder_operator.discovery.acks import Acks
from sidewinder_operator.discovery.feed import Feed
from sidewinder_operator.discovery.peers import Peer, Peers, found
from sidewinder_operator.main.authority import Authority
from sidewinder_operator.main.metrics import Family, by, one
from sidewinder_operator.main.supervise import Supervisor
from sidewinder_operator.resources.core import EndpointSlice
from sidewinder_operator.settings import Settings
from sidewinder_operator.watch.collect import Watch
from sidewinder_operator.watch.records import Written

SERVICE = "sidewinder-operator-peers"  # of the chart, headless, with replicas that are not ready yet


class Neighbours:
    """`changed` is called when somebody is not heard any more, or again."""

    def __init__(
        self, settings: Settings, authority: Authority, watch: Watch, acks: Acks, changed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._authority = authority
        self._watch = watch
        self.feed = Feed(acks, authority.is_operator, kind=self._namespace, lasting=authority.lasting)
        self.peers = Peers(
            acks,
            self._look,
            lambda: authority.credentials.client,
            server_name=authority.names[0],
            who=settings.pod_name,
            changed=changed,
        )

    def start(self, supervisor: Supervisor) -> None:
        """Begins to listen to them, once there is a certificate to show."""
        supervisor.start("peers", self._listen)

    def whole(self) -> bool:
        """Everything that any replica knows is known here."""
        return self._watch.whole and not self.peers.unsure() and not self.peers.unheard()

    def apart(self) -> float:
        """For how many seconds this replica has known what it knows without those who are missing."""
        return self.peers.apart() if self._watch.whole else 0.0

    async def _listen(self) -> None:
        await self._authority.credentials.ready.wait()
        await self.peers.run()

    def _look(self) -> Mapping[str, Peer]:
        written: Mapping[str, Written] = self._watch.reflectors[EndpointSlice.KIND].records
        slices = (each.found for each in written.values() if isinstance(each.found, EndpointSlice))
        return found(slices, self._settings.namespace, SERVICE, self._settings.pod_name)

    def _namespace(self, pod: str) -> str:
        found = self._watch.pod(pod)
        return found.namespace if found is not None else ""

    def families(self) -> tuple[Family, ...]:
        """For the metrics."""
        peers, feed = self.peers, self.feed
        return (
            Family("replica_heard", "gauge", "Whether another replica's acknowledgements are known.",
                   by("replica", lambda: {name: float(synced) for name, synced in peers.synced().items()})),
            Family("replica_failures_total", "counter", "Streams of other replicas that failed.",
                   one(lambda: peers.failures)),
            Family("replicas_listening", "gauge", "Other replicas that are told of this one's streams.",
                   one(lambda: len(feed.streams))),
        )  # fmt: skip
