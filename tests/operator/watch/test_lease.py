"""At most one leads, whatever happens; who leads can be asked at any time; nobody waits longer than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.watch.lease import Lease
from tests.support.apiserver import FakeApiServer
from tests.support.clock import HandClock, eventually

LEASES = "/apis/coordination.k8s.io/v1/leases"


class Line:
    """A server whose answers can be held for one replica alone: its own network."""

    def __init__(self, server: FakeApiServer, clock: HandClock) -> None:
        self.api = ApiServer(server.url)
        self.cut = False
        self.slow = 0.0
        self._clock = clock
        self._send = self.api.send
        self.api.send = self._carry  # type: ignore[method-assign]

    async def _carry(self, *arguments: Any, **named: Any) -> bytes:
        if self.cut:
            raise TimeoutError("the network is cut")
        if self.slow:
            await self._clock.sleep(self.slow)
        return await self._send(*arguments, **named)


class Replica:
    """One that wants to lead, and what it did."""

    def __init__(self, name: str, bench: Bench) -> None:
        self.line = Line(bench.server, bench.clock)
        self.lease = Lease(self.line.api, "system", "leader", name, clock=bench.clock)
        self.working = False
        self.ended_at = 0.0
        self.crash = False
        self.stubborn = 0.0
        self._bench = bench
        self.task = asyncio.create_task(self.lease.run(self.lead))

    async def lead(self) -> None:
        self.working = True
        assert self.lease.leader()
        try:
            while not self.crash:
                self._bench.check()
                await self._bench.clock.sleep(0.1)
            raise RuntimeError("a bug")
        finally:
            if self.stubborn:
                await asyncio.sleep(self.stubborn)
            self.working = False
            self.ended_at = self._bench.clock.now()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.line.api.close()


class Bench:
    """A server and its replicas."""

    def __init__(self, server: FakeApiServer) -> None:
        self.server = server
        self.clock = HandClock()
        self.replicas: list[Replica] = []

    def replica(self, name: str) -> Replica:
        self.replicas.append(Replica(name, self))
        return self.replicas[-1]

    def check(self) -> None:
        assert sum(each.lease.leader() for each in self.replicas) <= 1
        assert sum(each.working for each in self.replicas) <= 1

    def spec(self) -> dict[str, Any]:
        found = self.server.get(LEASES, "leader", "system")
        assert found is not None
        spec: dict[str, Any] = found["spec"]
        return spec


def bench(work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            given = Bench(server)
            try:
                await work(given)
            finally:
                for each in given.replicas:
                    await each.stop()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_the_first_leads_and_renews_and_the_second_waits() -> None:
    async def work(on: Bench) -> None:
        first = on.replica("a")
        await on.clock.until(lambda: first.working)
        second = on.replica("b")
        await on.clock.advance(60)
        assert first.lease.leader()
        assert not second.lease.leader()
        assert second.lease.holder == "a"
        assert on.spec()["holderIdentity"] == "a"
        assert on.spec()["leaseTransitions"] == 0

    bench(work)


def test_who_stops_gives_it_back() -> None:
    async def work(on: Bench) -> None:
        first = on.replica("a")
        await on.clock.until(lambda: first.working)
        second = on.replica("b")
        await on.clock.advance(5)
        await first.stop()
        assert on.spec()["holderIdentity"] == ""
        await on.clock.until(lambda: second.working, 4)
        assert on.spec()["leaseTransitions"] == 1

    bench(work)


def test_a_holder_that_is_cut_off_stops_before_another_leads() -> None:
    async def work(on: Bench) -> None:
        first = on.replica("a")
        await on.clock.until(lambda: first.working)
        second = on.replica("b")
        await on.clock.advance(10)
        first.line.cut = True
        began = on.clock.now()
        await on.clock.until(lambda: not first.lease.leader(), 11)
        assert on.clock.now() - began >= 7  # it uses what it had
        await on.clock.until(lambda: second.working, 15)
        assert first.ended_at < on.clock.now()
        assert on.clock.now() - began <= 20
        first.line.cut = False
        await on.clock.advance(30)
        assert second.lease.leader()

    bench(work)


def test_nobody_leads_while_the_server_is_away_and_one_does_afterwards() -> None:
    async def work(on: Bench) -> None:
        first, second = on.replica("a"), on.replica("b")
        await on.clock.until(lambda: first.working or second.working)
        on.server.failing = 503
        await on.clock.advance(120)
        assert not first.lease.leader()
        assert not second.lease.leader()
        asked = len(on.server.requests)
        await on.clock.advance(20)
        assert len(on.server.requests) - asked <= 24  # a try in two seconds each
        on.server.failing = 0
        await on.clock.until(lambda: first.working or second.working, 20)
        on.check()

    bench(work)


def test_a_slow_server_keeps_the_leader_and_never_makes_two() -> None:
    async def work(on: Bench) -> None:
        first, second = on.replica("a"), on.replica("b")
        await on.clock.until(lambda: first.working or second.working)
        first.line.slow = second.line.slow = 0.8
        await on.clock.advance(60)
        assert first.lease.terms + second.lease.terms == 1
        first.line.slow = second.line.slow = 0.0

    bench(work)


def test_many_that_start_together_make_one_leader() -> None:
    async def work(on: Bench) -> None:
        for name in "abcdef":
            on.replica(name)
        await on.clock.advance(20)
        assert sum(each.working for each in on.replicas) == 1

    bench(work)


def test_work_that_fails_gives_the_lease_to_another(caplog: pytest.LogCaptureFixture) -> None:
    async def work(on: Bench) -> None:
        first = on.replica("a")
        await on.clock.until(lambda: first.working)
        second = on.replica("b")
        await on.clock.advance(5)
        first.crash = True
        await on.clock.until(lambda: not first.working, 5)
        await on.clock.until(lambda: second.working or (first.working and first.lease.terms == 2), 10)
        on.check()

    bench(work)
    assert "the leader's work has failed" in caplog.text


def test_work_that_does_not_end_is_waited_for() -> None:
    async def work(on: Bench) -> None:
        first = on.replica("a")
        first.stubborn = 0.3
        await on.clock.until(lambda: first.working)
        stopping = asyncio.create_task(first.stop())
        await asyncio.sleep(0.1)
        assert first.working
        assert on.spec()["holderIdentity"] == "a"
        await stopping
        assert not first.working
        assert on.spec()["holderIdentity"] == ""

    bench(work)


def test_a_lease_that_somebody_deletes_or_takes_is_noticed() -> None:
    async def work(on: Bench) -> None:
        first = on.replica("a")
        await on.clock.until(lambda: first.working)
        on.server.delete(LEASES, "leader", "system")
        await on.clock.advance(5)
        assert first.lease.leader()
        taken = on.server.get(LEASES, "leader", "system")
        assert taken is not None
        taken["spec"] |= {"holderIdentity": "thief", "renewTime": "now"}
        on.server.put(LEASES, taken)
        await on.clock.until(lambda: not first.working, 5)
        assert not first.lease.leader()
        await on.clock.until(lambda: first.working, 20)  # the thief says nothing more

    bench(work)


def test_repr_says_who_holds_it() -> None:
    async def work(on: Bench) -> None:
        first = on.replica("a")
        await eventually(lambda: first.lease.leader())
        assert repr(first.lease) == "<Lease held by a, ours>"

    bench(work)
