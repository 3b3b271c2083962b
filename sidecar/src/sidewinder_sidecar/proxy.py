"""What all exchanges of a process share. Made by `main`, given to every listener, read by every exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sidewinder_sidecar.compiled import mypyc_attr
from sidewinder_sidecar.plan import Plan
from sidewinder_sidecar.telemetry.callers import Callers
from sidewinder_sidecar.tls.keyring import Keyring

if TYPE_CHECKING:
    from sidewinder_sidecar.fleet import Fleet
    from sidewinder_sidecar.messages import Call, Relayed
    from sidewinder_sidecar.settings import Limits
    from sidewinder_sidecar.wheel import Wheel


class Running(Protocol):
    """An exchange that has begun and not ended."""

    def abort(self, error: str, detail: str = "") -> None: ...


class Asking(Protocol):
    """A question to the operator that is on its way."""

    def cancel(self) -> None: ...  # after it returns, `done` is never called


# fetch(key, done): ask for what the snapshot lacks; key is `ip:port` (`[ip]:port`) or an authority. None: go on now (it
# was refused before, or nobody is connected). Else `done()` is called once, later, never from inside: the configuration
# that answers is applied, or it was refused, or 2 s are over.
Fetch: TypeAlias = Callable[[str, Callable[[], None]], Asking | None]


def _forget(relayed: Relayed) -> None:
    """Nobody wants to be told."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Proxy:
    """`adopt` swaps the plan; draining waits until `running` is empty. `bugs` counts what should never happen."""

    __slots__ = (
        "bugs", "callers", "clock", "draining", "fetch", "fleet", "keyring", "limits", "look_seconds", "plan", "record",
        "record_relayed", "running", "traces", "wheel",
    )  # fmt: skip

    def __init__(self, fleet: Fleet, wheel: Wheel, record: Callable[[Call], None], limits: Limits) -> None:
        self.plan = Plan()
        self.fleet = fleet
        self.wheel = wheel
        self.clock = wheel.clock
        self.record = record
        self.record_relayed: Callable[[Relayed], None] = _forget  # of connections that are no exchange
        self.traces = True  # spans are made somewhere: calls get a trace of their own
        self.limits = limits
        self.look_seconds = min(limits.stall_seconds, limits.stream_seconds)  # until a try is first looked at
        self.fetch: Fetch | None = None  # None: nobody can be asked (no discovery stream)
        self.draining = False
        self.running: set[Running] = set()
        self.bugs = 0
        self.callers = Callers()  # of inbound ports
        self.keyring = Keyring()  # who we are to other proxies; empty: nobody

    def adopt(self, plan: Plan) -> None:
        """From here on new exchanges use `plan`. One step: no request sees half of it."""
        self.fleet.adopt(plan.wanted)
        self.plan = plan

    def __repr__(self) -> str:
        return f"<Proxy {self.plan!r}{' draining' if self.draining else ''}, {len(self.running)} running>"
