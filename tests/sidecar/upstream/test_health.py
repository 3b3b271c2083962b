"""Checks of endpoints: conversations in memory by a hand-driven clock, verdicts by a model, and real sockets."""

from __future__ import annotations

import asyncio
import itertools
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidewinder_sidecar.messages import ANSWERING, CONNECT, UNSENT
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.checks import MOST_CHECKS, CheckSpec, ChecksSpec, HttpCheckSpec, key
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream import endpoint as upstream
from sidewinder_sidecar.upstream.health import (
    FAILED,
    GATHER_SECONDS,
    KEPT_SECONDS,
    MOST_BODY,
    NOTHING,
    PASSED,
    Check,
    Checks,
    Streak,
)
from sidewinder_sidecar.wheel import Wheel
from tests.support.authority import trust
from tests.support.identities import identity, named
from tests.support.memory import Attempt, Clock, Endpoint
from tests.support.sockets import run, serving, until
from tests.support.two_proxies import REVIEWS as REVIEWS_ID
from tests.support.two_proxies import keys, proxies

REVIEWS = "bookinfo/reviews:9080"
ONE = EndpointSpec(uid="one", address="10.0.0.1", port=9080)
TWO = EndpointSpec(uid="two", address="10.0.0.2", port=9080)
SAFE = EndpointSpec(uid="one", address="10.0.0.1", port=9080, identity="spiffe://cluster.local/ns/bookinfo/sa/reviews")
HTTP = HttpCheckSpec(path="/healthz?full", statuses=(200, 204))
REFUSED = (b"proxy-status", b'sidewinder; error=http_request_denied; details="no"')
BUSY = (b"proxy-status", b'sidewinder; error=connection_limit_reached; details="no"')


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    by, folder = trust(), tmp_path_factory.mktemp("identities")
    identity(folder / "web", by, named("web"))
    identity(folder / "reviews", by, named("reviews"))
    return folder


def name_of(spec: EndpointSpec) -> str:
    return key(REVIEWS, spec.uid, spec.address, spec.port)


def spec(*endpoints: EndpointSpec, http: HttpCheckSpec | None = HTTP, interval: float = 5.0) -> ChecksSpec:
    check = CheckSpec(
        name=REVIEWS, authority="reviews.bookinfo:9080", http=http, interval=interval, endpoints=endpoints
    )
    return ChecksSpec(checks=(check,))


class Site:
    """Checks without sockets; the middle of every spread is drawn: a first check begins after half an interval."""

    def __init__(self, followed: ChecksSpec) -> None:
        self.clock = Clock()
        self.wheel = wheel = Wheel(self.clock, self.clock.later)
        self.opened: list[Attempt] = []
        self.faults: list[str] = []
        self.told: list[dict[str, bool | None]] = []
        self.checks = Checks(
            wheel,
            lambda source, seconds: Endpoint(source, wheel, self.opened, self.faults),
            lambda low, high: (low + high) / 2,
        )
        self.deaf = False  # whoever hears reads nothing
        self.checks.connect(self.post)
        self.checks.follow(followed)

    def post(self, news: dict[str, bool | None]) -> bool:
        if not self.deaf:
            self.told.append(news)
        return not self.deaf

    def next(self) -> Attempt:
        """Lets time pass until another check has begun."""
        count = len(self.opened)
        for _ in range(1000):
            if len(self.opened) > count:
                return self.opened[-1]
            self.clock.advance(1 / 16)
        raise AssertionError("no check begins")

    def answer(self, status: int, times: int = 1) -> None:
        for _ in range(times):
            self.next()
            for attempt in self.opened:
                if not attempt.over:
                    attempt.answer(status, b"")

    def settle(self) -> list[dict[str, bool | None]]:
        """What was told, after what is gathered is."""
        self.clock.advance(GATHER_SECONDS + 0.05)
        told, self.told[:] = [*self.told], []
        return told

    @property
    def only(self) -> Check:
        (check,) = self.checks.checks.values()
        return check


