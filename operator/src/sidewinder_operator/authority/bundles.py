"""The trust bundle in every namespace of the mesh: a ConfigMap that injected pods mount. A duty of the leader.

1. Written by server-side apply, only where it differs from what is there, and again when somebody has deleted or
   changed it.
2. A namespace is served while it is labelled or has a pod with a proxy: who runs needs it to the end. Afterwards the
   ConfigMap goes, if it is ours.
3. It names an owner (`owners`), with which an uninstall takes it away.

Run by `main` on the replica that leads; a reflector tells what there is (`keep`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import msgspec

from sidewinder_operator.apiserver import APPLY, FAILURES, ApiServer, Refused
from sidewinder_operator.authority.bell import Bell
from sidewinder_operator.authority.keeper import LABELS
from sidewinder_operator.authority.root import Trust

log = logging.getLogger("sidewinder.authority")

MANAGER = "sidewinder-operator"
LOOK_SECONDS = 30.0
AGAIN_SECONDS = 2.0  # after something was refused; a namespace that is being deleted refuses until it is gone
GATHER_SECONDS = 0.1


class Bundle(msgspec.Struct, frozen=True):
    """One ConfigMap's record."""

    namespace: str
    text: str
    ours: bool


class _Metadata(msgspec.Struct):
    namespace: str = ""
    labels: dict[str, str] | None = None


class _ConfigMap(msgspec.Struct):
    metadata: _Metadata
    data: dict[str, str] | None = None


_decoder = msgspec.json.Decoder(_ConfigMap)


def keeping(key: str) -> Callable[[bytes], Bundle]:
    """How a ConfigMap's record is made, for the reflector."""
    label, value = next(iter(LABELS.items()))

    def keep(raw: bytes) -> Bundle:
        found = _decoder.decode(raw)
        ours = (found.metadata.labels or {}).get(label) == value
        return Bundle(found.metadata.namespace, (found.data or {}).get(key, ""), ours)

    return keep


class Bundles:
    """`wanted`: the namespaces that need it now. `there`: what there is, complete once `known`."""

    def __init__(
        self,
        api: ApiServer,
        name: str,
        key: str,
        trust: Callable[[], Trust],
        wanted: Callable[[], Collection[str]],
        there: Callable[[], Collection[Bundle]],
        known: asyncio.Event,
        leader: Callable[[], bool],
        owners: Callable[[], Awaitable[list[dict[str, Any]]]],
    ) -> None:
        self._api = api
        self._name = name
        self._key = key
        self._trust = trust
        self._wanted = wanted
        self._there = there
        self._known = known
        self._leader = leader
        self._owners = owners
        self._bell = Bell()
        self._told: dict[str, str] = {}  # namespace → why not; logged once
        self.writes = 0
        self.failures = 0

    def ring(self) -> None:
        """Trust, namespaces or bundles may have changed."""
        self._bell.ring()

    async def publish(self) -> None:
        """Keeps them right, until cancelled."""
        await self._known.wait()
        while True:
            whole = await self._once()
            if await self._bell.heard(LOOK_SECONDS if whole else AGAIN_SECONDS):
                await asyncio.sleep(GATHER_SECONDS if whole else AGAIN_SECONDS)

    async def _once(self) -> bool:
        """One look; False: something has to be tried again."""
        text, there = self._trust().pem().decode(), {each.namespace: each for each in self._there()}
        wanted = set(self._wanted())
        lacking = sorted(space for space in wanted if space not in there or there[space].text != text)
        surplus = sorted(space for space, each in there.items() if space not in wanted and each.ours)
        self._told = {space: why for space, why in self._told.items() if space in wanted or space in there}
        if not lacking and not surplus:
            return True
        try:
            owners = await self._owners()
        except FAILURES as fault:
            log.warning("the trust bundles cannot be written: %s", str(fault) or type(fault).__name__)
            return False
        done = [await self._try(space, "PATCH", self._document(text, owners)) for space in lacking]
        done += [await self._try(space, "DELETE") for space in surplus]
        return all(done)

    async def _try(self, namespace: str, method: str, body: Mapping[str, Any] | None = None) -> bool:
        if not self._leader():
            return False
        path = f"/api/v1/namespaces/{namespace}/configmaps/{self._name}"
        query = {"fieldManager": MANAGER, "force": "true"} if body is not None else None
        try:
            await self._api.send(method, path, body, kind=APPLY, query=query)
        except Refused as refused:
            if method == "DELETE" and refused.status == 404:
                return True
            self._fail(namespace, str(refused))
            return False
        except FAILURES as fault:
            self._fail(namespace, str(fault) or type(fault).__name__)
            return False
        self._told.pop(namespace, None)
        self.writes += 1
        return True

    def _fail(self, namespace: str, why: str) -> None:
        self.failures += 1
        if self._told.get(namespace) != why:
            self._told[namespace] = why
            log.warning("the trust bundle in %s cannot be written: %s", namespace, why)

    def _document(self, text: str, owners: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._name, "labels": LABELS, "ownerReferences": owners},
            "data": {self._key: text},
        }
