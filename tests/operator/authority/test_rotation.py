"""The rotation of the root: stage after stage on evidence, by any leader, resumed anywhere, and never too early."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidewinder_operator.apiserver import ApiServer, Refused
from sidewinder_operator.authority import root as roots
from sidewinder_operator.authority.root import Trust, Unfit
from sidewinder_operator.authority.rotation import (
    MARGIN,
    PROGRESS,
    REQUEST,
    STRAGGLERS,
    Evidence,
    Progress,
    Rotation,
    Step,
    read,
    step,
)
from sidewinder_operator.authority.sign import LIFETIME
from tests.support.apiserver import FakeApiServer

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
SECRETS = "/api/v1/secrets"
FIRST, SECOND = roots.create("cluster.local", NOW), roots.create("cluster.local", NOW)
IDLE = Trust(FIRST)
ANNOUNCED = roots.announce(IDLE, SECOND)
SWITCHED = roots.switch(ANNOUNCED)
ALL = Evidence(required=3)
PROXY = Evidence(required=3, proxies=("shop/a",))
BUNDLE = Evidence(required=3, bundles=("shop",))
REPLICA = Evidence(required=3, replicas=("operator-b",))
LATE = STRAGGLERS + MARGIN


@pytest.mark.parametrize(
    ("trust", "evidence", "age", "expected"),
    [
        pytest.param(ANNOUNCED, ALL, dt.timedelta(), Step(SWITCHED, "switched"), id="all trust it"),
        pytest.param(
            ANNOUNCED, PROXY, dt.timedelta(), Step(None, "announced", "1 of 3 proxies: shop/a"), id="a proxy lacks it"
        ),
        pytest.param(ANNOUNCED, PROXY, LATE, Step(SWITCHED, "switched"), id="a proxy is away for good"),
        pytest.param(ANNOUNCED, BUNDLE, LATE, Step(None, "announced", "trust bundles in shop"), id="a bundle lacks it"),
        pytest.param(
            ANNOUNCED, REPLICA, LATE, Step(None, "announced", "replicas of the operator: operator-b"), id="a replica"
        ),
        pytest.param(SWITCHED, ALL, dt.timedelta(), Step(IDLE._replace(signing=SECOND), "done"), id="all have renewed"),
        pytest.param(
            SWITCHED, PROXY, LIFETIME, Step(None, "switched", "1 of 3 proxies: shop/a"), id="one has not renewed"
        ),
        pytest.param(
            SWITCHED, PROXY, LIFETIME + MARGIN, Step(IDLE._replace(signing=SECOND), "done"), id="none can be left"
        ),
        pytest.param(IDLE, ALL, dt.timedelta(), Step(None, "done"), id="nothing is left to do"),
    ],
)
def test_each_stage_waits_for_its_evidence(trust: Trust, evidence: Evidence, age: dt.timedelta, expected: Step) -> None:
    assert step(trust, Progress(), evidence, NOW - age, NOW) == expected


def test_many_are_counted_and_some_named() -> None:
    many = Evidence(required=9, proxies=tuple(f"shop/{number}" for number in range(7)))
    assert many.missing() == "7 of 9 proxies: shop/0, shop/1, shop/2, shop/3, shop/4 and 2 more"


class Bench:
    def __init__(self, server: FakeApiServer) -> None:
        self.server = server
        self.api = ApiServer(server.url)
        self.now = NOW
        self.leading = True
        self.known = ALL
        self.asked: list[Trust] = []
        self.rotation = self.leader()
        self.put(IDLE)

    def leader(self) -> Rotation:
        return Rotation(
            self.api, "system", "cluster.local", lambda: self.leading, self._evidence,
            now=lambda: self.now, settle_seconds=30,
        )  # fmt: skip

    def _evidence(self, trust: Trust) -> Evidence:
        self.asked.append(trust)
        return self.known

    def put(self, trust: Trust, **annotations: str) -> None:
        data = {name: base64.b64encode(text).decode() for name, text in roots.dump(trust).items()}
        metadata = {"name": "sidewinder-ca", "namespace": "system", "annotations": annotations, "labels": {"a": "b"}}
        self.server.put(SECRETS, {"metadata": metadata, "data": {**data, "note": "aGVsbG8="}, "type": "Opaque"})

    def request(self, value: str = "one") -> None:
        self.secret()["metadata"]["annotations"][REQUEST] = value

    def secret(self) -> dict[str, Any]:
        found = self.server.get(SECRETS, "sidewinder-ca", "system")
        assert found is not None
        return found

    def trust(self) -> Trust:
        return roots.load({name: base64.b64decode(text) for name, text in self.secret()["data"].items()}, NOW)

    def progress(self) -> Progress:
        return read(self.secret()["metadata"]["annotations"])

    async def look(self, seconds: float = 5.0) -> Progress:
        self.now += dt.timedelta(seconds=seconds)
        await self.rotation.once()
        return self.progress()


def bench(work: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with FakeApiServer().serving() as server:
            given = Bench(server)
            await work(given)
            await given.api.close()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_nothing_happens_unasked() -> None:
    async def work(on: Bench) -> None:
        assert await on.look() == Progress()
        assert on.trust().bundle == IDLE.bundle
        assert on.asked == []

    bench(work)


def test_a_rotation_goes_from_stage_to_stage_and_ends() -> None:
    async def work(on: Bench) -> None:
        on.request()
        assert (await on.look()).stage == "announced"
        following = on.trust().next
        assert following is not None
        assert on.trust().signing.certificate == FIRST.certificate
        on.known = PROXY
        assert (await on.look()).waits == "1 of 3 proxies: shop/a"
        on.known = ALL
        assert (await on.look()).waits == "all have it: it settles"
        assert (await on.look(20)).stage == "announced"
        on.known = PROXY  # a pod has come that has not heard of it
        assert (await on.look(20)).waits == "1 of 3 proxies: shop/a"
        on.known = ALL
        await on.look()
        assert (await on.look(31)).stage == "switched"
        assert on.trust().signing.certificate == following.certificate
        assert on.trust().old == (FIRST.certificate,)
        assert on.asked[-1].next is not None
        on.known = PROXY
        assert (await on.look(LIFETIME.total_seconds())).stage == "switched"
        assert on.asked[-1].old == (FIRST.certificate,)
        on.known = ALL
        await on.look()
        done = await on.look(31)
        assert (done.stage, done.request) == ("done", "one")
        assert on.trust().bundle == (following.certificate,)
        assert (await on.look(1000)).stage == "done"
        assert on.trust().bundle == (following.certificate,)
        assert on.secret()["data"]["note"] == "aGVsbG8="
        assert on.secret()["metadata"]["labels"] == {"a": "b"}

    bench(work)


def test_another_leader_goes_on_where_one_stopped() -> None:
    async def work(on: Bench) -> None:
        on.request()
        for _ in range(12):
            on.rotation = on.leader()
            await on.look()
            await on.look(31)
        assert on.progress().stage == "done"
        assert len(on.trust().bundle) == 1
        assert on.trust().signing.certificate != FIRST.certificate

    bench(work)


def test_one_that_does_not_lead_any_more_writes_nothing() -> None:
    async def work(on: Bench) -> None:
        on.request()
        on.leading = False
        assert await on.look() == Progress()
        on.leading = True
        await on.look()
        on.leading, on.known = False, PROXY
        assert (await on.look()).waits == ""
        on.known = ALL
        await on.look()
        assert (await on.look(31)).stage == "announced"

    bench(work)


def test_somebodys_own_next_root_is_taken() -> None:
    async def work(on: Bench) -> None:
        on.put(ANNOUNCED)
        assert await on.look() == Progress()
        on.request()
        assert (await on.look()).stage == "announced"
        await on.look()
        await on.look(31)
        assert on.trust().signing.certificate == SECOND.certificate

    bench(work)


def test_one_that_was_left_half_done_is_ended_first() -> None:
    async def work(on: Bench) -> None:
        on.put(SWITCHED)
        on.request()
        assert (await on.look()).stage == "switched"
        await on.look()
        assert (await on.look(31)).stage == "done"
        assert on.trust().bundle == (SECOND.certificate,)

    bench(work)


def test_who_has_written_meanwhile_is_not_overwritten() -> None:
    async def work(on: Bench) -> None:
        on.request()
        asked = on.api.get

        async def late(path: str, query: Any = None) -> Any:
            found = await asked(path, query)
            on.put(IDLE, **{REQUEST: "one", "theirs": "yes"})
            return found

        on.api.get = late  # type: ignore[method-assign]
        with pytest.raises(Refused, match="Conflict"):
            await on.look()
        on.api.get = asked  # type: ignore[method-assign]
        assert (await on.look()).stage == "announced"
        assert on.secret()["metadata"]["annotations"]["theirs"] == "yes"

    bench(work)


def test_a_secret_that_cannot_be_used_stops_it() -> None:
    async def work(on: Bench) -> None:
        on.request()
        on.secret()["data"]["ca.crt"] = base64.b64encode(b"nonsense").decode()
        with pytest.raises(Unfit, match=r"ca\.crt"):
            await on.look()

    bench(work)


def test_no_secret_is_nothing_to_do_and_odd_progress_is_none() -> None:
    async def work(on: Bench) -> None:
        on.server.delete(SECRETS, "sidewinder-ca", "system")
        await on.rotation.once()
        assert read({PROGRESS: "nonsense"}) == Progress()

    bench(work)