def test_what_is_asked() -> None:
    site = Site(spec(ONE))
    attempt = site.next()
    assert (attempt.method, attempt.target) == (b"GET", b"/healthz?full")
    assert attempt.fields == {
        b"host": b"reviews.bookinfo:9080", b"user-agent": b"sidewinder-health", b"accept": b"*/*",
    }  # fmt: skip
    assert site.clock.now == pytest.approx(1002.5, abs=0.1)


def test_checks_come_at_their_interval_whatever_an_answer_takes() -> None:
    site = Site(spec(ONE))
    began = []
    for _ in range(4):
        attempt = site.next()
        began.append(site.clock.now)
        site.clock.advance(0.9)
        attempt.answer(200, b"")
    assert [later - earlier for earlier, later in itertools.pairwise(began)] == pytest.approx([5, 5, 5], abs=0.2)


def test_a_verdict_needs_its_answers_in_a_row_and_is_told_once() -> None:
    site = Site(spec(ONE))
    site.answer(204)
    assert site.settle() == []
    site.answer(200)
    assert site.settle() == [{name_of(ONE): True}]
    site.answer(500, 2)
    site.answer(200)
    site.answer(500, 2)
    assert site.settle() == []
    site.answer(503)
    assert site.settle() == [{name_of(ONE): False}]
    site.answer(500, 3)
    assert site.settle() == []
    assert site.only.why == "500 was answered"
    site.answer(200, 2)
    assert site.settle() == [{name_of(ONE): True}]
    assert site.only.why == ""
    assert site.checks.counts == {PASSED: 5, FAILED: 8, NOTHING: 0}
    assert site.faults == []


@pytest.mark.parametrize("header", [REFUSED, BUSY], ids=["a policy", "a limit"])
def test_what_one_of_our_proxies_refuses_says_nothing(header: tuple[bytes, bytes]) -> None:
    site = Site(spec(ONE))
    site.answer(500, 3)
    assert site.settle() == [{name_of(ONE): False}]
    for _ in range(4):
        site.next().answer(403, b"", header)
    assert site.settle() == [{name_of(ONE): None}]
    assert site.only.why == "403 was answered by a policy or a limit"


def test_an_applications_own_refusal_is_one() -> None:
    site = Site(spec(ONE))
    for _ in range(3):
        site.next().answer(403, b"", (b"proxy-status", b"other; error=http_request_denied"))
    assert site.settle() == [{name_of(ONE): False}]


def test_silence_ends_with_the_time_for_an_answer() -> None:
    site = Site(spec(ONE))
    attempt = site.next()
    site.clock.advance(0.9)
    assert not attempt.over
    site.clock.advance(0.2)
    assert attempt.cancelled == "checked"
    assert site.only.why == "no answer within 1 s"
    assert site.only.streak.length == 1


def test_a_body_is_read_so_that_the_connection_is_kept_but_not_a_long_one() -> None:
    site = Site(spec(ONE))
    attempt = site.next()
    attempt.answer(200, b"well")
    assert attempt.cancelled is None
    long = site.next()
    long.answer(200)
    long.data(b"x" * MOST_BODY)
    assert not long.over
    long.data(b"x")
    assert long.cancelled == "checked"
    assert site.settle() == [{name_of(ONE): True}]


def test_a_kept_connection_that_had_died_is_tried_once_more() -> None:
    site = Site(spec(ONE))
    site.next().fail(UNSENT, "reset_before_request")
    assert len(site.opened) == 2
    site.opened[-1].fail(UNSENT, "reset_before_request", "gone again")
    assert len(site.opened) == 2
    assert (site.only.why, site.checks.counts[FAILED]) == ("gone again", 1)


def test_a_redirect_is_an_answer_like_any_other() -> None:
    site = Site(spec(ONE))
    site.next().answer(302, b"", (b"location", b"http://169.254.169.254/"))
    site.clock.advance(1.0)
    assert (len(site.opened), site.checks.counts[FAILED], site.only.why) == (1, 1, "302 was answered")


