"""Requests that end in any order: every try is settled once, every request counted once."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidewinder_sidecar.messages import CONNECT, SENT
from sidewinder_sidecar.snapshot.upstreams import ConcurrencySpec, LimitsSpec
from tests.support.examples import examples, whatever_the_order
from tests.support.watched import RETRY, watched


class Machine(RuleBasedStateMachine):
    """Requests end in any way: what was opened is settled once, what was admitted leaves once."""

    def __init__(self):
        super().__init__()
        self.scene, self.ledger = watched(
            addresses=3, retry=RETRY, concurrency=ConcurrencySpec(whole=LimitsSpec(requests=4))
        )
        self.callers = []

    def live(self):
        return [attempt for attempt in self.scene.opened if not attempt.over]

    @rule(asked=st.sampled_from([(), ((b"x-request-deadline", b"500ms"),)]), body=st.booleans())
    def ask(self, asked, body):
        self.callers.append(self.scene.ask(b"GET", b"/", *asked, body=b"body" if body else b""))

    @precondition(lambda self: self.live())
    @rule(number=st.integers(0, 9), status=st.sampled_from([200, 429, 503]), whole=st.booleans())
    def answer(self, number, status, whole):
        attempt = self.live()[number % len(self.live())]
        attempt.answer(status, b"ok", whole=whole)

    @precondition(lambda self: self.live())
    @rule(number=st.integers(0, 9), error=st.sampled_from([(CONNECT, "connect_refused"), (SENT, "reset")]))
    def fail(self, number, error):
        attempt = self.live()[number % len(self.live())]
        attempt.fail(*error)

    @precondition(lambda self: self.callers)
    @rule(number=st.integers(0, 9))
    def leave(self, number):
        self.callers.pop(number % len(self.callers)).exchange.on_caller_gone("caller_gone")

    @rule(seconds=st.floats(0.01, 1.0))
    def time_passes(self, seconds):
        self.scene.clock.advance(seconds)

    @invariant()
    def counted_once(self):
        assert len(self.ledger.told) == len(self.scene.opened) - len(self.live())
        assert self.scene.fleet.backends["v1"].limits.requests == len(self.scene.proxy.running)
        assert self.scene.faults == []
        assert self.scene.proxy.bugs == 0


class TestMachine(Machine.TestCase):
    settings = examples(30, stateful_step_count=25)

    def runTest(self):
        whatever_the_order(super().runTest)

    runTest.is_hypothesis_test = True
