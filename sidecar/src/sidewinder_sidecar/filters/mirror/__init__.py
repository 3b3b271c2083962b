"""RequestMirror: a copy of a share of a rule's requests goes to another backend, whose answer nobody gets.

Made by plan.build for a rule or a backend, called once per request. The original never waits for the copy: this filter
only notes it, `shadow` sends it from a turn of the wheel of its own once the request is whole. What is kept is bounded
by `shadow.MOST_BODY` times `MOST_IN_FLIGHT`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.fields import Fields
from sidewinder_sidecar.filters.chance import Chance
from sidewinder_sidecar.filters.mirror import pace, tally
from sidewinder_sidecar.filters.mirror.shadow import LIMIT, MOST_BODY, Sender, Shadow
from sidewinder_sidecar.messages import Call, Request
from sidewinder_sidecar.resilience import deadline
from sidewinder_sidecar.snapshot.filters import Mirror

if TYPE_CHECKING:
    from sidewinder_sidecar.filters.site import Site
    from sidewinder_sidecar.wheel import Wheel

# What a copy says of itself: the rule that made it. A request that bears it is never copied again, or two routes that
# mirror to each other would never end.
MARK: Final = b"x-sidewinder-mirror"
MOST_IN_FLIGHT: Final = 64  # copies of one filter at a time: 4 MiB of bodies at the worst; more are not made

# Of this hop, of a body that was streamed, of a retry: a copy is sent whole, once.
_LEFT_OUT: Final = (b"expect", b"te", b"trailer", b"x-sidewinder-attempt")


def build(spec: Mirror, site: Site) -> Callable[[Call], None] | None:
    """The filter of one RequestMirror; None where its share is nothing. Raises ValueError for what cannot be done."""
    made = Mirroring(spec, site)
    return made.apply if spec.numerator else None


class Mirroring:
    """Draws and copies; what happens to a copy then is its own."""

    __slots__ = ("_chance", "_compare", "_mark", "_wheel", "sender")

    def __init__(self, spec: Mirror, site: Site) -> None:
        self._chance = Chance(spec.numerator, spec.denominator)
        self._compare = spec.compare
        self._mark = f"{site.route}/{site.rule}".encode()
        self._wheel: Wheel = site.wheel
        kept = tally.of(site.means, site.route, site.rule, spec.backend)
        self.sender = Sender(site.opens(spec.backend), kept, pace.of(site.means, site.wheel))

    def apply(self, call: Call) -> None:
        """Copy the request as it is now, if it is one of them."""
        if not self._chance.drawn():
            return
        request, sender = call.request, self.sender
        if request.upgrade or MARK in request.fields.index:
            sender.tally.count("skipped")
        elif (request.length or 0) > MOST_BODY:
            sender.tally.count("too_large")
        elif sender.in_flight >= MOST_IN_FLIGHT:
            sender.tally.count("busy")
        else:
            sender.in_flight += 1
            call.listen(Shadow(sender, self._copy(request), call, self._wheel, self._compare))

    def _copy(self, request: Request) -> Request:
        fields = request.fields
        copied = Fields(fields.rows, fields.source, dict(fields.index))
        copied.dropped = fields.dropped
        copied.added = list(fields.added)
        for name in _LEFT_OUT:
            copied.remove(name)
        copied.set(MARK, MARK, self._mark)
        deadline.write(copied, LIMIT)
        copy = Request(request.method, request.target, request.authority, copied, 0)
        copy.received = request.received  # who checks the target asks whether it was changed
        copy.scheme = request.scheme
        return copy

    def __repr__(self) -> str:
        return f"<Mirroring {self._mark.decode()} {self.sender!r}>"
