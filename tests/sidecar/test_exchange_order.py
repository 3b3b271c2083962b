"""Any order of events from both sides and the clock: no exchange is left unfinished, nothing is called after its end.

The scene's callers, attempts and endpoints complain themselves (`Scene.faults`); this machine only makes things happen,
also those that a peer should not do at that moment but the vocabulary allows.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidewinder_sidecar.messages import ANSWERING, CONNECT, REFUSED, SENT, UNSENT, WAIT, Reply
from sidewinder_sidecar.snapshot.routes import RetrySpec, WeightedBackend
from tests.support.examples import examples, whatever_the_order
from tests.support.memory import Scene, backend, shop
from tests.support.memory import rule as rule_of

RETRY = RetrySpec(attempts=2, codes=(503,), conditions=("ConnectFailure", "ResetBeforeRequest", "Reset", "Timeout"))
FAILURES = [
    (CONNECT, "connect_refused"),
    (CONNECT, "connect_timeout"),
    (UNSENT, "reset_before_request"),
    (REFUSED, "reset_before_request"),
    (SENT, "reset"),
    (SENT, "upstream_protocol"),
]


class Asking:
    """A filter that sometimes waits."""

    def __init__(self) -> None:
        self.waits = False
        self.waiting = []

    def __call__(self, call):
        if not self.waits:
            return None
        call.waiting_on = self
        self.waiting.append(call)
        return WAIT

    def cancel(self):
        pass


class AnyOrder(RuleBasedStateMachine):
    @initialize(retries=st.booleans(), timeouts=st.booleans())
    def start(self, retries, timeouts):
        self.options = {"request_timeout": 3.0, "backend_timeout": 0.5} if timeouts else {}
        self.options["retry"] = RETRY if retries else None
        self.asking = Asking()
        self.scene = Scene()
        self.configure(3, 2)
        self.callers = []
        self.sending = set()  # callers whose request has not ended

    def configure(self, weight, addresses):
        shares = [WeightedBackend(backend="v1", weight=weight), WeightedBackend(backend="v2")]
        backends = (backend("v1", addresses), backend("v2", 1))
        self.scene.adopt(*shop(rule_of(*shares, **self.options), backends=backends))
        for entry in self.scene.proxy.plan.routes["shop/reviews"].entries:
            entry.route.filters = (self.asking,)

    def some(self, data, items):
        return data.draw(st.sampled_from(list(items)))

    def live(self):
        return [attempt for attempt in self.scene.opened if not attempt.over]

    @rule(
        method=st.sampled_from([b"GET", b"PUT", b"POST"]),
        length=st.sampled_from([0, 5, 100_000, None]),
        upgrade=st.booleans(),
        waits=st.sampled_from([False, False, False, True]),
    )
    def ask(self, method, length, upgrade, waits):
        if len(self.callers) > 30:
            return
        self.asking.waits = waits
        upgrade = upgrade and length == 0
        caller = self.scene.ask(method, b"/", length=length, body=None, upgrade=b"websocket" if upgrade else b"")
        self.callers.append(caller)
        if length != 0:
            self.sending.add(caller)

    @precondition(lambda self: self.sending)
    @rule(data=st.data(), size=st.sampled_from([0, 5, 16384, 70_000]))
    def body(self, data, size):
        caller = self.some(data, sorted(self.sending, key=self.callers.index))
        if not caller.paused or data.draw(st.booleans()):  # a little may be on its way
            caller.exchange.on_request_data(b"x" * size)

    @precondition(lambda self: self.sending)
    @rule(data=st.data())
    def body_end(self, data):
        caller = self.some(data, sorted(self.sending, key=self.callers.index))
        self.sending.discard(caller)
        caller.exchange.on_request_end(None)

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def caller_goes(self, data):
        caller = self.some(data, self.callers)
        self.sending.discard(caller)
        if not caller.over:
            caller.exchange.on_caller_gone("caller_gone")
            caller.was_reset = "gone"  # nothing may be told to it any more

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def caller_writable(self, data):
        caller = self.some(data, self.callers)
        caller.writable = True
        caller.exchange.on_caller_writable()

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def caller_full(self, data):
        self.some(data, self.callers).writable = False

    @precondition(lambda self: self.asking.waiting)
    @rule(data=st.data(), refuse=st.booleans())
    def filter_answers(self, data, refuse):
        self.some(data, self.asking.waiting).resume(Reply(403, "denied") if refuse else None)

    @precondition(lambda self: self.live())
    @rule(
        data=st.data(),
        status=st.sampled_from([200, 204, 503, 503]),
        body=st.sampled_from([None, b"", b"hello"]),
        whole=st.booleans(),
    )
    def upstream_answers(self, data, status, body, whole):
        attempt = self.some(data, self.live())
        if not getattr(attempt, "answered", False) and not attempt.tunnel:
            attempt.answered = True
            attempt.answer(status, body, whole=whole)

    @precondition(lambda self: self.live())
    @rule(data=st.data(), size=st.sampled_from([0, 10, 70_000]))
    def upstream_data(self, data, size):
        attempt = self.some(data, self.live())
        if not attempt.upstream_ended and (attempt.tunnel or getattr(attempt, "answered", False)):
            attempt.data(b"y" * size)

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def upstream_ends(self, data):
        attempt = self.some(data, self.live())
        if (attempt.tunnel and not attempt.upstream_ended) or (
            getattr(attempt, "answered", False) and not attempt.tunnel
        ):
            attempt.end()

    @precondition(lambda self: self.live())
    @rule(data=st.data(), failure=st.sampled_from(FAILURES))
    def upstream_fails(self, data, failure):
        attempt = self.some(data, self.live())
        if attempt.tunnel or getattr(attempt, "answered", False):
            attempt.fail(ANSWERING, "incomplete")
        else:
            attempt.fail(*failure)

    @precondition(lambda self: self.live())
    @rule(data=st.data(), what=st.sampled_from(["inform", "writable", "full", "tunnel"]))
    def upstream_does(self, data, what):
        attempt = self.some(data, self.live())
        if what == "writable":
            attempt.write_on()
        elif what == "full":
            attempt.writable = False
        elif not getattr(attempt, "answered", False) and not attempt.tunnel:
            if what == "inform":
                attempt.inform(103)
            elif attempt.receiver.request.upgrade:
                attempt.open_tunnel()
                caller = next(one for one in self.callers if one.exchange is attempt.receiver)
                self.sending.add(caller)

    @rule(seconds=st.sampled_from([0.02, 0.3, 1.0, 61.0]))
    def time_passes(self, seconds):
        self.scene.clock.advance(seconds)

    @rule(weight=st.integers(0, 2))
    def configuration_changes(self, weight):
        self.configure(weight, weight)

    @invariant()
    def nothing_forbidden(self):
        if hasattr(self, "scene"):
            assert self.scene.faults == []
            assert self.scene.proxy.bugs == 0
            finished = [caller for caller in self.callers if caller.exchange.finished]
            assert len(self.scene.records) == len(finished)
            assert len(self.scene.proxy.running) == len(self.callers) - len(finished)
            assert all(endpoint.active >= 0 for endpoint in self.scene.made)

    def teardown(self):
        if not hasattr(self, "scene"):
            return
        self.scene.clock.advance(2 * 3600 + 300)  # nothing moves any more: everything ends by itself
        assert all(caller.exchange.finished for caller in self.callers)
        assert len(self.scene.records) == len(self.callers)
        assert len(self.scene.wheel) == 0
        self.scene.check()


class TestAnyOrder(AnyOrder.TestCase):
    settings = examples(150, stateful_step_count=40)

    def runTest(self):
        whatever_the_order(super().runTest)

    runTest.is_hypothesis_test = True
