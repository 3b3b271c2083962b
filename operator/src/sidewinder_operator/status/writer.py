"""Writes statuses: only the leader, only what differs from what stands there, each object at most once a second, and
where only ejected endpoints differ, every ten: breakers that open and close are no reason to fill etcd.

Run by `main` while this replica leads; `offer` brings what is to be said after each turn of the reconciler, `ring` says
that acknowledgements have come, `mark` that somebody else may have changed what stands there (kopf's handlers).
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

import msgspec

from sidewinder_operator.apiserver import APPLY, FAILURES, JSON, Refused
from sidewinder_operator.compile.conditions import Status
from sidewinder_operator.problems import Reference
from sidewinder_operator.resources.meta import VERSION
from sidewinder_operator.status.content import EJECTED, Told, content, same, timed
from sidewinder_operator.status.events import event, news

log = logging.getLogger("sidewinder.status")

MANAGER = "sidewinder-operator"  # the field manager; its name says whose the fields are
GATHER_SECONDS = 0.25  # acknowledgements come in a flock: one status for all of them
CALM = 10  # a look at everybody's acknowledgements that took long is not repeated before ten times as long
OBJECT_SECONDS = 1.0  # between two writes of one object
EJECTED_SECONDS = 10.0  # where only what proxies leave alone differs: 6 writes of 9 KB a minute, however much flaps
AT_ONCE = 8  # requests: a new leader of 1 000 objects is through in a second, and the API server hardly notices
HOLD_SECONDS = 10.0  # twice what a replica may be away before it is named
LONGEST_PAUSE = 10.0  # while the API server cannot be reached


class Send(Protocol):
    """`apiserver.ApiServer.send`."""

    def __call__(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None, kind: str = JSON
    ) -> Awaitable[bytes]: ...


class _Standing(msgspec.Struct):
    """An object's status as it stands there, as far as is known."""

    uid: str
    status: dict[str, Any]
    version: str
    written_at: float


