"""Refuses what the application would only be slower for: 503, at once. Made by `plan/guards` for `adaptiveConcurrency`.

Last of the guard's filters: what another policy refuses takes no place. A place is held until the answer has ended or
a tunnel begins; what is measured is the time to the answer's head, as the application's own part. How many places
there are, `resilience/adaptive` finds out; that is kept under the policy's name and outlives every plan.
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
UNMEASURED: Final = -1.0


def build(spec: AdaptiveConcurrencySpec, context: Context) -> Callable[[Call], Reply | None]:
    """The filter of one section."""
    clock = context.wheel.clock
    gradients: dict[str, Gradient] = context.memory.setdefault(NAME, {})
    if spec.policy not in gradients:
        if len(gradients) >= MOST_POLICIES:
            for name in [name for name, one in gradients.items() if not one.running]:
                del gradients[name]
        gradients[spec.policy] = Gradient(spec, clock())
    return Admission(spec, gradients[spec.policy], clock, context.count).apply


class Admission:
    """One section on one port. Ports with the same policy share the Gradient."""

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
        if not gradient.admits(share):
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

    __slots__ = ("_answered", "_begun", "_clock", "_gradient", "_seconds")

    def __init__(self, gradient: Gradient, clock: Callable[[], float]) -> None:
        self._gradient: Gradient | None = gradient  # None: given back
        self._clock = clock
        self._begun = clock()
        self._answered = False
        self._seconds = UNMEASURED

    def send_data(self, data: bytes) -> bool:
        return True

    def send_end(self, trailers: Fields | None = None) -> None: ...

    def answer(self, response: Response, body: bytes | None) -> None:
        """The application has answered. A failure may be quick and tells nothing of what it takes to succeed."""
        self._answered = True
        if response.status < 500:
            self._seconds = self._clock() - self._begun

    def answer_data(self, data: bytes) -> None: ...

    def over(self, error: str) -> None:
        """Gives the place back. Who waited in vain has waited at least so long."""
        gradient, self._gradient = self._gradient, None
        if gradient is None:
            return
        now = self._clock()
        waited = now - self._begun
        too_long = error in TOOK_TOO_LONG or (error == "caller_gone" and waited > gradient.spec.target_latency)
        gradient.leave(now, waited if too_long and not self._answered else self._seconds)

    def __repr__(self) -> str:
        return f"<Place of {self._gradient!r}>"
