"""Active checks: endpoints that the operator has given to this proxy to look after, asked again and again.

`main` makes the one `Checks` of a process, gives it `checks/self` of every configuration and the stream to tell
verdicts on. What most of an endpoint's probers say comes back to everybody as `EndpointSpec.healthy`; nothing here
touches what the data path picks. Times come from the wheel.

1. A check goes the way that requests go: to the sidecar there over TLS with both certificates, over a connection that
   is kept, as this proxy's own identity. To an application without one it comes in the clear and leaves nothing
   behind: there are some that serve one connection at a time.
2. What a policy refuses, or a limit, says nothing of the application (`NOTHING`); neither does a check that cannot be
   made because this proxy has no certificate, no file or no port to spare: it would call everybody unwell.
3. A verdict needs as many answers in a row as the thresholds say. Until the first one nothing is told, and after one
   that says nothing, nothing is known any more.
"""

from __future__ import annotations

from collections.abc import Callable
from random import uniform
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec.structs import replace

from sidewinder_sidecar.fields import fields
from sidewinder_sidecar.messages import Request
from sidewinder_sidecar.snapshot.checks import MOST_CHECKS, key
from sidewinder_sidecar.upstream.shortage import is_ours

if TYPE_CHECKING:
    from sidewinder_sidecar.fields import Fields
    from sidewinder_sidecar.messages import Attempt, Failure, Response
    from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec
    from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
    from sidewinder_sidecar.upstream.endpoint import Endpoint
    from sidewinder_sidecar.wheel import Slot, Wheel

AGENT: Final = b"sidewinder-health"
MOST_BODY: Final = 65_536  # bytes of an answer that are read so that its connection can be kept; of a longer one none
GATHER_SECONDS: Final = 0.1  # verdicts come in flocks, when a node goes
JITTER: Final = 0.1  # of an interval, either way: three probers of an endpoint must not ask in step
# A sidecar takes every connection: it waits 50 ms for a silent caller, and then calls the application. Who is still
# connected after this is listened to.
KEPT_SECONDS: Final = 0.25
# The longest rest of a kept connection, below the 75 s after which the sidecar there closes it. The 4 s of other
# connections are less than most intervals, and each check would cost both sides a handshake, as much as ten checks.
REST_SECONDS: Final = 60.0
_STALE: Final = "reset_before_request"  # a kept connection that the other side closed just then
_OURS: Final = b"sidewinder;"  # how Proxy-Status begins where one of our proxies has answered
_REFUSALS: Final = (b"error=http_request_denied", b"error=connection_limit_reached")

# What one check has found out. NOTHING: not a word about the application.
PASSED: Final = "passed"
FAILED: Final = "failed"
NOTHING: Final = "nothing"
RESULTS: Final = (PASSED, FAILED, NOTHING)

Post: TypeAlias = Callable[[dict[str, bool | None]], bool]  # whether it was sent
MakeEndpoint: TypeAlias = Callable[["EndpointSpec", float], "Endpoint"]


class Streak:
    """Answers in a row, and what they come to. `verdict` None: not known."""

    __slots__ = ("length", "passed", "verdict")

    def __init__(self) -> None:
        self.length = 0
        self.passed = False
        self.verdict: bool | None = None

    def add(self, result: str, healthy: int, unhealthy: int) -> bool:
        """One more. Whether the verdict is another one now."""
        before = self.verdict
        if result == NOTHING:
            self.length = 0
            self.verdict = None
        else:
            passed = result == PASSED
            self.length = self.length + 1 if passed == self.passed else 1
            self.passed = passed
            if self.length >= (healthy if passed else unhealthy):
                self.verdict = passed
        return self.verdict is not before

    def __repr__(self) -> str:
        word = "unknown" if self.verdict is None else "healthy" if self.verdict else "unhealthy"
        return f"<Streak {word}, {self.length} {'passed' if self.passed else 'failed'}>"


