"""This sidecar's certificate over its life: used again after a restart, renewed long before it ends. Run by main.

It is renewed when half of its life, with jitter, is over; when another root signs now, or none that is mounted has
signed it; and when the operator refuses it. Until then, and whatever fails, the old one is used; what serves does not
depend on any of it. Discovery's TLS asks for `ready` and `context`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable

from sidewinder_sidecar.identity import child
from sidewinder_sidecar.identity.child import Outcome
from sidewinder_sidecar.identity.files import Files, Held
from sidewinder_sidecar.identity.leaf import Unfit

log = logging.getLogger("sidewinder.identity")

HALF = (0.45, 0.55)  # of a life: then it is renewed. Sidecars that began together drift apart by a tenth of it
LEAST_SECONDS = 5.0  # between two enrolments, however short a certificate's life is
LOOK_SECONDS = 30.0  # how often the clock and the mounted roots are looked at; the kubelet needs a minute to change it
HURRY_SECONDS = 5.0  # over which sidecars renew once the root that has signed is not named any more
SPREAD_SECONDS = 60.0  # the same once it is named still, but another one signs: 5 000 are then 83 a second of 200
REFUSED_SECONDS = 300.0  # the least between two enrolments that refusals ask for
REFUSALS = 3  # within so long: fewer may be accidents
FIRST_PAUSE = 0.5  # seconds after a first failure; doubles, with jitter
LONGEST_PAUSE = 30.0  # while there is no certificate: discovery waits for it
LONGEST_SPARE_PAUSE = 300.0  # while the old one holds


class Identity:
    """One per process. `held` is what is shown to peers, None while there is none. `renewed` hears of a new one that
    was enrolled, `changed` of every one that is used from now on, and of other roots.
    """

    def __init__(
        self,
        files: Files,
        *,
        enrol: Callable[[], Awaitable[Outcome]] = child.run,
        now: Callable[[], float] = time.time,
        renewed: Callable[[], None] = lambda: None,
        changed: Callable[[Held], None] = lambda held: None,
    ) -> None:
        self.held: Held | None = None
        self.renew_at = 0.0
        self.renewed = renewed
        self.changed = changed
        # what metrics and the admin page tell
        self.enrolments = 0
        self.failures = 0
        self.fault = ""  # why there is none, or no newer one
        self._files = files
        self._enrol = enrol
        self._now = now
        self._mounted: tuple[int, ...] = ()  # which file of roots was read
        self._enrolling = False
        self._refusals: deque[float] = deque(maxlen=REFUSALS)
        self._heeded = float("-inf")  # when a refusal was last followed
        self._wake = asyncio.Event()
        self._usable = asyncio.Event()

    @property
    def usable(self) -> bool:
        """Whether peers would take the certificate now."""
        return self.held is not None and self.held.leaf.not_before <= self._now() < self.held.leaf.not_after

    # 1. What discovery asks.

    async def ready(self) -> None:
        """Return once there is a certificate that holds."""
        while not self.usable:
            self._usable.clear()
            await self._usable.wait()

    def context(self) -> ssl.SSLContext:
        """For one connection, with the newest certificate and roots. Raises OSError."""
        self.look()
        if self.held is None:
            raise OSError(0, f"there is no certificate: {self.fault}")
        return self.held.context

    def on_refused(self, why: str) -> None:
        """The operator does not take the certificate: have another one, but not again and again."""
        now = self._now()
        self._refusals.append(now)
        often = len(self._refusals) == REFUSALS and now - self._refusals[0] < REFUSED_SECONDS
        if often and now - self._heeded >= REFUSED_SECONDS:
            self._heeded = now
            self._renew_within(0.0, f"the operator refuses it: {why}")

    # 2. What is there.

    def look(self) -> None:
        """Have the mounted roots changed? While a child writes, its files are left alone."""
        if not self._enrolling and self._stamp() != self._mounted:
            self._load()

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._files.bundle)
        except OSError:
            return (0,)
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _load(self, fresh: bool = False) -> bool:
        """Use what is on disk; False if it cannot be used, which is told and leaves what was in use."""
        self._mounted = self._stamp()
        if self._files.empty:
            self.fault = "there is none yet"
            return False
        before = self.held
        try:
            self.held = held = self._files.load()
        except Unfit as fault:
            self._say(str(fault))
            return False
        if before is None or before.leaf != held.leaf or before.roots != held.roots:
            self.changed(held)
        if before is None or before.leaf != held.leaf:
            at = held.since + (held.leaf.not_after - held.since) * random.uniform(*HALF)
            self.renew_at = max(at, self._now() + LEAST_SECONDS) if fresh else at
            log.info("%s until %s", held.leaf.spiffe_id, date(held.leaf.not_after))
        if held.standing == "foreign" and not fresh:  # a fresh one only knows more than the mounted roots as yet
            self._renew_within(HURRY_SECONDS, "the mounted roots do not name the one that signed it")
        elif held.standing == "old" and not fresh:
            self._renew_within(SPREAD_SECONDS, "another root signs now")
        if not self.usable:
            self._say(f"the certificate holds from {date(held.leaf.not_before)} to {date(held.leaf.not_after)} alone")
            return False
        self._usable.set()
        return True

    def _renew_within(self, seconds: float, why: str) -> None:
        at = self._now() + random.uniform(0, seconds)
        if at < self.renew_at:
            log.warning("the certificate is renewed before its time: %s", why)
            self.renew_at = at
            self._wake.set()

    def _say(self, why: str) -> None:
        if why != self.fault:  # once, not at every attempt
            log.warning("identity: %s", why)
        self.fault = why

    # 3. When it is renewed.

    async def run(self) -> None:
        """For ever: wait until it is due, enrol, again."""
        self._load()
        pause = FIRST_PAUSE
        while True:
            self.look()
            left = self.renew_at - self._now()
            if self.usable and left > 0:
                await self._sleep(min(LOOK_SECONDS, left))
                continue
            outcome = await self._attempt()
            if not outcome.why:
                pause = FIRST_PAUSE
                continue
            longest = LONGEST_SPARE_PAUSE if self.usable else LONGEST_PAUSE
            asked = outcome.retry_after * random.uniform(1.0, 1.25)
            await asyncio.sleep(max(asked, min(pause, longest) * random.uniform(0.5, 1.0)))
            pause = min(pause * 2, longest)

    async def _sleep(self, seconds: float) -> None:
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            pass

    async def _attempt(self) -> Outcome:
        self._enrolling = True
        try:
            outcome = await self._enrol()
        finally:
            self._enrolling = False
        if outcome.why:
            self._say(outcome.why)
        elif not self._load(fresh=True):
            outcome = Outcome(why=self.fault)
        if outcome.why:
            self.failures += 1
            return outcome
        self.enrolments += 1
        self.fault = ""
        self.renewed()
        return outcome


def date(seconds: float) -> str:
    """As RFC 3339 writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
