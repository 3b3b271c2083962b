"""Issuers' keys in one replica: the ConfigMap that all follow, and the fetching that only the leader does.

Wired by `process`. What every replica serves is what lies in the ConfigMap, so that all say the same, a restart forgets
nothing and nobody but the leader goes to an issuer. A replica that is told of a key id nobody knows writes that into an
annotation; the leader sees it there.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Mapping

import msgspec

from sidewinder_operator.apiserver import APPLY, FAILURES, MERGE, ApiServer, Refused
from sidewinder_operator.issuers.fetch import Fetcher
from sidewinder_operator.issuers.keeper import REST_SECONDS, Keeper, fetched, named
from sidewinder_operator.issuers.shelf import Kept, dump, load
from sidewinder_operator.main.metrics import Family, Sample, one
from sidewinder_operator.main.supervise import Supervisor
from sidewinder_operator.resources.keys import Fetched, Wanted
from sidewinder_operator.watch.owner import Owner
from sidewinder_operator.watch.reflector import Reflector

log = logging.getLogger("sidewinder")

CONFIG_MAP = "sidewinder-keys"
STALE = "sidewinder.dev/stale"  # annotation: which key sets lack a key, and when that was said
MANAGER = "sidewinder-operator"
LABELS = {"app.kubernetes.io/managed-by": "sidewinder-operator", "app.kubernetes.io/part-of": "sidewinder"}
GATHER_SECONDS = 0.05  # several issuers answer at the same time after a start
AGAIN_SECONDS = 2.0  # after the API server did not take it


class Shelf(msgspec.Struct, frozen=True):
    """The ConfigMap's record."""

    kept: Mapping[str, Kept]
    stale: str = ""


class _Metadata(msgspec.Struct):
    annotations: dict[str, str] | None = None


class _ConfigMap(msgspec.Struct):
    metadata: _Metadata
    data: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_ConfigMap)


def keep(raw: bytes) -> Shelf:
    """The record of the ConfigMap, for the reflector."""
    found = _decoder.decode(raw)
    return Shelf(load(found.data or {}), (found.metadata.annotations or {}).get(STALE, ""))


