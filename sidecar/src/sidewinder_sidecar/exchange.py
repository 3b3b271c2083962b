"""One request and its answer, from the first byte to the log line. Read it top to bottom.

A downstream stream makes an Exchange and drives it as Serving; attempts at endpoints drive it as Receiver. It knows no
HTTP/1: only the vocabulary of `messages`. Leaves decide (router, filters, balancing, retry); this file says what
follows. No await, task or timer: the wheel calls `on_time`.

What both sides promise: nothing is called back from inside `open` or `cancel`; a request of length 0 is whole with its
head, any other is ended by one `send_end`; after `on_end`, `on_failure` or a response with its body, the attempt is
over and nothing more is asked of it; after its answer ended or `reset`, nothing more is asked of the caller. An answer
may end before its request has: whoever reads that request drains a little of it or closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, Final

from sidewinder_sidecar.errors import TABLE, render
from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import NAMELESS, NOBODY, WAIT, Call, Reply, Request, Try
from sidewinder_sidecar.proxy import Proxy
from sidewinder_sidecar.replay import READ, Replay
from sidewinder_sidecar.rescue import Rescue
from sidewinder_sidecar.resilience import deadline, retry
from sidewinder_sidecar.telemetry import trace

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Caller, Peer, Response, Wait
    from sidewinder_sidecar.plan import Listener, Service
    from sidewinder_sidecar.router.route import Route, Share
    from sidewinder_sidecar.upstream.endpoint import Endpoint

__all__ = ["Exchange", "Proxy"]

NAME: Final = "sidewinder"  # in Proxy-Status
UNREAD: Final = Request(b"", b"", b"", fields())  # what stands for a request that could not be parsed


class Exchange(Rescue):
    """See the module. `begin` starts it, `_finish` ends it, exactly once, whatever happens in between."""

    __slots__ = ("callee", "steps")

    def __init__(self, caller: Caller, proxy: Proxy, listener: str, peer: Peer) -> None:
        self.listener = listener
        self.peer = peer
        self.request = UNREAD
        self.attributes = self.captures = self.route = self.way = self.tries = self.waiting_on = None
        self.backend = self.service = self.error = self.detail = self.decision = ""
        self.parent_id = self.request_id = self.span_id = self.trace_id = b""
        self.sampled = False
        self.replayable = True
        self.ended = self.first_byte = self.opened = self.started = 0.0
        self.address = NAMELESS
        self.bytes_in = self.bytes_out = self.retries = self.status = 0
        self.caller = caller
        self.proxy = proxy
        self.plan = proxy.plan
        self.callee: Service | None = None
        self.attempt = self.discarding = self.endpoint = self.exact = self.replay = self.slot = None
        self.guard = self.permit = self.share = None
        self.target = self.tunnel = None
        self.cookies = self.failed = self.taps = ()
        self.barred = self.clogged = self.finished = self.held = self.request_ended = False
        self.came = self.discarded = self.moved = self.stale = self.unasked = 0
        self.steps: Iterator[Callable[[Call], Any]] | None = None
        self.deadline = self.retry_at = self.stall_at = self.try_ends = inf

    # 1. The request comes in.

    def begin(self, request: Request, ended: bool) -> None:
        """The head is here; `ended` when there is no body."""
        self.request = request
        self.request_ended = ended
        proxy = self.proxy
        proxy.running.add(self)
        self.started = now = proxy.clock()
        try:
            self._receive(request, now)
        except Exception:  # noqa: BLE001 (told to _bug)
            self._bug()

    def _receive(self, request: Request, now: float) -> None:
        plan = self.plan
        trace.start(self, plan.trace_percent) if self.proxy.traces else trace.note(self)
        if (listener := plan.listeners.get(self.listener)) is None:
            return self._fail("draining", "the listener is gone")
        for apply in listener.filters:
            apply(self)
        index = request.fields.index
        if retry.ATTEMPT in index:
            self.came = retry.came(request.fields, self.peer.identity != "" or listener.spec.direction == "Outbound")
        if deadline.HEADER in index or deadline.GRPC in index:
            self.deadline = now + asked if (asked := deadline.asked(request.fields)) is not None else inf
        if (to := self.peer.destination) is None:
            service = listener.known.get(request.authority) or listener.find(request.authority)
        else:
            service = listener.reached.get(to) or listener.reach(to, request.authority)
        guard = listener.guard
        if service is not None:
            self.service, guard = service.name, service.guard
        if guard is None:
            return self._enter(listener, service)
        self.callee, self.guard = service, guard
        self._walk(iter(guard.filters))

    def _enter(self, listener: Listener, service: Service | None) -> None:
        """Past the guard: which rule it is, and its filters."""
        if service is None:
            return self._pass_through(listener)
        self.exact = service.exact
        tunnels = self.request.upgrade == b"connect"
        self.route = self.way = route = listener.tunnel(service) if tunnels else service.match(self)
        if route is None:
            return self._fail("no_route", f"no rule of {service.name} matches the request")
        if (limit := route.request_timeout) is not None and self.started + limit < self.deadline:
            self.deadline = self.started + limit
        self._walk(iter(route.filters))

    # 2. Filters: a walk over the guard's, one over the rule's, one over the chosen backend's. The iterator is the
    # continuation.

    def _walk(self, steps: Iterator[Callable[[Call], Reply | Wait | None]]) -> None:
        for apply in steps:
            if (verdict := apply(self)) is not None:
                if verdict is not WAIT:
                    return self._reply(verdict)  # type: ignore[arg-type]  # the only Wait is WAIT
                self.steps = steps
                self.caller.pause()
                return self._look_again()
        if self.way is None:
            self._enter(self.plan.listeners[self.listener], self.callee)
        elif self.share is None:
            self._choose()
        else:
            self._first_try()

    def resume(self, verdict: Reply | None = None) -> None:
        """A filter that waited has its answer."""
        if (steps := self.steps) is None:
            return
        self.steps = self.waiting_on = None
        self._safely(self._walk, steps) if verdict is None else self._safely(self._reply, verdict)
        if self.steps is None and not self.finished and not self.request_ended:
            self.caller.resume()

    # 3. One backend of the rule, one endpoint of the backend.

    def _choose(self) -> None:
        route = self.way
        assert route is not None
        share = route.only or self._draw(route)
        if share is None:
            return self._fail("no_backend")
        self.share = share
        if (backend := share.backend) is None:
            return self._fail("invalid_backend", share.invalid)
        self.target, self.backend = backend, backend.service
        if share.filters:
            return self._walk(iter(share.filters))
        self._first_try()

    def _draw(self, route: Route) -> Share | None:
        if (sticky := route.stickiness) is None:
            return route.split.draw()
        if (known := sticky.find(self.request.fields)) is not None:
            return known
        if (drawn := route.split.draw()) is not None and (mark := sticky.mark(drawn, self.request)) is not None:
            self.cookies = (mark,)
        return drawn

    def _first_try(self) -> None:
        target = self.target
        assert target is not None
        now = self.proxy.clock()
        if (endpoint := target.pick(now, self) if target is not self.exact else self._pick_dialled(now)) is None:
            return self._fail("no_endpoints", f"{target.name} has no endpoint that is ready")
        if self.came:
            self.barred = not target.budget.charge(now)
        self._open(endpoint, now)
        if not self.request_ended or self.replay is not None:
            self._keep_body()

    def _open(self, endpoint: Endpoint, now: float) -> bool:
        """One try, with the time that is left and a span of its own. True if it takes more of a body at once."""
        self.endpoint = endpoint
        if self.target.watched:  # type: ignore[union-attr]
            if not self._admitted(now):
                return False
            endpoint = self.endpoint
        ends = self.deadline
        if (limit := self.way.backend_timeout) is not None and now + limit < ends:  # type: ignore[union-attr]
            ends = now + limit
        self.try_ends = ends
        if ends != inf:
            if ends - now < deadline.SHORTEST:
                self._fail("deadline", "no time was left for a try")
                return False
            deadline.write(self.request.fields, ends - now)
        span_id = trace.stamp(self) if self.proxy.traces else b""
        self.address = endpoint.address
        if self.sampled:
            self.tries = [*(self.tries or ()), Try(endpoint.address, now, span_id)]
        self.stall_at = stall_at = now + self.proxy.look_seconds
        self.slot = self.proxy.wheel.at(ends if ends < stall_at else stall_at, self)
        self.attempt = attempt = endpoint.open(self.request, self)
        if self.replay is not None and not self.replay.play(attempt):
            self.clogged = True
            self.caller.pause()
            return False
        return True

    # 4. The request's body goes up, as fast as the endpoint takes it.

    def on_request_data(self, data: bytes) -> None:
        """A part of the request's body, or a tunnel's bytes."""
        if self.finished:
            return
        self.bytes_in += len(data)
        for tap in self.taps:
            tap.send_data(data)
        if self.attempt is None and self.replay is None and self.tunnel is None:
            self.replay = Replay(READ)  # a filter waits, or the way is being chosen
        if self.replay is not None and not self.replay.keep(data):
            self.replay = None
            self.replayable = False
            if self.attempt is None:
                return self._fail("body_too_large", "more of the body came than can be kept until it can be sent")
        if self.attempt is not None and not self.attempt.send_data(data):
            self.clogged = True
            self.caller.pause()

    def on_request_end(self, trailers: Fields | None) -> None:
        """The request is whole; in a tunnel, the caller sends no more."""
        if self.finished:
            return
        self.request_ended = True
        if trailers is not None and self.guard is not None and self.guard.spec.authentication:
            trailers = None  # some applications take them for headers, and headers that say who calls are the proxy's
        for tap in self.taps:
            tap.send_end(trailers)
        if self.replay is not None:
            self.replay.end(trailers)
        if self.attempt is not None:
            self.attempt.send_end(trailers)
        if self.tunnel is not None:
            self.tunnel.caller_ended = True
            if self.tunnel.has_ended():
                self.attempt = None
                self._finish()

    def on_writable(self) -> None:
        """The endpoint takes more."""
        self.clogged = False
        if not self.finished:
            self.caller.resume()

    # 5. The answer comes back.

    def on_informational(self, response: Response) -> None:
        """100 or 103."""
        if self.attempt is not None and not self.status:
            self.caller.send_informational(response)

    def on_response(self, response: Response, body: bytes | None) -> None:
        """The answer's head, and its whole body when nothing follows."""
        try:
            self._respond(response, body)
        except Exception:  # noqa: BLE001 (told to _bug)
            self._bug()

    def _respond(self, response: Response, body: bytes | None) -> None:
        route, share = self.way, self.share
        assert route is not None
        assert share is not None
        if body is not None:
            self.attempt = None
        if response.status == 504 and (over := self._overdue()):
            return self._give_up(over)
        if self.opened and self._answered(response, body is not None):
            return
        if response.status >= 500 and self._has_retried_unreached(response):
            return
        if response.status in route.retry.codes and self._retries_answer(response):
            return
        self.status = response.status
        for tap in self.taps:
            tap.answer(response, body)
        if share.response_filters or route.response_filters or self.cookies:
            self._edit(response, (*share.response_filters, *route.response_filters))
        if self.guard is not None:
            self._guard_answer(self.guard, response)
        self.caller.send_head(response, body)
        self.first_byte = self.proxy.clock()
        if body is not None:
            self.bytes_out = len(body)
            self._finish()

    def _edit(self, response: Response, filters: tuple[Callable[[Call, Response], None], ...]) -> None:
        for apply in filters:
            apply(self, response)
        for cookie in self.cookies:
            response.fields.add(b"set-cookie", b"set-cookie", cookie)

    def on_data(self, data: bytes) -> None:
        """A part of the answer, or a tunnel's bytes."""
        if self.discarding is not None:
            return self._discard(len(data))
        self.bytes_out += len(data)
        for tap in self.taps:
            tap.answer_data(data)
        if not self.caller.send_data(data) and self.attempt is not None:
            self.held = True
            self.attempt.pause()

    def on_end(self, trailers: Fields | None) -> None:
        """The answer is whole; in a tunnel, the upstream sends no more."""
        if self.discarding is not None:
            self.discarding = None
            return
        if (tunnel := self.tunnel) is not None:
            tunnel.upstream_ended = True
            self.caller.send_end()
            if not tunnel.has_ended():
                return
        self.attempt = None
        if tunnel is None:
            self.caller.send_end(trailers)
        self._finish()

    def on_caller_writable(self) -> None:
        """The caller takes more."""
        self.held = False
        if self.attempt is not None:
            self.attempt.resume()

    # 6. The end: an answer of our own, a caller that went away, a bug. `_finish` is behind all of them.

    def on_caller_gone(self, error: str) -> None:
        """Nobody is there any more to be answered."""
        if not self.finished:
            self.error, self.status = error, self.status or TABLE["caller_gone"].status
            self._finish()

    def _fail(self, error: str, detail: str = "") -> None:
        if not self.first_byte:
            return self._reply(self._refusal(error, detail))
        self.error = error
        self.detail = detail or TABLE[error].meaning
        self.caller.reset(error)
        self._finish()

    def _reply(self, reply: Reply) -> None:
        if not reply.status:
            return self._break_off(reply)
        self.status, self.error, self.detail = reply.status, reply.error, reply.detail
        if reply.decision:
            self.decision = reply.decision
        response, body = render(reply, self.request, NAME)
        if not reply.error and self.way is not None:
            own = self.share.response_filters if self.share is not None else ()
            self._edit(response, (*own, *self.way.response_filters))
        if self.guard is not None:
            self._guard_answer(self.guard, response)
        self.caller.send_head(response, body)
        self.first_byte = self.proxy.clock()
        self.bytes_out = len(body)
        self._finish()

    def _finish(self) -> None:
        if self.finished:
            return
        self.finished = True
        self.ended = self.proxy.clock()
        if self.taps:
            self._dismiss()
        if self.opened or self.tries or self.permit is not None:
            self._let_go()
        for attempt in (self.attempt, self.discarding):
            if attempt is not None:
                attempt.cancel(self.error)
        if self.waiting_on is not None:
            self.waiting_on.cancel()
        if self.slot is not None:
            self.slot.discard(self)
        self.attempt = self.discarding = self.steps = self.waiting_on = self.slot = self.replay = None
        self.caller = NOBODY  # or caller and exchange would keep each other
        self.proxy.running.discard(self)
        try:
            self.proxy.record(self)
        except Exception:  # noqa: BLE001 (told to _bug)
            self._bug()

    def __repr__(self) -> str:
        where = next((state for state in ("finished", "tunnel", "steps", "attempt") if getattr(self, state)), "between")
        return f"<Exchange {self.request!r} {where} {self.status} {self.error} {self.retries} retries>"
