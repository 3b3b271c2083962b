"""What was good last, kept in the cluster as ControllerRevisions, so that no restart of the operator forgets it.

Every replica reads them once before it publishes anything; the leader writes them whenever what is good changes. One
revision an object of ours, in the operator's namespace. A revision cannot be changed, only replaced: the new one is
made before the old one goes, and of two the one of the higher generation counts.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sidewinder_operator.apiserver import FAILURES, ApiServer, Refused
from sidewinder_operator.compile import last_good
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources import Object
from sidewinder_operator.resources.crd import DEFINITIONS
from sidewinder_operator.watch.owner import Owner

log = logging.getLogger("sidewinder.revisions")

LABEL = "sidewinder.dev/last-good"
_VERSION = "apps/v1"
_KINDS = frozenset(of.kind.KIND for of in DEFINITIONS)  # what Kubernetes owns is checked by Kubernetes
_PAGE = "500"


class Revisions:
    """The revisions of one operator's namespace."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._owner = Owner(api)
        self._path = f"/apis/{_VERSION}/namespaces/{namespace}/controllerrevisions"
        self._there: frozenset[str] = frozenset()  # names, as last read or written
        self._written: Mapping[Reference, Object] | None = None  # what they say, if it was us who wrote them

    async def read(self) -> dict[Reference, Object]:
        """What was good, and which revisions there are. Raises one of `apiserver.FAILURES`."""
        query = {"labelSelector": LABEL, "limit": _PAGE}
        found: list[tuple[int, str, bytes]] = []
        while True:
            page = await self._api.get(self._path, query)
            for item in page.get("items") or ():
                line = msgspec.json.encode(item.get("data"))
                found.append((item.get("revision", 0), item["metadata"]["name"], line))
            if not (more := page["metadata"].get("continue")):
                break
            query["continue"] = more
        found.sort()
        self._there = frozenset(name for _, name, _ in found)
        self._written = None
        return last_good.load(b"\n".join(line for _, _, line in found))

    async def write(self, good: Mapping[Reference, Object], leader: Callable[[], bool]) -> bool:
        """Makes the revisions say `good`. False: not all could be written, try again."""
        if good == self._written:
            return True
        self._written = None
        wanted = dict(_revision(reference, thing) for reference, thing in good.items() if reference.kind in _KINDS)
        there = set(self._there)
        try:
            missing = sorted(wanted.keys() - there)
            owners = await self._owner.references() if missing else []
            for name in missing:
                if not leader():
                    return False
                await self._make(wanted[name], owners)
                there.add(name)
            for name in sorted(there - wanted.keys()):
                if not leader():
                    return False
                await self._remove(name)
                there.remove(name)
        except FAILURES as fault:
            log.warning("what is good cannot be kept: %s", str(fault) or type(fault).__name__)
            return False
        finally:
            self._there = frozenset(there)
        self._written = good
        return True

    async def _make(self, revision: dict[str, Any], owners: list[dict[str, Any]]) -> None:
        revision["metadata"]["ownerReferences"] = owners
        try:
            await self._api.send("POST", self._path, revision)
        except Refused as refused:
            if refused.reason != "AlreadyExists":  # its name says its content
                raise

    async def _remove(self, name: str) -> None:
        try:
            await self._api.send("DELETE", f"{self._path}/{name}")
        except Refused as refused:
            if refused.status != 404:
                raise


def _revision(reference: Reference, thing: Object) -> tuple[str, dict[str, Any]]:
    line = last_good.dump({reference: thing})
    name = "-".join((reference.kind.lower(), _digest(str(reference).encode()), _digest(line)))
    return name, {
        "apiVersion": _VERSION,
        "kind": "ControllerRevision",
        "metadata": {"name": name, "labels": {LABEL: "true", "app.kubernetes.io/managed-by": "sidewinder-operator"}},
        "revision": thing.metadata.generation,
        "data": msgspec.Raw(line),
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
