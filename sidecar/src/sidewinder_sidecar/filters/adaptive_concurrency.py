"""Refuses what the application would only be slower for: 503, at once. Made by `plan/guards` for `adaptiveConcurrency`.

Last of the guard's filters: what another policy refuses takes no place. A place is held until the answer has ended or
a tunnel begins, but not for the sake of a body that is on its way for long, where others wait. What is measured is the
time from the request's end to the answer's head: the application's own part. How many places there are,
`resilience/adaptive` finds out; that is kept under the policy's name and its target's, and outlives every plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.messages import Call, Reply, Response
from sidewinder_sidecar.resilience.adaptive import HIGH, LOW, NAME, NORMAL, Gradient

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.filters.context import Context
    from sidewinder_sidecar.snapshot.policies import AdaptiveConcurrencySpec

KIND: Final = "adaptive_concurrency"
SHARES: Final = {b"low": LOW, b"high": HIGH}  # any other word is NORMAL
MOST_POLICIES: Final = 64  # kept by name; one proxy's ports have a few, what nobody asks any more goes
TOOK_TOO_LONG: Final = frozenset({"deadline", "try_timeout", "idle"})


def build(spec: AdaptiveConcurrencySpec, context: Context) -> Callable[[Call], Reply | None]:
    """The filter of one section."""
    clock = context.wheel.clock
    gradients: dict[str, Gradient] = context.memory.setdefault(NAME, {})
    key = f"{spec.policy} {spec.target}"
    if key not in gradients:
        if len(gradients) >= MOST_POLICIES:
            for name in [name for name, one in gradients.items() if not one.running]:
                del gradients[name]
        gradients[key] = Gradient(spec, clock())
    return Admission(spec, gradients[key], clock, context.count).apply


class Admission:
    """One section on one port. Ports that have it by the same target of the policy share the Gradient."""

    __slots__ = ("_clock", "_count", "_decision", "_gradient", "_header", "_spec")

    def __init__(
        self,
        spec: AdaptiveConcurrencySpec,
        gradient: Gradient,
        clock: Callable[[], float],
        count: Callable[[str, str, str], None],
    ) -> None:
        self._spec = spec
        self._gradient = gradient
        self._clock = clock
        self._count = count
        self._header = spec.priority_header.encode()
        self._decision = f"{spec.policy}/adaptiveConcurrency"

    def apply(self, call: Call) -> Reply | None:
        """A place, or the refusal."""
        gradient = self._gradient
        if gradient.spec is not self._spec:  # only now: a plan that is refused must not have changed it
            gradient.renew(self._spec)
        share = HIGH
        if self._header:
            value = call.request.fields.get(self._header)
            share = NORMAL if value is None else SHARES.get(value.strip().lower(), NORMAL)
        if not (gradient.admits(share) or (gradient.relieve(self._clock()) and gradient.admits(share))):
            self._count(KIND, "Deny", self._spec.policy)
            detail = f"{gradient.running} requests run, and more at once would take too long"
            return Reply(503, "overloaded", detail, decision=self._decision)
        gradient.enter()
        call.listen(Place(gradient, self._clock))
        return None

    def __repr__(self) -> str:
        return f"<Admission {self._decision} {self._gradient!r}>"


class Place:
    """What one running request holds: a Tap that takes the time."""

    __slots__ = ("_answered", "_begun", "_clock", "_gradient", "_holds")

    def __init__(self, gradient: Gradient, clock: Callable[[], float]) -> None:
        self._gradient: Gradient | None = gradient  # None: it is over
        self._clock = clock
        self._begun = 0.0  # when the request was whole; 0.0: its body is on its way
        self._answered = False
        self._holds = True
        gradient.passing[self] = clock()

    def send_data(self, data: bytes) -> bool:
        return True

    def send_end(self, trailers: Fields | None = None) -> None:
        """It is the application's turn."""
        if self._gradient is not None:
            self._begun = self._clock()
            if not self._answered:
                self._gradient.passing.pop(self, None)

    def answer(self, response: Response, body: bytes | None) -> None:
        """The application has answered. A failure may be quick and tells nothing of what it takes to succeed; neither
        does an answer to what has not been asked yet."""
        self._answered = True
        gradient = self._gradient
        if gradient is None:
            return
        if body is None and self._holds:
            gradient.passing.pop(self, None)  # to the end of the row
            gradient.passing[self] = self._clock()
        if response.status < 500 and self._begun:
            now = self._clock()
            gradient.measured(now, now - self._begun)

    def answer_data(self, data: bytes) -> None: ...

    def give_up(self) -> None:
        """The gradient: there is no room, and this is only a body that passes."""
        if self._holds and self._gradient is not None:
            self._holds = False
            self._gradient.leave()

    def over(self, error: str) -> None:
        """Gives the place back. Who waited in vain has waited at least so long."""
        self.give_up()
        gradient, self._gradient = self._gradient, None
        if gradient is None:
            return
        gradient.passing.pop(self, None)
        if self._answered or not self._begun:
            return
        now = self._clock()
        waited = now - self._begun
        if error in TOOK_TOO_LONG or (error == "caller_gone" and waited > gradient.spec.target_latency):
            gradient.measured(now, waited)

    def __repr__(self) -> str:
        return f"<Place of {self._gradient!r}>"
