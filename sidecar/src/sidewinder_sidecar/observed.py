"""What others want to know of an exchange's tries: how each went (breakers, balancers), how many run (limits), spans.

`Rescue(Observed)` says what follows from a try, `Exchange` fills the slots. A backend that nobody observes costs one
truth test a try. Every try that was opened is settled once: with its answer when that is whole, or shows a failure, or
is a probe's; else when the answer has ended, broken off, or is not wanted any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.timeouts import Timeouts
from sidewinder_sidecar.upstream.shortage import is_ours

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Failure, Response
    from sidewinder_sidecar.resilience.concurrency import Concurrency
    from sidewinder_sidecar.router.route import Route
    from sidewinder_sidecar.upstream.backend import Backend
    from sidewinder_sidecar.upstream.endpoint import Endpoint

UNREACHED: Final = b"x-sidewinder-unreached"  # a server's sidecar says: the application was never reached, see `rescue`
OVERLOADED: Final = TABLE["overloaded"].type.encode()  # as Proxy-Status has it
SAFE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})  # methods that change nothing (RFC 9110 section 9.2.1)
TIMES: Final = frozenset({"deadline", "idle", "try_timeout"})  # errors that may be the caller's own slowness


class Observed(Timeouts):
    """Which endpoint a try is at, and since when, if anybody wants to know."""

    __slots__ = (
        "clogged",  # the endpoint takes no more of the request's body
        "endpoint",
        "exact",  # a headless Service's own backend
        "failed",  # endpoints not to try again
        "held",  # the caller takes no more of the answer
        "opened",  # when the try began that nobody was told of yet; 0.0: there is none
        "permit",  # the limit that this request is counted in
        "target",
        "way",  # the route again, with all that only the data path knows of it
    )  # fmt: skip

    clogged: bool
    endpoint: Endpoint | None
    exact: Backend | None
    failed: tuple[Endpoint, ...]
    held: bool
    opened: float
    permit: Concurrency | None
    target: Backend | None
    way: Route | None

    def _is_inbound(self) -> bool:
        raise NotImplementedError

    def _throw_away(self, response: Response) -> None:
        raise NotImplementedError

    def _try_again(
        self,
        covered: bool,
        stale: bool,
        unreached: bool = False,
        unsent: bool = False,
        unasked: bool = False,
        pause: float = 0.0,
    ) -> str | None:
        raise NotImplementedError

    # A try begins.

    def _admitted(self, now: float) -> bool:
        """May the endpoint be called, as far as limits go? If it is full, another one is; if nobody can be, the refusal
        is on its way."""
        target, endpoint = self.target, self.endpoint
        assert target is not None
        assert endpoint is not None
        if endpoint.observers:
            self.opened = now
        if (limits := target.limits) is None:
            return True
        if self.permit is None:
            if (full := limits.admit()) is not None:
                self._fail("overloaded", limits.refuse(full))
                return False
            self.permit = limits
        fresh, members = self.request.upgrade == b"connect", target.endpoints.values()
        if endpoint.probing or (full := limits.full(endpoint, members, fresh)) is None:
            return True
        other = target.pick_other((*self.failed, endpoint), now, self) if target is not self.exact else None
        if other is None or other is endpoint or limits.full(other, members, fresh) is not None:
            self._fail("overloaded", limits.refuse(full))
            return False
        self.endpoint = other
        self.opened = now if other.observers else 0.0
        return True

    # A try is over.

    def _answered(self, response: Response, whole: bool) -> bool:
        """The answer's head is here. Was it a probe's, and not well, and is another try on its way?"""
        assert self.endpoint is not None
        if not (whole or response.status >= 500 or self.endpoint.probing):
            return False
        lost = self._settle(response.status, self._meaning(response) if response.status == 503 else "")
        if not lost or self._try_again(False, False, unreached=True) is not None:
            return False
        self._throw_away(response)
        return True

    def _meaning(self, response: Response) -> str:
        """What the sidecar of a server means by a 503 of its own: its application is away; or there is too much to do,
        and to leave an endpoint alone for that would give the others still more."""
        index = response.fields.index
        if UNREACHED in index:
            return "" if self._is_inbound() else "connect_failed"
        return "overloaded" if OVERLOADED in index.get(b"proxy-status", b"") else ""

    def _settle(self, status: int, error: str) -> bool:
        """Whether it was a probe that has failed, of a request that changes nothing: it was sent there for our sake and
        not for the caller's, who gets another try whatever the rule says."""
        endpoint, opened = self.endpoint, self.opened
        self.opened = 0.0
        if endpoint is None or not opened:
            return False
        now, probing = self.proxy.clock(), endpoint.probing
        endpoint.settled(status, error, now, (self.first_byte or now) - opened)
        if not probing or endpoint.probing or not endpoint.ejected or self.request.method not in SAFE:
            return False
        target = self.target
        return target is not None and target is not self.exact and len(target.endpoints) > len(self.failed) + 1

    def _let_go(self) -> None:
        """The exchange is over: what was not told yet is told now, before a try that runs is cancelled."""
        if self.tries and not self.tries[-1].ended:
            self._end_try(self.status, self.error)
        if self.opened:
            self._settle_late()
        if (permit := self.permit) is not None:
            self.permit = None
            permit.leave()

    def _settle_late(self) -> None:
        error = self.error
        if error == "caller_gone" and self.first_byte:
            error = ""  # an answer had begun
        elif self._is_the_callers(error):
            error = "caller_gone"
        elif error and self.attempt is None:  # the try never began, which only matters where it was a probe
            assert self.endpoint is not None
            if not self.endpoint.probing:
                return
            error = "caller_gone"
        self._settle(self.status, error)

    def _blamed(self, failure: Failure) -> str:
        """What the endpoint is told of a failure: a key of errors.TABLE."""
        return "caller_gone" if is_ours(failure) or self._is_the_callers(failure.error) else failure.error

    def _is_the_callers(self, error: str) -> bool:
        """Has time run out, here or at the endpoint, over a caller that gave little of it, or sends or reads slowly? No
        such caller must have endpoints ejected."""
        if error == "incomplete":
            return self.held
        if error == "deadline" and not self._is_ours():
            return True
        return error in TIMES and (self.held or not (self.request_ended or self.clogged))

    def _is_ours(self) -> bool:
        """Is the deadline the route's, not one that the caller has asked for?"""
        limit = self.way.request_timeout if self.way is not None else None
        return limit is not None and self.deadline >= self.started + limit

    def _end_try(self, status: int, error: str) -> None:
        if self.tries:
            last = self.tries[-1]
            last.ended, last.status, last.error = self.proxy.clock(), status, error