def test_a_connection_that_cannot_be_made_is_a_failure() -> None:
    site = Site(spec(ONE))
    for _ in range(3):
        site.next().fail(CONNECT, "connect_refused", "Connection refused")
    assert site.settle() == [{name_of(ONE): False}]


def test_a_prober_without_a_file_to_spare_does_not_call_everybody_unwell() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> None:
        async with serving(silent) as port:
            wheel = Wheel.of(asyncio.get_running_loop())
            checks = Checks(wheel, lambda source, seconds: upstream.Endpoint(source, Limits(), wheel, seconds))
            checks.follow(spec(EndpointSpec(uid="one", address="127.0.0.1", port=port), http=None, interval=0.05))
            await until(lambda: checks.counts[PASSED] >= 2)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))  # what is open stays so, and nothing follows
            try:
                await until(lambda: checks.counts[NOTHING] >= 2)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            [check] = checks.checks.values()
            assert (checks.counts[FAILED], checks.verdicts(), check.why) == (0, {}, "Too many open files")
            checks.close()

    run(main)


def test_without_a_certificate_of_our_own_nothing_is_found_out() -> None:
    site = Site(spec(SAFE))
    site.clock.advance(60)
    assert site.opened == []
    assert site.checks.counts[NOTHING] > 5
    assert site.only.streak.verdict is None


# ── a connection alone ────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_tcp_a_connection_is_enough_where_nobody_stands_in_front() -> None:
    site = Site(spec(ONE, http=None))
    for _ in range(2):
        attempt = site.next()
        attempt.open_tunnel(200)
        assert attempt.cancelled == "checked"
    assert site.settle() == [{name_of(ONE): True}]


def guarded(folders: Path) -> Site:
    """A check of TCP behind a sidecar, with a certificate of our own."""
    site = Site(spec(SAFE, http=None))
    site.only.endpoint.keyring = keys(folders / "web")
    return site


def test_behind_a_sidecar_a_connection_must_last_a_moment(folders: Path) -> None:
    site = guarded(folders)
    attempt = site.next()
    attempt.open_tunnel(200)
    site.clock.advance(KEPT_SECONDS - 0.05)
    assert not attempt.over
    site.clock.advance(0.1)
    assert attempt.cancelled == "checked"
    assert site.checks.counts == {PASSED: 1, FAILED: 0, NOTHING: 0}


@pytest.mark.parametrize("ends", ["end", "reset"])
def test_behind_a_sidecar_a_connection_that_ends_at_once_found_nobody(folders: Path, ends: str) -> None:
    site = guarded(folders)
    attempt = site.next()
    attempt.open_tunnel(200)
    attempt.end() if ends == "end" else attempt.fail(ANSWERING, "incomplete", "closed")
    assert site.checks.counts == {PASSED: 0, FAILED: 1, NOTHING: 0}
    assert site.faults == []


def test_who_speaks_first_is_there(folders: Path) -> None:
    site = guarded(folders)
    attempt = site.next()
    attempt.open_tunnel(200)
    attempt.data(b"220 ready")
    assert attempt.cancelled == "checked"
    assert site.checks.counts[PASSED] == 1


# ── what is looked after, and who is told ─────────────────────────────────────────────────────────────────────────────


def test_who_is_given_to_somebody_else_is_forgotten() -> None:
    site = Site(spec(ONE, TWO))
    site.answer(500, 3)
    site.settle()
    running = site.next()
    gone = next(check for check in site.checks.checks.values() if check.endpoint is running.endpoint)
    site.checks.follow(spec(TWO if gone.source is ONE else ONE))
    assert running.cancelled == "checked"
    assert gone.endpoint.retired
    assert site.settle() == [{gone.key: None}]
    site.checks.close()
    site.settle()
    assert len(site.wheel) == 0


def test_what_stays_keeps_its_verdict_though_asked_otherwise() -> None:
    site = Site(spec(ONE))
    site.answer(500, 3)
    before = site.only
    site.checks.follow(spec(ONE, http=HttpCheckSpec(path="/other"), interval=9.0))
    assert site.only is before
    assert site.next().target == b"/other"
    site.checks.follow(spec(SAFE))
    assert site.only is not before, "with another identity it is somebody else"