class Check:
    """One endpoint that is looked after: the Receiver of its attempts, and an entry of the wheel."""

    __slots__ = (
        "_attempt", "_began", "_body", "_checks", "_ends", "_result", "_retried", "_slot", "endpoint", "key", "source",
        "spec", "streak", "why",
    )  # fmt: skip

    def __init__(self, checks: Checks, name: str, spec: CheckSpec, source: EndpointSpec, endpoint: Endpoint) -> None:
        self.key = name
        self.spec = spec
        self.source = source
        self.endpoint = endpoint
        endpoint.limits = replace(endpoint.limits, upstream_idle_seconds=REST_SECONDS)
        self.streak = Streak()
        self.why = ""  # of the last answer that was none, for a person
        self._checks = checks
        self._attempt: Attempt | None = None
        self._began = self._ends = 0.0  # of the check that runs
        self._body = 0  # bytes of the answer so far
        self._result = ""  # of an answer whose body still comes; of a connection that is listened to
        self._retried = False
        wheel = checks.wheel
        self._slot: Slot = wheel.at(wheel.clock() + checks.spread(0.0, spec.interval), self)

    def adopt(self, spec: CheckSpec) -> None:
        """The same endpoint, perhaps asked otherwise."""
        before, self.spec = self.spec, spec
        self.endpoint.connect_timeout = spec.timeout
        if spec.interval != before.interval and self._attempt is None:  # or the next check could be an hour away
            self._slot.discard(self)
            wheel = self._checks.wheel
            self._slot = wheel.at(wheel.clock() + self._checks.spread(0.0, spec.interval), self)

    def close(self) -> None:
        """It is somebody else's now, or nobody's."""
        self._slot.discard(self)
        self._stop()
        self.endpoint.retire()

    # 1. Ask.

    def on_time(self, now: float) -> None:
        """The wheel: the next check begins, or this one's time is over."""
        if self._attempt is None:
            self._began, self._ends = now, now + self.spec.timeout
            self._retried = False
            self._ask(now)
        elif self._result:
            self._settle(self._result)
        else:
            self._settle(FAILED, f"no answer within {self.spec.timeout:g} s")

    def _ask(self, now: float) -> None:
        endpoint, http = self.endpoint, self.spec.http
        if endpoint.identity and endpoint.keyring.usable is None:
            return self._settle(NOTHING, "this proxy has no certificate")
        self._body = 0
        self._result = ""
        if http is None:
            request = Request(b"CONNECT", b"", self.spec.authority.encode(), fields())
            request.upgrade = b"connect"
        else:
            authority = self.spec.authority.encode()
            rows = ((b"Host", authority), (b"User-Agent", AGENT), (b"Accept", b"*/*"))
            request = Request(b"GET", http.path.encode(), authority, fields(*rows))
        self._slot = self._checks.wheel.at(self._ends, self)
        try:
            self._attempt = endpoint.open(request, self)
        except ValueError as fault:  # the operator has judged the path, so it is ours
            self._settle(NOTHING, f"the check cannot be sent: {fault}")

    # 2. What the attempt tells.

    def on_informational(self, response: Response) -> None:
        """100 or 103: nothing to us."""

    def on_response(self, response: Response, body: bytes | None) -> None:
        """The head, which says it all: no redirect is followed. A body is read, so that the connection can be kept."""
        result = self._judge(response)
        if body is not None:
            self._attempt = None
            self._settle(result)
        else:
            self._result = result

    def _judge(self, response: Response) -> str:
        http = self.spec.http
        if http is not None and response.status in http.statuses:
            self.why = ""
            return PASSED
        self.why = f"{response.status} was answered"
        status = response.fields.get(b"proxy-status") or b""
        if status.startswith(_OURS) and any(refusal in status for refusal in _REFUSALS):
            self.why += " by a policy or a limit"
            return NOTHING
        return FAILED

    def on_data(self, data: bytes) -> None:
        """A part of the body. Of a bare connection: somebody is there who speaks first."""
        if self.spec.http is None:
            return self._settle(PASSED)
        self._body += len(data)
        if self._body > MOST_BODY:
            self._settle(self._result)

    def on_end(self, trailers: Fields | None) -> None:
        """The answer is whole. Of a bare connection: nobody is there."""
        if self.spec.http is None:
            return self._settle(FAILED, "the connection was closed at once")
        self._attempt = None
        self._settle(self._result)

    def on_tunnel(self, response: Response) -> None:
        """There is a connection. Behind a sidecar that says nothing yet."""
        if self.spec.http is not None:
            return self._settle(FAILED, "the answer changes protocols")
        if not self.endpoint.identity:
            return self._settle(PASSED)
        self._result = PASSED
        self._slot.discard(self)
        now = self._checks.wheel.clock()
        self._slot = self._checks.wheel.at(min(now + KEPT_SECONDS, max(self._ends, now)), self)

    def on_failure(self, failure: Failure) -> None:
        """No whole answer. A kept connection that had died is no reason: once more."""
        self._attempt = None
        if failure.error == _STALE and not self._retried:
            self._retried = True
            self._slot.discard(self)
            return self._ask(self._checks.wheel.clock())
        self._settle(NOTHING if is_ours(failure) else FAILED, failure.detail or failure.error)

    def on_writable(self) -> None:
        """The whole request went at once."""

    # 3. What comes of it.

    def _stop(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel("checked")

    def _settle(self, result: str, why: str = "") -> None:
        self._slot.discard(self)
        self._stop()
        self._result = ""
        if not self.endpoint.identity:
            self.endpoint.spare()
        self.why = why or ("" if result == PASSED else self.why)
        checks, spec = self._checks, self.spec
        due = self._began + spec.interval * checks.spread(1 - JITTER, 1 + JITTER)
        self._slot = checks.wheel.at(max(due, checks.wheel.clock()), self)
        checks.settled(self, result)

    def __repr__(self) -> str:
        return f"<Check {self.key} {self.streak!r}>"


class Checks:
    """All of a process. `make` builds an endpoint of its own for each, whose load and connections nobody else sees."""

    __slots__ = ("_make", "_news", "_post", "_waits", "checks", "counts", "dropped", "spread", "wheel")

    def __init__(self, wheel: Wheel, make: MakeEndpoint, spread: Callable[[float, float], float] = uniform) -> None:
        self.wheel = wheel
        self.spread = spread
        self.checks: dict[str, Check] = {}
        self._make = make
        self._post: Post | None = None  # while there is a stream
        self._news: dict[str, bool | None] = {}  # what has not been told on it
        self._waits = False  # the wheel will tell it
        # what metrics ask for
        self.counts: dict[str, int] = dict.fromkeys(RESULTS, 0)
        self.dropped = 0  # endpoints beyond MOST_CHECKS, of the configuration in force

    def follow(self, spec: ChecksSpec | None) -> None:
        """Look after these from now on. What stays keeps its verdict, whatever else is asked of it."""
        wanted: dict[str, tuple[CheckSpec, EndpointSpec]] = {}
        for check in spec.checks if spec is not None else ():
            for endpoint in check.endpoints:
                wanted[key(check.name, endpoint.uid, endpoint.address, endpoint.port)] = check, endpoint
        self.dropped = max(len(wanted) - MOST_CHECKS, 0)
        kept = dict(list(wanted.items())[:MOST_CHECKS])
        for name in [name for name, check in self.checks.items() if not _stays(check, kept.get(name))]:
            gone = self.checks.pop(name)
            gone.close()
            if gone.streak.verdict is not None:
                self._tell(name, None)
        for name, (check, endpoint) in kept.items():
            if (known := self.checks.get(name)) is not None:
                known.adopt(check)
            else:
                self.checks[name] = Check(self, name, check, endpoint, self._make(endpoint, check.timeout))

    def settled(self, check: Check, result: str) -> None:
        """A check is over."""
        self.counts[result] += 1
        if check.streak.add(result, check.spec.healthy, check.spec.unhealthy):
            self._tell(check.key, check.streak.verdict)

    def _tell(self, name: str, verdict: bool | None) -> None:
        if self._post is None:
            return
        self._news[name] = verdict
        self._tell_later()

    def _tell_later(self) -> None:
        if not self._waits:
            self._waits = True
            self.wheel.at(self.wheel.clock() + GATHER_SECONDS, self)

    def on_time(self, now: float) -> None:
        """The wheel: what was gathered is told; again, where whoever hears has not read what came before."""
        self._waits = False
        if self._post is None or not self._news:
            return
        if self._post(self._news):
            self._news = {}
        else:
            self._tell_later()

    # the stream

    def connect(self, post: Post) -> None:
        """A stream has begun: whoever hears knows nothing of this proxy's verdicts yet."""
        self._post = post
        self._news = {}
        if (known := self.verdicts()) and not post(known):
            self._news.update(known)
            self._tell_later()

    def disconnect(self) -> None:
        """It has ended. Checks go on: the next one is told what they come to."""
        self._post = None
        self._news = {}

    def verdicts(self) -> dict[str, bool | None]:
        """What is known."""
        return {name: check.streak.verdict for name, check in self.checks.items() if check.streak.verdict is not None}

    def close(self) -> None:
        """The process ends."""
        self.follow(None)

    def __repr__(self) -> str:
        return f"<Checks {len(self.checks)}, {sum(verdict is False for verdict in self.verdicts().values())} unhealthy>"


def _stays(check: Check, wanted: tuple[CheckSpec, EndpointSpec] | None) -> bool:
    """The same endpoint, called in the same way."""
    return wanted is not None and wanted[1] == check.source and (wanted[0].http is None) == (check.spec.http is None)
