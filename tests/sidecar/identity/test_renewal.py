"""A certificate over its life: the clock is a test's own, enrolments are scripted, files and certificates are real."""

import asyncio
import datetime as dt
import ssl
import time

import pytest
import uvloop

from sidewinder_sidecar.identity import renewal
from sidewinder_sidecar.identity.child import Outcome
from sidewinder_sidecar.identity.files import Files
from sidewinder_sidecar.identity.renewal import Identity
from tests.support.authority import SPIFFE_ID, Place, trust
from tests.support.clock import eventually

HOUR = 3600.0


@pytest.fixture(scope="module")
def ours():
    return trust()


@pytest.fixture
def place(tmp_path, ours):
    made = Place(tmp_path)
    made.mount(ours)
    return made


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Pauses a hundredth of what they are."""
    for name in ("LOOK_SECONDS", "FIRST_PAUSE", "LONGEST_PAUSE", "LONGEST_SPARE_PAUSE"):
        monkeypatch.setattr(renewal, name, getattr(renewal, name) / 100)
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.01)


class Bench:
    """An identity, its clock, and an authority that does what `answers` say, then signs."""

    def __init__(self, place, ours, *answers, life=dt.timedelta(hours=24)):
        self.place, self.trust, self.life = place, ours, life
        self.answers = list(answers)
        self.offset = 0.0
        self.attempts = []  # when, in seconds of the test's clock
        self.renewed = 0
        self.identity = Identity(Files(place.settings()), enrol=self.enrol, now=self.now, renewed=self.on_renewed)

    def now(self):
        return time.time() + self.offset

    def on_renewed(self):
        self.renewed += 1

    async def enrol(self):
        self.attempts.append(self.now())
        if self.answers:
            return self.answers.pop(0)
        begins = dt.datetime.fromtimestamp(self.now(), dt.UTC)
        self.place.keep(self.trust, begins=begins, life=self.life)
        return Outcome()

    def run(self, work):
        async def main():
            running = asyncio.create_task(self.identity.run())
            try:
                await asyncio.wait_for(work(self), 20)
                assert not running.done(), running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        uvloop.run(main())
        return self


def failed(why="not now", retry_after=0.0):
    return Outcome(why=why, retry_after=retry_after)


def test_without_one_it_enrols_at_once(place, ours):
    bench = Bench(place, ours)
    assert not bench.identity.usable
    with pytest.raises(OSError, match="there is no certificate: "):
        bench.identity.context()

    async def work(bench):
        await bench.identity.ready()
        assert bench.identity.held.leaf.spiffe_id == SPIFFE_ID
        assert isinstance(bench.identity.context(), ssl.SSLContext)

    bench.run(work)
    assert (bench.identity.enrolments, bench.identity.failures, bench.identity.fault) == (1, 0, "")
    assert bench.renewed == 1


def test_after_a_restart_it_is_used_again(place, ours, caplog):
    place.keep(ours)

    async def work(bench):
        await bench.identity.ready()
        await asyncio.sleep(0.05)  # five looks

    bench = Bench(place, ours).run(work)
    assert bench.attempts == []
    assert bench.renewed == 0
    assert [record for record in caplog.records if record.name.startswith("sidewinder")] == []


def test_it_is_renewed_at_half_its_life(place, ours):
    async def work(bench):
        await bench.identity.ready()
        first = bench.identity.held.leaf
        at = bench.identity.renew_at
        assert 0.44 * 24 * HOUR < at - bench.now() < 0.56 * 24 * HOUR
        bench.offset = 10.7 * HOUR
        await asyncio.sleep(0.05)
        assert len(bench.attempts) == 1
        bench.offset = 13.3 * HOUR
        await eventually(lambda: bench.identity.held.leaf != first)
        assert bench.identity.renew_at > bench.now() + 10 * HOUR

    assert Bench(place, ours).run(work).renewed == 2


def test_they_drift_apart(place, ours):
    place.keep(ours)
    times = set()
    for _ in range(20):
        identity = Identity(Files(place.settings()))
        identity.look()
        times.add(round((identity.renew_at - time.time()) / HOUR, 1))
    assert len(times) > 5
    assert max(times) - min(times) <= 2.5


def test_failures_are_tried_again_with_growing_pauses_and_said_once(place, ours, caplog, monkeypatch):
    pauses = []
    sleep = asyncio.sleep

    async def pause(seconds):
        pauses.append(seconds)
        await sleep(min(seconds, 0.001))

    monkeypatch.setattr(renewal.asyncio, "sleep", pause)

    async def work(bench):
        await bench.identity.ready()

    bench = Bench(place, ours, *[failed("the operator is away")] * 9).run(work)
    assert bench.identity.failures == 9
    assert caplog.text.count("the operator is away") == 1
    assert len(pauses) == 9
    for number, seconds in enumerate(pauses):
        whole = min(renewal.FIRST_PAUSE * 2**number, renewal.LONGEST_PAUSE)
        assert whole / 2 <= seconds <= whole


def test_it_waits_as_long_as_it_is_asked_to(place, ours):
    async def work(bench):
        await bench.identity.ready()

    bench = Bench(place, ours, failed(retry_after=0.5)).run(work)
    first, second = bench.attempts
    assert 0.49 < second - first < 5


def test_whatever_fails_the_old_one_is_used(place, ours):
    async def work(bench):
        await bench.identity.ready()
        bench.answers = [failed()] * 1000
        bench.offset = 20 * HOUR
        await eventually(lambda: bench.identity.failures > 2)
        await bench.identity.ready()
        assert bench.identity.context()
        bench.offset = 25 * HOUR  # now it has ended
        waiting = asyncio.create_task(bench.identity.ready())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        bench.answers.clear()  # and they answer again
        await asyncio.wait_for(waiting, 5)
        assert bench.identity.usable

    Bench(place, ours).run(work)


def test_what_was_kept_has_ended(place, ours, caplog):
    place.keep(ours, begins=dt.datetime.now(dt.UTC) - dt.timedelta(days=3))

    async def work(bench):
        await bench.identity.ready()

    assert len(Bench(place, ours).run(work).attempts) == 1
    assert "the certificate holds from" in caplog.text


def test_what_was_kept_is_damaged(place, ours, caplog):
    place.keep(ours)
    (place.identity / "certificate.pem").write_text("half")

    async def work(bench):
        await bench.identity.ready()

    assert len(Bench(place, ours).run(work).attempts) == 1
    assert "certificate.pem" in caplog.text


def test_a_clock_that_is_far_behind_is_told(place, ours, caplog):
    async def work(bench):
        await eventually(lambda: bench.identity.failures > 1)

    place.keep(ours)
    bench = Bench(place, ours, *[failed()] * 1000)
    bench.offset = -30 * 24 * HOUR
    bench.run(work)
    assert not bench.identity.usable
    assert "the certificate holds from" in caplog.text


def test_another_root_signs_and_it_is_renewed_before_its_time(place, ours, monkeypatch, caplog):
    monkeypatch.setattr(renewal, "SPREAD_SECONDS", 0.2)
    following = trust()

    async def work(bench):
        await bench.identity.ready()
        bench.trust = following
        place.mount(following, ours)
        await eventually(lambda: bench.identity.enrolments == 2)
        assert bench.identity.held.standing == "current"
        assert len(bench.identity.held.roots) == 2
        place.mount(following)  # the old one is forgotten: nothing to renew
        await eventually(lambda: len(bench.identity.held.roots) == 1)
        await asyncio.sleep(0.3)
        assert bench.identity.enrolments == 2

    Bench(place, ours).run(work)
    assert "another root signs now" in caplog.text


def test_a_root_that_is_only_announced_changes_nothing(place, ours):
    async def work(bench):
        await bench.identity.ready()
        place.mount(ours, trust())
        await eventually(lambda: len(bench.identity.held.roots) == 2)
        assert bench.identity.renew_at > bench.now() + 9 * HOUR

    assert Bench(place, ours).run(work).identity.enrolments == 1


def test_roots_that_do_not_name_ours_make_it_hurry(place, ours, monkeypatch):
    monkeypatch.setattr(renewal, "HURRY_SECONDS", 0.05)
    following = trust()

    async def work(bench):
        await bench.identity.ready()
        bench.trust = following
        place.mount(following)
        await eventually(lambda: bench.identity.enrolments == 2)

    Bench(place, ours).run(work)


def test_mounted_roots_that_lag_behind_do_not_make_it_enrol_again_and_again(place, ours):
    """The operator signs with a root of which the kubelet has not heard yet."""
    following = trust()

    async def work(bench):
        await bench.identity.ready()
        assert bench.identity.held.standing == "foreign"
        await asyncio.sleep(0.1)  # ten looks

    assert len(Bench(place, following).run(work).attempts) == 1


def test_a_connection_sees_new_roots_at_once(place, ours, monkeypatch):
    async def work(bench):
        await bench.identity.ready()
        monkeypatch.setattr(renewal, "LOOK_SECONDS", 1000.0)
        await asyncio.sleep(0.05)
        first = bench.identity.context()
        assert bench.identity.context() is first
        place.mount(ours, trust())
        assert len(bench.identity.context().get_ca_certs()) == 2

    Bench(place, ours).run(work)


def test_refusals_are_followed_but_not_again_and_again(place, ours, caplog):
    async def work(bench):
        await bench.identity.ready()
        for _ in range(2):
            bench.identity.on_refused("unknown ca")
        await asyncio.sleep(0.05)
        assert bench.identity.enrolments == 1  # may have been an accident
        for _ in range(5):
            bench.identity.on_refused("unknown ca")
        await eventually(lambda: bench.identity.enrolments == 2)
        for _ in range(5):
            bench.identity.on_refused("unknown ca")
        await asyncio.sleep(0.05)
        assert bench.identity.enrolments == 2
        bench.offset = renewal.REFUSED_SECONDS + 1
        bench.identity.on_refused("unknown ca")
        await asyncio.sleep(0.05)
        assert bench.identity.enrolments == 2
        for _ in range(2):
            bench.identity.on_refused("unknown ca")
        await eventually(lambda: bench.identity.enrolments == 3)

    Bench(place, ours).run(work)
    assert "the operator refuses it: unknown ca" in caplog.text


def test_a_life_of_a_minute_is_no_storm(place, ours):
    """The leaf is backdated by five minutes, so that half of what it says lies in the past."""

    async def work(bench):
        await bench.identity.ready()
        assert 20 < bench.identity.renew_at - bench.now() < 40
        await asyncio.sleep(0.1)
        assert len(bench.attempts) == 1

    Bench(place, ours, life=dt.timedelta(minutes=1)).run(work)


def test_files_are_left_alone_while_a_child_writes_them(place, ours):
    async def work(bench):
        await bench.identity.ready()
        context = bench.identity.context()
        entered, leave = asyncio.Event(), asyncio.Event()

        async def enrol():
            entered.set()
            (place.identity / "key.pem").write_text("half")
            await leave.wait()
            place.keep(ours)
            return Outcome()

        bench.identity._enrol = enrol
        bench.offset = 14 * HOUR
        await entered.wait()
        place.mount(ours, trust())
        assert bench.identity.context() is context
        leave.set()
        await eventually(lambda: bench.identity.enrolments == 2)
        assert len(bench.identity.context().get_ca_certs()) == 2

    Bench(place, ours).run(work)
