"""First calls to what the configuration does not hold: asked of the operator, while the call waits, bounded.

`fetch` is what the data path calls (`proxy.Proxy.fetch`); `stream` sends the questions and brings the answers. One line
carries all that came up in a turn of the loop. A refusal is remembered with the lifetime that came with it, and a
question that nobody answered for a while as well, so that not every call to a dead address waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidewinder_sidecar.plan import Plan
    from sidewinder_sidecar.wheel import Slot, Wheel

WAIT_SECONDS = 2.0  # that a call waits for an answer
HUSH_SECONDS = 5.0  # that nobody asks again for what was not answered
LONGEST_REFUSAL = 300.0  # seconds that an operator may ask for
MOST_OPEN = 1024  # keys asked for at a time
MOST_REFUSED = 4096  # keys remembered; the oldest go first
AT_ONCE = 64  # keys in a line, and calls that go on in a turn of the loop


class Question:
    """One call that waits. `cancel` ends it; after that `done` is never called."""

    __slots__ = ("_done", "_wants", "key", "slot")

    def __init__(self, wants: Wants, key: str, done: Callable[[], None]) -> None:
        self._wants = wants
        self._done: Callable[[], None] | None = done
        self.key = key
        self.slot: Slot

    def cancel(self) -> None:
        """The caller does not wait any more."""
        self._done = None
        self.slot.discard(self)
        self._wants.leave(self)

    def on_time(self, now: float) -> None:
        """Nobody has answered in time."""
        self._wants.on_late(self, now)
        self.tell()

    def tell(self) -> None:
        """The call goes on."""
        done, self._done = self._done, None
        if done is not None:
            done()


class Wants:
    """All questions of a process. `is_known`: whether the configuration in force holds what a key names."""

    def __init__(self, wheel: Wheel, is_known: Callable[[str], bool]) -> None:
        self._wheel = wheel
        self._is_known = is_known
        self._post: Callable[[tuple[str, ...]], object] | None = None  # while there is a stream
        self._open: dict[str, list[Question]] = {}
        self._unsent: list[str] = []
        self._refused: dict[str, float] = {}  # key → until when
        # what metrics ask for
        self.answered = 0
        self.unknown = 0
        self.late = 0

    def fetch(self, key: str, done: Callable[[], None]) -> Question | None:
        """Ask for `key`; None: go on now. Else `done` is called once, later, never from inside."""
        now = self._wheel.clock()
        if self._post is None or self._is_refused(key, now):
            return None
        questions = self._open.get(key)
        if questions is None:
            if len(self._open) >= MOST_OPEN:
                return None
            questions = self._open[key] = []
            self._ask((key,))
        question = Question(self, key, done)
        questions.append(question)
        question.slot = self._wheel.at(now + WAIT_SECONDS, question)
        return question

    def _is_refused(self, key: str, now: float) -> bool:
        until = self._refused.get(key)
        if until is not None and now >= until:
            del self._refused[key]
            return False
        return until is not None

    # ── the stream ────────────────────────────────────────────────────────────────────────────────────────────────

    def connect(self, post: Callable[[tuple[str, ...]], object]) -> None:
        """A stream has begun: what is still open is asked again."""
        self._post = post
        self._unsent.clear()
        self._ask(self._open)

    def disconnect(self) -> None:
        """It has ended; who waits goes on waiting for the next one, as long as before."""
        self._post = None

    def on_applied(self) -> None:
        """Another configuration is in force."""
        for key in [key for key in self._open if self._is_known(key)]:
            self.answered += 1
            self._release(self._open.pop(key))

    def on_unknown(self, keys: Iterable[str], seconds: float) -> None:
        """The operator does not know these, and wants to be left alone about them."""
        until = self._wheel.clock() + min(max(seconds, 0.0), LONGEST_REFUSAL)
        for key in keys:
            questions = self._open.pop(key, None)
            if questions is not None:  # what was not asked need not be remembered
                self.unknown += 1
                self._refuse(key, until)
                self._release(questions)

    def _ask(self, keys: Iterable[str]) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send)
        self._unsent.extend(keys)

    def _send(self) -> None:
        unsent, self._unsent = [key for key in self._unsent if key in self._open], []
        for start in range(0, len(unsent), AT_ONCE):
            if self._post is not None:
                self._post(tuple(unsent[start : start + AT_ONCE]))

    # ── those who wait ────────────────────────────────────────────────────────────────────────────────────────────

    def leave(self, question: Question) -> None:
        """It does not wait any more."""
        questions = self._open.get(question.key)
        if questions is not None and question in questions:
            questions.remove(question)
            if not questions:
                del self._open[question.key]

    def on_late(self, question: Question, now: float) -> None:
        """It has waited long enough; so need nobody for a while."""
        self.leave(question)
        self.late += 1
        self._refuse(question.key, now + HUSH_SECONDS)

    def _refuse(self, key: str, until: float) -> None:
        self._refused[key] = until
        if len(self._refused) > MOST_REFUSED:
            del self._refused[next(iter(self._refused))]

    def _release(self, questions: list[Question]) -> None:
        for question in questions:
            question.slot.discard(question)
        self._tell(questions)

    def _tell(self, questions: list[Question]) -> None:
        """A part in each turn of the loop."""
        loop = asyncio.get_running_loop()
        for question in questions[:AT_ONCE]:
            loop.call_soon(question.tell)
        if len(questions) > AT_ONCE:
            loop.call_later(0, self._tell, questions[AT_ONCE:])

    def __repr__(self) -> str:
        return f"<Wants {len(self._open)} open, {len(self._refused)} refused>"


def is_known(plan: Plan, key: str) -> bool:
    """Whether a captured connection to what `key` names finds a service."""
    host, _, port = key.rpartition(":")
    to = (host.strip("[]"), int(port)) if port.isascii() and port.isdecimal() and len(port) <= 5 else ("", 0)
    return any(
        (bool(to[0]) and listener.reach(to) is not None) or listener.find(key.encode()) is not None
        for listener in plan.listeners.values()
        if listener.spec.transparent and listener.spec.direction == "Outbound"
    )
