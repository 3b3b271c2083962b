"""Who leads: a Lease that at most one replica holds. Run by `main`; every write of the leader asks `leader`.

1. Whether another's Lease has run out is judged by this machine's monotonic time since the holder last changed it,
   never by the times that stand in it: clocks differ.
2. `leader()` is true only while the last renewal, counted from before it was asked for, is younger than the deadline.
   It needs no answer to become false.
3. The deadline is shorter than the duration by what the work of a leader may need to end: it is cancelled and awaited
   before anybody else can lead.
4. Two that want it at once are told apart by the resourceVersion: the slower one gets a conflict.
5. Who stops, or whose work fails, gives it back, so that the next need not wait.
6. Whoever takes it says whose it is (`owner`): an uninstall takes it along, and what was left of an earlier one stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from sidewinder_operator.apiserver import FAILURES, ApiServer, Refused
from sidewinder_operator.watch.clock import Clock, Monotonic
from sidewinder_operator.watch.owner import Owner

log = logging.getLogger("sidewinder.lease")

_GROUP = "coordination.k8s.io/v1"


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds; those of Kubernetes' own components."""

    duration: int = 15  # others wait this long for a holder that says nothing
    deadline: float = 10.0  # a holder that could not renew for this long stops
    retry: float = 2.0  # how often it is tried


class Lease:
    """One replica's view of the Lease `namespace`/`name`. `identity` is this replica's alone."""

    def __init__(
        self,
        api: ApiServer,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: Timing | None = None,
        clock: Clock | None = None,
    ) -> None:
        # what it was made for
        self._api = api
        self._owner = Owner(api)
        self._place = {"namespace": namespace, "name": name}
        self._all = f"/apis/{_GROUP}/namespaces/{namespace}/leases"
        self._one = f"{self._all}/{name}"
        self.identity = identity
        self._timing = timing or Timing()
        self._clock = clock or Monotonic()
        # what it has seen
        self.holder = ""
        self._seen: tuple[str, str] | None = None  # holder and renewTime
        self._seen_at = 0.0
        self._renewed_at: float | None = None  # by us; None: it is not ours
        # how it goes
        self.terms = 0  # how often this replica came to lead
        self.failures = 0
        self._in_a_row = 0  # only the first is logged

    def __repr__(self) -> str:
        return f"<Lease held by {self.holder or 'nobody'}, {'ours' if self.leader() else 'not ours'}>"

    def leader(self) -> bool:
        """May this replica write, now?"""
        return self._renewed_at is not None and self._clock.now() - self._renewed_at < self._timing.deadline

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Tries for ever; `lead` runs while this replica leads and is not meant to end before it is cancelled."""
        work: asyncio.Task[None] | None = None
        try:
            while True:
                await self._try()
                if not self.leader():
                    self._renewed_at = None
                if work is not None and (work.done() or not self.leader()):
                    crashed = work.done()
                    await self._end(work)
                    work = None
                    if crashed:
                        await self._release()
                if work is None and self.leader():
                    self.terms += 1
                    log.info("this replica leads (%s)", self.identity)
                    work = asyncio.create_task(_work(lead), name="leading")
                await self._pause(work)
        finally:
            if work is not None:
                await self._end(work)
            await self._release()

    # ── the Lease ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _try(self) -> None:
        began = self._clock.now()
        try:
            held = await self._renew()
        except FAILURES as fault:
            self.failures += 1
            self._in_a_row += 1
            if self._in_a_row == 1 and not (isinstance(fault, Refused) and fault.status == 409):
                log.warning("the Lease %s/%s: %s", *self._place.values(), str(fault) or type(fault).__name__)
            return  # what was renewed before counts until its deadline
        if self._in_a_row > 1:
            log.info("the Lease can be asked for again after %d failures", self._in_a_row)
        self._in_a_row = 0
        self._renewed_at = began if held else None

    async def _renew(self) -> bool:
        """Asks for it, or for more of it; whether it is ours."""
        try:
            lease = msgspec.json.decode(await self._send("GET", self._one))
        except Refused as refused:
            if refused.status != 404:
                raise
            await self._send("POST", self._all, self._new(await self._owner.references()))
            return self._hold()
        spec: dict[str, Any] = lease.setdefault("spec", {})
        if not self._free(spec):
            return False
        if spec.get("holderIdentity") != self.identity:
            spec |= {"acquireTime": _now(), "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
            lease["metadata"]["ownerReferences"] = await self._owner.references()
        spec |= {"holderIdentity": self.identity, "leaseDurationSeconds": self._timing.duration, "renewTime": _now()}
        await self._send("PUT", self._one, lease)
        return self._hold()

    def _free(self, spec: dict[str, Any]) -> bool:
        """Ours already, nobody's, or one whose holder has said nothing for as long as it was to last."""
        holder, renewed = spec.get("holderIdentity") or "", spec.get("renewTime") or ""
        if self._seen != (holder, renewed):
            self._seen, self._seen_at = (holder, renewed), self._clock.now()
        self.holder = holder
        if holder in ("", self.identity):
            return True
        lasts = spec.get("leaseDurationSeconds") or self._timing.duration
        return self._clock.now() - self._seen_at >= lasts

    def _hold(self) -> bool:
        self.holder = self.identity
        return True

    def _new(self, owners: list[dict[str, Any]]) -> dict[str, Any]:
        now = _now()
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._timing.duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        metadata = {**self._place, "ownerReferences": owners}
        return {"apiVersion": _GROUP, "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _send(self, method: str, path: str, body: Any = None) -> bytes:
        """Never later than the deadline, so that a slow answer does not keep the work from ending in time."""
        seconds = self._timing.deadline / 3
        if self._renewed_at is not None:
            seconds = min(seconds, max(0.1, self._renewed_at + self._timing.deadline - self._clock.now()))
        return await self._api.send(method, path, body, seconds=seconds)

    async def _release(self) -> None:
        """Gives it back, if it is ours."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        with contextlib.suppress(*FAILURES):  # who cannot say it lets it run out
            lease = msgspec.json.decode(await self._send("GET", self._one))
            if lease.get("spec", {}).get("holderIdentity") == self.identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
                await self._send("PUT", self._one, lease)
                log.info("the Lease is given back")

    # ── the work ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _pause(self, work: asyncio.Task[None] | None) -> None:
        """Until the next try, the deadline, or the end of the work."""
        seconds = self._timing.retry * random.uniform(1.0, 1.2)
        if self._renewed_at is not None:
            seconds = min(seconds, max(0.05, self._renewed_at + self._timing.deadline - self._clock.now()))
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait(
                {sleeping, work} if work is not None else {sleeping}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            sleeping.cancel()

    async def _end(self, work: asyncio.Task[None]) -> None:
        """Cancels and awaits. What does not end in time is waited for all the same: two must never lead here."""
        log.info("this replica does not lead any more")
        work.cancel()
        left = self._timing.duration - self._timing.deadline
        done, _ = await asyncio.wait({work}, timeout=left)
        if not done:
            log.error("the leader's work has not ended within %.0f s; `leader` keeps it from writing", left)
            await asyncio.wait({work})


async def _work(lead: Callable[[], Awaitable[None]]) -> None:
    try:
        await lead()
        log.error("the leader's work has ended by itself, which it should not: another replica may try")
    except Exception:  # a bug of ours: told once, and the Lease goes to somebody else
        log.exception("the leader's work has failed: another replica may try")


def _now() -> str:
    """As metav1.MicroTime; for people alone."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