class Writer:
    """What is to be said, and what has been."""

    def __init__(
        self,
        send: Send,
        path_of: Callable[[str, str, str], str],
        leader: Callable[[], bool],
        told: Callable[[Collection[Reference]], Mapping[Reference, Told]],
        *,
        who: str,
        hold: Callable[[], bool] = lambda: False,
    ) -> None:
        self._send = send
        self._path_of = path_of
        self._leader = leader
        self._told = told
        self._who = who
        self._hold = hold  # what `told` says may be wrong for a moment: another replica of the operator restarts
        self._wanted: Mapping[Reference, Status] = {}
        self._numbers: Mapping[Reference, tuple[str, int]] = {}
        self._there: dict[Reference, _Standing] = {}
        self._bell = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._cost = 0.0
        self.writes = 0
        self.events = 0
        self.failures = 0

    # ── what is new ───────────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, wanted: Mapping[Reference, Status], numbers: Mapping[Reference, tuple[str, int]]) -> None:
        """What compile says, and uid and generation of each object."""
        self._wanted, self._numbers = wanted, numbers
        self._bell.set()

    def ring(self) -> None:
        """Something was acknowledged, or refused."""
        self._bell.set()

    def mark(self, reference: Reference, version: str) -> None:
        """The object is there in this resourceVersion: read it again, unless that is what was written last."""
        there = self._there.get(reference)
        if there is not None and there.version != version:
            there.version = ""
            self._bell.set()

    def forget(self) -> None:
        """Somebody else has led meanwhile."""
        self._there.clear()
        self._bell.set()

    # ── the work ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Writes, until cancelled."""
        pause = GATHER_SECONDS
        while True:
            await self._bell.wait()
            await asyncio.sleep(pause)
            await self._sure()
            self._bell.clear()
            well = await self.once()
            pause = max(GATHER_SECONDS, CALM * self._cost) if well else min(pause * 2, LONGEST_PAUSE)
            if not well:
                self._bell.set()

    async def _sure(self) -> None:
        """Waits for a moment to pass in which too little is known; not for a row of such moments."""
        for _ in range(int(HOLD_SECONDS / GATHER_SECONDS)):
            if not self._hold():
                return
            await asyncio.sleep(GATHER_SECONDS)

    async def once(self) -> bool:
        """One look at everything. False: something could not be written and should be tried again."""
        for reference in self._there.keys() - self._wanted.keys():
            del self._there[reference]
        began = time.perf_counter()
        gate, told = asyncio.Semaphore(AT_ONCE), self._told(self._wanted)
        self._cost = time.perf_counter() - began
        waiting = [
            self._guarded(gate, reference, status, told[reference]) for reference, status in self._wanted.items()
        ]
        return all(await asyncio.gather(*waiting))

    async def _guarded(self, gate: asyncio.Semaphore, reference: Reference, status: Status, told: Told) -> bool:
        uid, generation = self._numbers.get(reference, ("", 0))
        wanted = content(reference.kind, status, generation, told)
        there = self._there.get(reference)
        if there is not None and there.uid == uid and there.version and same(wanted, there.status):
            return True
        if not self._leader() or not uid:
            return True
        if there is not None:
            seconds = EJECTED_SECONDS if there.version and _flaps(wanted, there.status) else OBJECT_SECONDS
            if asyncio.get_running_loop().time() < there.written_at + seconds:
                self._ring_at(there.written_at + seconds)  # later: what has come until then goes with it
                return True
        async with gate:
            return await self._write(reference, uid, wanted)

    def _ring_at(self, when: float) -> None:
        """Look again then, or before."""
        if self._alarm is None or self._alarm.cancelled() or self._alarm.when() > when:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_at(when, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self._bell.set()

    async def _write(self, reference: Reference, uid: str, wanted: dict[str, Any]) -> bool:
        path = self._path_of(reference.kind, reference.namespace, reference.name)
        try:
            there = await self._known(reference, uid, path)
            if same(wanted, there.status):
                return True
            before = there.status
            status = timed(wanted, before, _now())
            if not self._leader():
                return True
            answer = await self._send(
                "PATCH", f"{path}/status", _body(reference, uid, status), query=_QUERY, kind=APPLY
            )
            self._keep(reference, uid, answer, asyncio.get_running_loop().time())
            self.writes += 1
        except FAILURES as fault:
            return self._on_failure(reference, fault)
        for condition in news(before, status):
            if self._leader():
                await self._tell(reference, uid, condition)
        return True

    async def _known(self, reference: Reference, uid: str, path: str) -> _Standing:
        there = self._there.get(reference)
        if there is not None and there.uid == uid and there.version:
            return there
        written_at = there.written_at if there is not None else 0.0
        return self._keep(reference, uid, await self._send("GET", path), written_at)

    def _keep(self, reference: Reference, uid: str, answer: bytes, written_at: float) -> _Standing:
        found = msgspec.json.decode(answer)
        version = found["metadata"]["resourceVersion"]
        there = _Standing(uid=uid, status=found.get("status") or {}, version=version, written_at=written_at)
        self._there[reference] = there
        return there

    async def _tell(self, reference: Reference, uid: str, condition: Mapping[str, Any]) -> None:
        """An Event that cannot be told is lost: the condition says the same and stays."""
        path, body = event(reference, uid, condition, self._who)
        try:
            await self._send("POST", path, body)
        except FAILURES as fault:
            self.failures += 1
            log.warning("an Event of %s: %s", reference, str(fault) or type(fault).__name__)
        else:
            self.events += 1

    def _on_failure(self, reference: Reference, fault: BaseException) -> bool:
        """404 and 409: the object is gone or another one; the next turn of the reconciler knows it."""
        self._there.pop(reference, None)
        if isinstance(fault, Refused) and fault.status in (404, 409):
            return True
        self.failures += 1
        log.warning("the status of %s: %s", reference, str(fault) or type(fault).__name__)
        return False


def _flaps(wanted: dict[str, Any], there: dict[str, Any]) -> bool:
    """Do they differ in nothing but what proxies leave alone?"""
    return same({**wanted, EJECTED: None}, {**there, EJECTED: None})


_QUERY = {"fieldManager": MANAGER, "force": "true"}  # nobody else has a say in these fields


def _body(reference: Reference, uid: str, status: dict[str, Any]) -> dict[str, Any]:
    """The uid keeps it from being written to another object of the same name."""
    return {
        "apiVersion": VERSION,
        "kind": reference.kind,
        "metadata": {"name": reference.name, "namespace": reference.namespace, "uid": uid},
        "status": status,
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
