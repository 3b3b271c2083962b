"""What happens when an exchange does not go straight through: failed tries, retries, timeouts, bugs.

The half of the exchange that the common request never enters: `Exchange(Rescue)` is the way through and is read first.
What may be sent again is, in the backend once chosen, within its budget and the deadline, to another endpoint.
`resilience` decides, this file acts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.errors import TABLE, refusal
from sidewinder_sidecar.messages import CONNECT, Failure, Reply
from sidewinder_sidecar.observed import UNREACHED, Observed
from sidewinder_sidecar.replay import BOUND, READ, Replay
from sidewinder_sidecar.resilience import deadline
from sidewinder_sidecar.resilience.retry import (
    ATTEMPT,
    LONGEST_PAUSE,
    MOST_ATTEMPTS,
    NONE,
    STALE,
    asked,
    is_stale,
    is_unasked,
)
from sidewinder_sidecar.router.route import Route, Share
from sidewinder_sidecar.tunnel import Tunnel

if TYPE_CHECKING:
    from sidewinder_sidecar.messages import Attempt, Caller, Request, Response, Tap
    from sidewinder_sidecar.plan import Guard, Listener, Plan
    from sidewinder_sidecar.router.route import ResponseFilter
    from sidewinder_sidecar.upstream.endpoint import Endpoint

MOST_DISCARDED: Final = 65536  # bytes read of an answer that is retried, to keep its connection; a larger one costs it

PASS_THROUGH: Final = Route("pass-through")  # to where no service is
OUTSIDE: Final = Share(None)  # its backend is made when it is called

OWN_WORDS: Final = (  # how a sidecar says that it has no room, or shuts down
    b"sidewinder; error=connection_limit_reached",
    b"sidewinder; error=destination_unavailable",
)
log = logging.getLogger("sidewinder.exchange")


class Rescue(Observed):
    """Tries at endpoints, again and elsewhere. `Exchange` fills the slots."""

    __slots__ = (  # noqa: RUF023 (by question)
        # who takes part
        "caller",
        "discarding",  # a try whose answer is read and thrown away, because it is retried
        "guard",  # what callers must meet here; None: nothing
        "plan",
        "share",
        # where it stands
        "barred",  # it came as a retry, and there is no budget for it: not retried here
        "came",  # which try it is of those in front of us; 0: a first one
        "discarded",  # bytes of the answer that is thrown away
        "replay",
        "stale",  # retries that were for dead kept connections, or applications that were not reached
        "unasked",  # further ones, for endpoints that could not be connected to
    )  # fmt: skip

    caller: Caller
    discarding: Attempt | None
    guard: Guard | None
    plan: Plan
    replay: Replay | None
    share: Share | None
    barred: bool
    came: int
    discarded: int
    stale: int
    unasked: int

    def _open(self, endpoint: Endpoint, now: float) -> bool:
        raise NotImplementedError

    def _reply(self, reply: Reply) -> None:
        raise NotImplementedError

    def _first_try(self) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _edit(self, response: Response, filters: tuple[ResponseFilter, ...]) -> None:
        raise NotImplementedError

    # A try is over, or its answer is not wanted.

    def on_failure(self, failure: Failure) -> None:
        """The try is over without a whole answer."""
        if self.discarding is not None:
            self.discarding = None
            return
        if failure.error == "incomplete" and (over := self._overdue()):
            failure = Failure(failure.stage, over)
        attempt, self.attempt = self.attempt, None
        lost = self._settle(0, self._blamed(failure))
        route = self.way
        assert route is not None
        note: str | None = ""
        if not self.status:
            self._end_try(0, failure.error)
            if unsent := failure.stage == CONNECT:
                self._take_back(attempt)
            stale, unasked = is_stale(failure, self.stale), is_unasked(failure)
            covered = route.retry.covers(failure, self.retries - self.stale) or (unasked and self._may_turn(route))
            note = self._try_again(covered, stale, unreached=lost, unsent=unsent, unasked=unasked)
        if note is not None:
            self._fail(failure.error, "; ".join(filter(None, (failure.detail or TABLE[failure.error].meaning, note))))

    def _may_turn(self, route: Route) -> bool:
        """What no rule needs to ask for: nobody was asked anything, and others are there. Twice; a rule has its say."""
        target = self.target
        assert target is not None
        return (
            route.retry is NONE
            and self.retries - self.stale < STALE
            and len(target.endpoints) > len(self.failed) + 1
            and target is not self.exact
            and self.request.upgrade != b"connect"
            and self.service != ""
            and not self._is_inbound()
        )

    def _retries_answer(self, response: Response) -> bool:
        """Is this answer thrown away for another try? Its body is read a little, which keeps the connection."""
        assert self.way is not None
        pause = 0.0 if self._stands_alone(response) else asked(response, self.proxy.fleet.means.clock())
        note = self._try_again(self.retries - self.stale < self.way.retry.attempts, False, pause=pause)
        if note is not None:
            self.detail = note
            return False
        self._throw_away(response)
        return True

    def _stands_alone(self, response: Response) -> bool:
        """Does the answer speak of one endpoint alone, and are there others? A proxy there has no room or shuts down:
        nobody else is to be waited for on its account."""
        assert self.target is not None
        status = response.fields.get(b"proxy-status") or b""
        return status.startswith(OWN_WORDS) and len(self.target.endpoints) > len(self.failed) + 1

    def _throw_away(self, response: Response) -> None:
        self._end_try(response.status, "")
        self._settle(response.status, "")
        self.discarding, self.attempt = self.attempt, None
        self.discarded = 0
        self._discard(0 if (response.length or 0) <= MOST_DISCARDED else MOST_DISCARDED + 1)

    # The sidecar of a server that never reached its application says so with a mark. Nothing has happened to the
    # request, so it may go to another endpoint, whatever its method: for a mesh, a connection that could not be made.

    def _is_inbound(self) -> bool:
        listener = self.proxy.plan.listeners.get(self.listener)
        return listener is not None and listener.inbound

    def _refusal(self, error: str, detail: str) -> Reply:
        """An error as it is answered; with the mark where we are that sidecar and this was the only try."""
        reply = refusal(error, detail)
        if TABLE[error].retry == "ConnectFailure" and not self.retries and self._is_inbound():
            reply.fields = ((UNREACHED, b"1"),)
        return reply

    def _has_retried_unreached(self, response: Response) -> bool:
        """Does this answer bear the mark, and is another try on its way? Nobody behind us gets to see the mark."""
        if UNREACHED not in response.fields.index:
            return False
        response.fields.remove(UNREACHED)
        assert self.way is not None
        if self._is_inbound() or not self.service or self.target is self.exact:
            return False  # an application's or a stranger's own words; or there is no other endpoint
        policy = self.way.retry
        covered = "ConnectFailure" in policy.conditions and self.retries - self.stale < policy.attempts
        note = self._try_again(covered, False, unreached=True)
        if note is not None:
            self.detail = note
            return False
        self._throw_away(response)
        return True

    def _take_back(self, attempt: Attempt | None) -> None:
        """A body too large to be kept while it is sent: what has come of it may still wait for the connection."""
        if attempt is None or self.replay is not None or not self.bytes_in:
            return
        chunks, trailers = attempt.unsent()
        replay = Replay(READ)
        if sum(map(len, chunks)) == self.bytes_in and all(map(replay.keep, chunks)):
            if self.request_ended:
                replay.end(trailers)
            self.replay, self.replayable = replay, True

    def _keeps_body(self) -> bool:
        """May the body be needed again?"""
        request = self.request
        assert self.way is not None
        if (request.length or 0) > BOUND or request.upgrade == b"connect":
            return False
        return self.way.retry.allows(request) or (bool(self.service) and not self._is_inbound())

    def _keep_body(self) -> None:
        """From the first try on. What came before, while a filter waited, was kept anyway: it is let go if need be.

        Only then, or the try would be told that nothing has come yet, and send its head alone.
        """
        if self.finished or not self._keeps_body() or (self.replay is not None and not self.replay.fits()):
            self.replay = None
        elif self.replay is None:
            self.replay = Replay()
        self.replayable = self.replay is not None

    def _discard(self, size: int) -> None:
        self.discarded += size
        if self.discarded > MOST_DISCARDED:
            self._stop_discarding()

    def _try_again(
        self,
        covered: bool,
        stale: bool,
        unreached: bool = False,
        unsent: bool = False,
        unasked: bool = False,
        pause: float = 0.0,
    ) -> str | None:
        """None: another try is on its way. Else why not, as far as a person would wonder.

        What nobody has read (`unreached`, `unsent`) may be sent again whatever its method.
        A try that touched no application (`stale`, `unreached`) added no load: two such are made up for without asking
        policy or budget. Nor did one without a connection (`unasked`): the policy's word on it counts, but as long as
        an endpoint is left that has not failed, the budget is not asked. `pause`: what the upstream asks for; a moment
        at random comes on top: all would come at once.
        """
        route, target = self.way, self.target
        assert route is not None
        assert target is not None
        free = stale or (unreached and self.stale < STALE)
        if not (covered or free) or not (unreached or unsent or route.retry.allows(self.request)):
            return ""
        if self.bytes_in and self.replay is None:
            return "not retried: the body was too large to be kept"
        now = self.proxy.clock()
        if pause > LONGEST_PAUSE:
            return f"not retried: the upstream asks to be left alone for {pause:.0f} s"
        at = now if stale else now + pause + route.retry.delay(self.retries)
        if at + deadline.SHORTEST > self.deadline:
            return "not retried: no time is left"
        unasked = unasked and len(self.failed) + 1 < len(target.endpoints)
        if not (free or unasked) and (self.barred or not target.budget.withdraw(now)):
            return f"not retried: the retry budget of {target.name} is used up"
        self.retries += 1
        if free:
            self.stale += 1
        elif unasked:
            self.unasked += 1
        if not stale and self.endpoint is not None:
            self.failed = (*self.failed, self.endpoint)
        if not self.request_ended:
            self.caller.pause()
        self.try_ends = inf
        self.retry_at = at
        self._look_again()
        return None

    def _next_try(self, now: float) -> None:
        self.retry_at = inf
        self.clogged = False
        self._stop_discarding()
        if (attempt := max(self.came, 1) + self.retries - self.stale - self.unasked) > 1:
            self.request.fields.set(ATTEMPT, ATTEMPT, b"%d" % min(attempt, MOST_ATTEMPTS))
        target = self.target
        assert target is not None
        if (
            endpoint := target.pick_other(self.failed, now, self)
            if target is not self.exact
            else self._pick_dialled(now)
        ) is None:
            return self._fail("no_endpoints", f"{target.name} has no endpoint that is ready any more")
        if self._open(endpoint, now) and not self.request_ended:
            self.caller.resume()

    def _pick_dialled(self, now: float) -> Endpoint | None:
        """A headless Service's endpoint is the caller's choice; where nobody knows which was dialled, it is ours."""
        target, to = self.target, self.peer.destination
        assert target is not None
        return target.pick(now, self) if to is None else target.pick_dialled(to, now)

    def _stop_discarding(self) -> None:
        if (attempt := self.discarding) is not None:
            self.discarding = None
            attempt.cancel("retried")

    # Who listens, and who breaks it off.

    def listen(self, tap: Tap) -> None:
        """From here on; what of the body came while a filter waited was kept."""
        self.taps = (*self.taps, tap)
        if self.replay is not None:
            self.replay.play(tap)
        elif self.request_ended:
            tap.send_end()

    def _dismiss(self) -> None:
        """Nothing more is theirs to hear."""
        taps, self.taps = self.taps, ()
        for tap in taps:
            tap.over(self.error)

    def refuse(self, error: str, detail: str, request: Request | None) -> None:
        """The caller's protocol is broken: before `begin`, or in the middle of the body."""
        if self.finished:
            return
        if request is not None:
            self.request = request
        if not self.started:
            self.started = self.proxy.clock()
        self.request_ended = True
        self._fail(error, detail)

    def abort(self, error: str, detail: str = "") -> None:
        """The proxy will not wait any longer (the drain time is over)."""
        if not self.finished:
            self._fail(error, detail)

    def _break_off(self, reply: Reply) -> None:
        self.error, self.detail, self.decision = reply.error, reply.detail, reply.decision or self.decision
        self.caller.reset(reply.error)
        self._finish()

    # Ways that few requests take: to where no service is, past a guard, into a tunnel.

    def _pass_through(self, listener: Listener) -> None:
        """No service owns the authority: dial it as it is, where that is allowed."""
        to = listener.outside(self.request, self.peer, self.plan.listeners)
        if isinstance(to, Reply):
            return self._reply(to)
        if (target := self.proxy.fleet.dial(*to)) is None:
            return self._fail("overloaded", "too many hosts that no service owns are in use")
        self.route = self.way = PASS_THROUGH
        self.target, self.share, self.backend = target, OUTSIDE, target.service
        self._first_try()

    def _guard_answer(self, guard: Guard, response: Response) -> None:
        for apply in guard.response_filters:
            apply(self, response)

    def on_tunnel(self, response: Response) -> None:
        """Both sides speak something else from here on. Only idleness ends it."""
        self._safely(self._open_tunnel, response)

    def _open_tunnel(self, response: Response) -> None:
        route, share = self.way, self.share
        assert route is not None
        assert share is not None
        self.status = response.status
        self._settle(response.status, "")
        self._edit(response, (*share.response_filters, *route.response_filters))
        if self.guard is not None:
            self._guard_answer(self.guard, response)
        self._dismiss()
        self.tunnel = Tunnel(self.proxy.limits.tunnel_idle_seconds)
        self.request_ended = False
        self.replay = None
        self.deadline = self.try_ends = inf
        self._look_again()
        self.first_byte = self.proxy.clock()
        self.caller.open_tunnel(response)

    # Us.

    def _safely(self, act: Callable[..., object], *arguments: Any) -> None:
        """For what does not happen with every request; there the same is written out, which costs nothing."""
        try:
            act(*arguments)
        except Exception:  # noqa: BLE001 (told to _bug)
            self._bug()

    def _bug(self) -> None:
        """The one place that logs a bug, a filter's or our own, where it was caught: counted, and answered 500."""
        log.exception("a bug while serving %r", self)
        self.proxy.bugs += 1
        if not self.finished:
            self._fail("bug")