def test_a_shorter_interval_holds_at_once() -> None:
    site = Site(spec(ONE, interval=3600.0))
    site.checks.follow(spec(ONE, interval=2.0))
    began = site.clock.now
    site.next()
    assert site.clock.now - began < 2.0
    site.checks.follow(spec(ONE, interval=1.0))
    assert len(site.wheel) == 1, "a check that runs is let run"


def test_nobody_looks_after_more_than_he_can() -> None:
    many = [EndpointSpec(uid=str(number), address="10.0.0.1", port=1 + number) for number in range(MOST_CHECKS + 3)]
    site = Site(spec(*many))
    assert (len(site.checks.checks), site.checks.dropped) == (MOST_CHECKS, 3)


def test_verdicts_that_come_together_are_told_together() -> None:
    site = Site(spec(ONE, TWO))
    site.answer(500, 3)
    assert site.settle() == [{name_of(ONE): False, name_of(TWO): False}]


def test_what_could_not_be_sent_is_told_again() -> None:
    site = Site(spec(ONE, TWO))
    site.deaf = True
    site.answer(500, 3)
    assert site.settle() == []
    site.deaf = False
    assert site.settle() == [both := {name_of(ONE): False, name_of(TWO): False}]
    assert site.settle() == []
    site.deaf = True
    site.checks.connect(site.post)
    site.deaf = False
    assert site.settle() == [both], "a stream's first word, too"


def test_a_new_stream_hears_all_and_no_stream_hears_nothing() -> None:
    site = Site(spec(ONE))
    site.checks.disconnect()
    site.answer(500, 3)
    assert site.settle() == []
    site.checks.connect(site.post)
    assert site.told == [{name_of(ONE): False}]
    assert repr(site.checks) == "<Checks 1, 1 unhealthy>"


class Model:
    """A verdict by the definition: look at all answers since the last one that said nothing."""

    def __init__(self, healthy: int, unhealthy: int) -> None:
        self.healthy, self.unhealthy = healthy, unhealthy
        self.answers: list[bool] = []

    def verdict(self) -> bool | None:
        for end in range(len(self.answers), 0, -1):
            for passed, needed in ((True, self.healthy), (False, self.unhealthy)):
                if end >= needed and all(answer is passed for answer in self.answers[end - needed : end]):
                    return passed
        return None


@given(
    st.lists(st.sampled_from((PASSED, FAILED, NOTHING)), max_size=60),
    st.integers(min_value=1, max_value=4),
    st.integers(min_value=1, max_value=4),
)
def test_verdicts_are_as_defined(results: list[str], healthy: int, unhealthy: int) -> None:
    streak, model = Streak(), Model(healthy, unhealthy)
    for result in results:
        before = streak.verdict
        changed = streak.add(result, healthy, unhealthy)
        if result == NOTHING:
            model.answers.clear()
        else:
            model.answers.append(result == PASSED)
        assert streak.verdict is model.verdict()
        assert changed == (streak.verdict is not before)