class Issuers:
    """`changed` is called when other keys lie in the ConfigMap."""

    def __init__(self, api: ApiServer, namespace: str, leader: Callable[[], bool], changed: Callable[[], None]) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._leader = leader
        self._changed = changed
        self.maps: Reflector[Shelf] = Reflector(
            api, self._path, keep, self._on_change, fields=f"metadata.name={CONFIG_MAP}"
        )
        self._wanted: Mapping[str, Wanted] = {}
        self._keeper: Keeper | None = None  # while this replica leads
        self._seen = Shelf({})
        self._good: dict[str, Kept] = {}  # what lay there last, should somebody take it away
        self._write = asyncio.Event()
        self._said: dict[str, float] = {}  # key set → when others were told that it lacks a key
        self._tasks: set[asyncio.Task[None]] = set()
        self.fetches: dict[str, int] = {"new": 0, "same": 0, "failed": 0}
        self.doubts = 0

    def start(self, supervisor: Supervisor) -> None:
        """What every replica does."""
        supervisor.start("reflector keys", self.maps.run)

    def keys(self) -> dict[str, Fetched]:
        """For Cluster.keys."""
        return fetched({**self._good, **self._shelf().kept})

    def want(self, wanted: Mapping[str, Wanted]) -> None:
        """What policies need now."""
        self._wanted = wanted
        if self._keeper is not None:
            self._keeper.want(wanted)
            self._write.set()

    def doubt(self, resources: tuple[str, ...]) -> None:
        """A sidecar says that these lack a key."""
        names = named(resources)
        self.doubts += len(names)
        if self._keeper is not None:
            self._keeper.doubt(names)
            return
        now = asyncio.get_running_loop().time()
        for name in names:
            if name in self._wanted and now - self._said.get(name, -REST_SECONDS) >= REST_SECONDS:
                self._said = {**{each: at for each, at in self._said.items() if each in self._wanted}, name: now}
                task = asyncio.get_running_loop().create_task(self._say(name), name="stale keys")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def lead(self) -> None:
        """A duty of the leader: fetches, and writes what came of it; until cancelled."""
        await self.maps.synced.wait()
        keeper = Keeper(Fetcher(), self._write.set, known=self._shelf().kept)
        keeper.fetches = self.fetches
        keeper.want(self._wanted)
        self._keeper = keeper
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(keeper.run())
                group.create_task(self._publish(keeper))
        finally:
            self._keeper = None

    async def _publish(self, keeper: Keeper) -> None:
        while True:
            await self._write.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._write.clear()
            kept = keeper.kept()
            texts = dump(kept)
            if lost := kept.keys() - texts.keys():
                log.error("issuers' keys are too many for one ConfigMap: no room for %s", ", ".join(sorted(lost)))
            if texts == dump(self._shelf().kept) or not self._leader():
                continue
            try:
                await self._apply(texts)
            except FAILURES as fault:
                log.warning("the keys of issuers cannot be kept: %s", str(fault) or type(fault).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
                self._write.set()

    async def _apply(self, texts: Mapping[str, str]) -> None:
        metadata = {"name": CONFIG_MAP, "labels": LABELS, "ownerReferences": await Owner(self._api).references()}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": texts}
        query = {"fieldManager": MANAGER, "force": "true"}
        await self._api.send("PATCH", f"{self._path}/{CONFIG_MAP}", body, kind=APPLY, query=query)

    async def _say(self, name: str) -> None:
        """To the leader. What is lost is said again by the next sidecar."""
        said = f"{name} {dt.datetime.now(dt.UTC).isoformat(timespec='milliseconds')}"
        try:
            await self._api.send(
                "PATCH", f"{self._path}/{CONFIG_MAP}", {"metadata": {"annotations": {STALE: said}}}, kind=MERGE
            )
        except Refused as refused:
            if refused.status != 404:  # else nothing was ever fetched, and the leader tries anyway
                log.warning("that %s lacks a key cannot be told: %s", name, refused)
        except FAILURES as fault:
            log.warning("that %s lacks a key cannot be told: %s", name, str(fault) or type(fault).__name__)

    def _shelf(self) -> Shelf:
        return next(iter(self.maps.records.values()), Shelf({}))

    def _on_change(self) -> None:
        before, self._seen = self._seen, self._shelf()
        both = {**self._good, **self._seen.kept}
        self._good = {name: each for name, each in both.items() if each.jwks and name in self._wanted}
        if self._seen.kept != before.kept:
            self._changed()
            self._write.set()  # somebody may have written another one over it
        if self._seen.stale != before.stale and self._keeper is not None:
            self._keeper.doubt([self._seen.stale.partition(" ")[0]])

    def families(self) -> tuple[Family, ...]:
        """For the metrics."""
        return (
            Family("issuer_fetches_total", "counter", "Fetches of issuers' keys, by what came of them.", self._results),
            Family("issuer_doubts_total", "counter", "Words of sidecars of unknown keys.", one(lambda: self.doubts)),
            Family("issuer_key_sets", "gauge", "Key sets that policies need, by their state.", self._states),
        )

    def _results(self) -> list[Sample]:
        return [({"result": result}, float(count)) for result, count in self.fetches.items()]

    def _states(self) -> list[Sample]:
        kept = self._shelf().kept
        states = [_state(kept.get(name)) for name in self._wanted]
        return [({"state": state}, float(states.count(state))) for state in ("good", "old", "missing")]


def _state(kept: Kept | None) -> str:
    """`old`: the last good keys, with a problem about newer ones."""
    if kept is None or not kept.jwks:
        return "missing"
    return "old" if kept.problem else "good"
