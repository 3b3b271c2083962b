"""Fault: a share of a rule's requests is held, or ended without a backend, to see what callers do then.

Made by plan.build for a rule, called once per request of that rule; a delay waits on the wheel. Where the filter says
`headers: Allow`, a request may ask for a fault of its own, which then takes the place of the shares. It acts once: the
header goes no further. After `expires` nothing happens any more, by this machine's clock: what waits then goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.filters.chance import Chance
from sidewinder_sidecar.messages import WAIT, Call, Reply, Wait
from sidewinder_sidecar.snapshot.filters import Fault

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.filters.site import Site
    from sidewinder_sidecar.wheel import Slot, Wheel

DELAY: Final = b"x-sidewinder-fault-delay"
ABORT: Final = b"x-sidewinder-fault-abort"
LONGEST: Final = 30.0  # seconds: longer than callers wait, and half of the stall limit, which would end what is held
MOST_HELD: Final = 1024  # requests of one rule held at a time; more are not delayed
WITH_BODY: Final = 8  # one with a body counts for so many: what one read brought of it is kept, 32 MiB in all
NO_FAULT: Final = -1  # where a status could stand
ALWAYS: Final = -1.0  # where `expires` could stand: it has expired, whatever the clock says later

_DURATION: Final = re.compile(rb"([0-9]{1,5})(ms|s)")
_STATUS: Final = re.compile(rb"[2-5][0-9]{2}")


def build(spec: Fault, site: Site) -> Callable[[Call], Reply | Wait | None] | None:
    """The filter of one Fault; None where its shares are nothing. Raises ValueError for what cannot be done."""
    made = Injector(spec, site)
    shares = (
        spec.delay.numerator if spec.delay is not None else 0,
        spec.abort.numerator if spec.abort is not None else 0,
    )
    return made.apply if spec.headers or any(shares) else None


class Injector:
    """`held` counts the requests that wait, by what they weigh."""

    __slots__ = (
        "_abort", "_abort_chance", "_clock", "_count", "_delay_chance", "_expires", "_headers", "_name", "_seconds",
        "_wheel", "held",
    )  # fmt: skip

    def __init__(self, spec: Fault, site: Site) -> None:
        delay, abort = spec.delay, spec.abort
        if delay is not None and not 0 < delay.seconds <= LONGEST:
            raise ValueError(f"a delay of {delay.seconds:g} s: up to {LONGEST:g} s can be waited")
        if abort is not None and abort.status and not 200 <= abort.status <= 599:
            raise ValueError(f"status {abort.status}: a final status is 200 to 599, 0 resets the connection")
        self._seconds = delay.seconds if delay is not None else 0.0
        self._delay_chance = Chance(delay.numerator, delay.denominator) if delay is not None else None
        self._abort = abort.status if abort is not None else NO_FAULT
        self._abort_chance = Chance(abort.numerator, abort.denominator) if abort is not None else None
        self._headers = spec.headers
        self._expires = spec.expires
        self._wheel = site.wheel
        self._clock = site.means.clock
        self._count = site.means.count
        self._name = f"{site.route}/{site.rule}"
        self.held = 0

    def apply(self, call: Call) -> Reply | Wait | None:
        """What becomes of this request."""
        if self._expires and self.has_expired():
            return None
        fields = call.request.fields
        if self._headers and (DELAY in fields.index or ABORT in fields.index):
            return self._asked(call, fields)
        seconds = self._seconds if self._delay_chance is not None and self._delay_chance.drawn() else 0.0
        status = self._abort if self._abort_chance is not None and self._abort_chance.drawn() else NO_FAULT
        return self._inject(call, seconds, status) if seconds or status != NO_FAULT else None

    def has_expired(self) -> bool:
        """Whether the time is over. It stays over when the clock is put back."""
        if self._expires and self._clock() >= self._expires:
            self._expires = ALWAYS
        return self._expires == ALWAYS

    def _asked(self, call: Call, fields: Fields) -> Reply | Wait | None:
        """The caller says what it wants. What cannot be read is told: whoever tests would wait for nothing."""
        seconds, status = 0.0, NO_FAULT
        if (text := fields.get(DELAY)) is not None:
            seconds = _seconds(text)
            if not 0 < seconds <= LONGEST:
                return _unread(DELAY, f"a duration such as `300ms`, at most {LONGEST:g}s")
        if (text := fields.get(ABORT)) is not None:
            if text != b"reset" and _STATUS.fullmatch(text) is None:
                return _unread(ABORT, "a status such as `503`, or `reset`")
            status = 0 if text == b"reset" else int(text)
        fields.remove(DELAY)
        fields.remove(ABORT)
        return self._inject(call, seconds, status)

    def _inject(self, call: Call, seconds: float, status: int) -> Reply | Wait | None:
        reply = None
        if status != NO_FAULT:
            reply = Reply(status, "fault", "the request is ended by a fault that is injected here")
        if not seconds:
            return self.ended(reply)
        weight = WITH_BODY if call.request.length != 0 else 1
        if self.held + weight > MOST_HELD:
            self._count("fault", "Skipped", self._name)
            return self.ended(reply)
        self._count("fault", "Delay", self._name)
        if self._expires:
            seconds = min(seconds, self._expires - self._clock())
        call.detail = f"fault: delayed by {seconds:.3g} s"
        call.waiting_on = held = Held(self, call, reply, weight)
        held.wait(self._wheel, seconds)
        return WAIT

    def ended(self, reply: Reply | None) -> Reply | None:
        """Counts what is ended now: a request that was held may have ended by itself before, or outlived the filter."""
        if reply is not None:
            self._count("fault", "Abort" if reply.status else "Reset", self._name)
        return reply

    def __repr__(self) -> str:
        return f"<Injector {self._name} {self.held} held>"


class Held:
    """One request that waits; `cancel` is called when its exchange ends before."""

    __slots__ = ("_call", "_injector", "_reply", "_slot", "_weight", "_what")

    def __init__(self, injector: Injector, call: Call, reply: Reply | None, weight: int) -> None:
        self._injector = injector
        self._call = call
        self._what = call.detail
        self._reply = reply
        self._weight = weight
        self._slot: Slot = set()

    def wait(self, wheel: Wheel, seconds: float) -> None:
        """From now on."""
        self._slot = wheel.at(wheel.clock() + seconds, self)
        self._injector.held += self._weight

    def on_time(self, now: float) -> None:
        """The wheel: it has waited enough."""
        self._injector.held -= self._weight
        reply = None if self._injector.has_expired() else self._reply
        if reply is not None:
            reply.detail += f"; {self._what}"
        self._call.resume(self._injector.ended(reply))

    def cancel(self) -> None:
        """Nobody waits any more. Whoever reads that its time was over wants to know who took it."""
        self._injector.held -= self._weight
        self._slot.discard(self)
        if self._call.detail != self._what:
            self._call.detail += f"; {self._what}"

    def __repr__(self) -> str:
        return f"<Held {self._call.request!r}>"


def _seconds(text: bytes) -> float:
    found = _DURATION.fullmatch(text)
    return 0.0 if found is None else int(found[1]) / (1000 if found[2] == b"ms" else 1)


def _unread(name: bytes, right: str) -> Reply:
    return Reply(400, "fault", f"{name.decode()} cannot be read: {right}")