# ── over sockets ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["HTTP", "TCP"])
def test_over_a_socket(kind: str) -> None:
    connections = 0

    async def main() -> None:
        async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")

        async with serving(well) as port:
            wheel = Wheel.of(asyncio.get_running_loop())
            checks = Checks(wheel, lambda source, seconds: upstream.Endpoint(source, Limits(), wheel, seconds))
            told: list[dict[str, bool | None]] = []
            checks.connect(lambda news: told.append(news) is None)
            here = EndpointSpec(uid="one", address="127.0.0.1", port=port)
            checks.follow(spec(here, http=HTTP if kind == "HTTP" else None, interval=0.05))
            await until(lambda: checks.counts[PASSED] >= 3)
            await until(lambda: connections >= 3)  # who serves one connection at a time is not kept from it
            await until(lambda: told)
            assert told == [{name_of(here): True}]
            checks.close()
            await until(lambda: len(wheel) == 0)

    run(main)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "again", "result"),
    [
        pytest.param(b"\x16\x03\x01 no HTTP at all\r\n\r\n", b"", FAILED, id="garbage"),
        pytest.param(b"", b"H", FAILED, id="a head, byte by byte"),
        pytest.param(HEAD, b"x-more: of it\r\n" * 1000, FAILED, id="a head without end"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50, b"", FAILED, id="hints without end"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"", FAILED, id="another protocol"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\nhalf", None, FAILED, id="half a body"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\nhalf", b"", PASSED, id="a body that stands still"),
        pytest.param(CHUNKED, b"1\r\nx\r\n", PASSED, id="a body, byte by byte"),
        pytest.param(CHUNKED, b"4000\r\n" + b"x" * 16384 + b"\r\n", PASSED, id="a body without end"),
        pytest.param((HEAD + b"Content-Length: 0\r\n\r\n") * 2, b"", PASSED, id="two answers"),
    ],
)
def test_whatever_is_answered_a_check_ends_in_time_and_reads_little(
    said: bytes, again: bytes | None, result: str
) -> None:
    sent = 0

    async def bad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        while again is not None:
            writer.write(again)
            sent += len(again)
            await asyncio.sleep(0.005)
        writer.close()

    async def main() -> None:
        async with serving(bad) as port:
            wheel = Wheel.of(asyncio.get_running_loop())
            checks = Checks(wheel, lambda source, seconds: upstream.Endpoint(source, Limits(), wheel, seconds))
            here = EndpointSpec(uid="one", address="127.0.0.1", port=port)
            asked = CheckSpec(name=REVIEWS, http=HTTP, interval=0.3, timeout=0.3, endpoints=(here,))
            checks.follow(ChecksSpec(checks=(asked,)))
            await until(lambda: sum(checks.counts.values()))
            assert checks.counts[result]
            [check] = checks.checks.values()
            assert len(check.why) < 200
            checks.close()
            await until(lambda: len(wheel) == 0)

    run(main)
    assert sent < 4_000_000, "of bodies 64 KB are read, and what the kernel holds"


# ── over mTLS, through the sidecar of who is asked ────────────────────────────────────────────────────────────────────


async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\r\n")
    await reader.read()


@pytest.mark.parametrize(
    ("app", "http", "result"),
    [
        pytest.param(well, HTTP, PASSED, id="HTTP"),
        pytest.param(None, HTTP, FAILED, id="HTTP, nobody there"),
        pytest.param(silent, None, PASSED, id="TCP, waiting"),
        pytest.param(banner, None, PASSED, id="TCP, speaking first"),
        pytest.param(None, None, FAILED, id="TCP, nobody there"),
    ],
)
def test_through_a_sidecar(folders: Path, app: Any, http: HttpCheckSpec | None, result: str) -> None:
    async def main() -> None:
        async with serving(app or silent) as taken:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))  # and nobody listens
                port = taken if app is not None else free.getsockname()[1]
                protocol = "HTTP" if http is not None else "TCP"
                async with proxies(port, keys(folders / "web"), keys(folders / "reviews"), protocol=protocol) as both:
                    outside, inside = both
                    fleet = outside.proxy.fleet
                    checks = Checks(fleet.wheel, fleet.make)
                    pod = EndpointSpec(uid="pod", address="127.0.0.1", port=inside.listener.port, identity=REVIEWS_ID)
                    checks.follow(spec(pod, http=http, interval=0.3))
                    await until(lambda: sum(checks.counts.values()) >= 2)
                    assert checks.counts == {PASSED: 0, FAILED: 0, NOTHING: 0, result: sum(checks.counts.values())}
                    if app is well:
                        assert inside.keyring.counted["server", "ok"] == 1, "a kept connection"
                        [check] = checks.checks.values()
                        await until(lambda: check.endpoint.idle)
                        assert 6 < check.endpoint.idle[0].idle_seconds < Limits().idle_seconds, "from check to check"
                    checks.close()
                    await until(lambda: not inside.listener.connections)

    run(main)
