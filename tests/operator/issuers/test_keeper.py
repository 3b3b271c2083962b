"""Keys are there when they are needed, stay when their issuer is away, and no issuer is asked by whoever likes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sidewinder_operator.issuers import freshness
from sidewinder_operator.issuers.fetch import Answer, Before, Unavailable
from sidewinder_operator.issuers.keeper import AT_ONCE, MOST, REST_SECONDS, Keeper, named
from sidewinder_operator.issuers.shelf import Kept
from sidewinder_operator.resources.keys import Fetched, Wanted
from tests.support.clock import eventually
from tests.support.tokens import jwk, jwks

OLD, NEW = jwks(jwk()), jwks(jwk("ES256"))


def wanted(name: str = "idp", seconds: float = 600.0) -> Wanted:
    return Wanted(id=name, address=f"https://{name}.example/jwks.json", seconds=seconds)


class Fetches:
    """Stands for the network: an answer, or a reason why not; each can be held up."""

    def __init__(self) -> None:
        self.answers: list[str] = [OLD]
        self.asked: list[tuple[str, str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.running = self.most = 0
        self.headers: dict[str, str] = {}

    async def fetch(self, wanted: Wanted, before: Before) -> Answer:
        self.asked.append((wanted.id, before.etag))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
        finally:
            self.running -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.startswith("!"):
            raise Unavailable(answer[1:])
        return Answer(jwks=answer, address=wanted.address, etag='"e"', headers=self.headers)

    async def close(self) -> None:
        pass


class Site:
    """A keeper, with time that is moved by hand."""

    def __init__(self, **known: Kept) -> None:
        self.now = 1000.0
        self.changes = 0
        self.fetches = Fetches()
        self.keeper = Keeper(self.fetches, self._changed, known=known, clock=lambda: self.now, chance=lambda: 1.0)

    def _changed(self) -> None:
        self.changes += 1

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        self.keeper._wake.set()
        await self.rest()

    async def rest(self) -> None:
        """Until nothing more happens by itself."""
        for _ in range(20):
            await asyncio.sleep(0)


def bench(work: Callable[[Site], Awaitable[None]], **known: Kept) -> None:
    async def main() -> None:
        site = Site(**known)
        task = asyncio.create_task(site.keeper.run())
        try:
            await work(site)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_keys_are_fetched_when_they_are_wanted_and_again_when_they_are_old() -> None:
    async def work(site: Site) -> None:
        site.keeper.want({"idp": wanted()})
        await site.rest()
        assert site.keeper.fetched() == {"idp": Fetched(jwks=OLD)}
        assert site.changes == 1
        await site.advance(599)
        assert len(site.fetches.asked) == 1
        site.fetches.answers = [NEW]
        await site.advance(2)
        assert site.fetches.asked == [("idp", ""), ("idp", '"e"')]
        assert site.keeper.fetched() == {"idp": Fetched(jwks=NEW)}
        assert site.keeper.fetches == {"new": 2, "same": 0, "failed": 0}

    bench(work)


def test_what_is_the_same_is_no_news() -> None:
    async def work(site: Site) -> None:
        site.fetches.answers = [OLD, OLD, ""]  # the last: 304
        site.keeper.want({"idp": wanted()})
        for _ in range(3):
            await site.advance(601)
        assert len(site.fetches.asked) >= 3
        assert site.changes == 1
        assert site.keeper.fetched() == {"idp": Fetched(jwks=OLD)}

    bench(work)


def test_the_issuers_headers_count() -> None:
    async def work(site: Site) -> None:
        site.fetches.headers = {"cache-control": "max-age=40"}
        site.keeper.want({"idp": wanted()})
        await site.rest()
        await site.advance(41)
        assert len(site.fetches.asked) == 2

    bench(work)


def test_an_issuer_that_is_away_keeps_its_keys_and_is_told_once() -> None:
    async def work(site: Site) -> None:
        site.keeper.want({"idp": wanted()})
        await site.rest()
        site.fetches.answers = ["!it is away"]
        await site.advance(601)
        assert site.keeper.fetched() == {"idp": Fetched(jwks=OLD, problem="it is away")}
        changes = site.changes
        for _ in range(10):
            await site.advance(freshness.LONGEST_PAUSE)
        assert site.changes == changes
        assert site.keeper.fetches["failed"] > 5
        site.fetches.answers = [NEW]
        await site.advance(freshness.LONGEST_PAUSE)
        assert site.keeper.fetched() == {"idp": Fetched(jwks=NEW)}

    bench(work)


def test_an_issuer_that_never_was_there_has_no_keys_but_a_reason() -> None:
    async def work(site: Site) -> None:
        site.fetches.answers = ["!it is away"]
        site.keeper.want({"idp": wanted()})
        await site.rest()
        assert site.keeper.fetched() == {"idp": Fetched(problem="it is away")}
        asked = len(site.fetches.asked)
        await site.advance(freshness.FIRST_PAUSE)
        assert len(site.fetches.asked) == asked + 1

    bench(work)


def test_a_thousand_doubts_are_one_fetch_in_thirty_seconds() -> None:
    async def work(site: Site) -> None:
        site.keeper.want({"idp": wanted(seconds=3600)})
        await site.rest()
        for _ in range(60):
            for _ in range(20):
                site.keeper.doubt(["idp", "unheard-of"])
            await site.advance(1)
        assert len(site.fetches.asked) == 1 + 60 / REST_SECONDS
        assert site.keeper.doubts == 1200

    bench(work)


def test_a_doubt_after_a_rest_is_answered_at_once() -> None:
    async def work(site: Site) -> None:
        site.keeper.want({"idp": wanted(seconds=3600)})
        await site.rest()
        await site.advance(REST_SECONDS)
        site.fetches.answers = [NEW]
        site.keeper.doubt(["idp"])
        await site.rest()
        assert site.keeper.fetched() == {"idp": Fetched(jwks=NEW)}

    bench(work)


def test_what_was_held_before_is_there_at_once_and_stays_if_nobody_answers() -> None:
    async def work(site: Site) -> None:
        assert site.keeper.fetched() == {"idp": Fetched(jwks=OLD), "gone": Fetched(jwks=OLD)}
        assert site.keeper.kept() == {}
        site.fetches.answers = ["!it is away"]
        site.keeper.want({"idp": wanted()})
        assert site.keeper.kept() == {"idp": Kept(jwks=OLD, etag='"x"')}
        await site.rest()
        assert site.fetches.asked[0] == ("idp", '"x"')
        assert site.keeper.kept()["idp"].jwks == OLD

    bench(work, idp=Kept(jwks=OLD, etag='"x"'), gone=Kept(jwks=OLD))


def test_what_nobody_needs_is_forgotten_even_when_its_answer_comes_late() -> None:
    async def work(site: Site) -> None:
        site.fetches.open.clear()
        site.keeper.want({"idp": wanted()})
        await site.rest()
        site.keeper.want({})
        site.fetches.open.set()
        await site.rest()
        assert site.keeper.kept() == {}
        assert site.changes == 0

    bench(work)


def test_few_are_asked_at_a_time_and_all_are_asked() -> None:
    async def work(site: Site) -> None:
        site.fetches.open.clear()
        site.keeper.want({str(number): wanted(str(number)) for number in range(100)})
        await site.rest()
        assert site.fetches.running == AT_ONCE
        site.fetches.open.set()
        await eventually(lambda: len(site.keeper.kept()) == 100)
        assert site.fetches.most == AT_ONCE

    bench(work)


def test_who_writes_policies_makes_no_crawler_of_us() -> None:
    async def work(site: Site) -> None:
        site.fetches.open.clear()
        site.keeper.want({str(number): wanted(str(number)) for number in range(MOST + 50)})
        assert len(site.keeper._sets) == MOST

    bench(work)


def test_key_sets_among_resources() -> None:
    assert named(("keys/shop/idp/jwks.json", "policy/keys/a", "keys/idp-1")) == ["shop/idp/jwks.json", "idp-1"]
