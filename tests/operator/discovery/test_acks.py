"""How many of how many have what, and waiting for it."""

from __future__ import annotations

import asyncio

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.acks import Acks, Having, Standing
from sidewinder_operator.discovery.session import Rejection
from sidewinder_operator.discovery.store import Store
from sidewinder_operator.problems import Reference
from sidewinder_sidecar import snapshot

REVIEWS = Reference("ApiRoute", "bookinfo", "reviews")
RATINGS = Reference("ApiRoute", "bookinfo", "ratings")


def encoded(name: str, value: int, *sources: Reference) -> Encoded:
    raw = b'{"value":%d}' % value
    return Encoded(name, snapshot.version(raw), raw, None, sources)


def cluster(value: int = 1) -> tuple[Store, Acks]:
    store = Store()
    acks = Acks(store)
    reviews = encoded("route/bookinfo/reviews", value, REVIEWS)
    ratings = encoded("route/bookinfo/ratings", value, RATINGS)
    everything = {reviews.name: reviews, ratings.name: ratings}
    store.publish({"a": everything, "b": everything, "c": {ratings.name: ratings}})
    return store, acks


def wanted(store: Store, workload: str) -> dict[str, str]:
    return dict(store.pictures[workload].versions)


def test_required_are_those_who_should_have_it_even_without_a_stream() -> None:
    store, acks = cluster()
    assert acks.standing(REVIEWS) == Standing(required=2, acknowledged=0, missing=("a", "b"))
    acks.tell("a", Having(versions=wanted(store, "a")))
    assert acks.standing(REVIEWS) == Standing(required=2, acknowledged=1, missing=("b",))
    assert acks.standing(Reference("ApiRoute", "bookinfo", "other")) == Standing()


def test_a_rejection_is_counted_with_its_reason() -> None:
    store, acks = cluster()
    name = "route/bookinfo/reviews"
    why = Rejection(versions={name: store.pictures["a"].versions[name]}, resource=name, field="rules", why="no")
    versions = {key: version for key, version in wanted(store, "a").items() if key != name}
    acks.tell("a", Having(versions=versions, rejections={name: why}))
    standing = acks.standing(REVIEWS)
    assert (standing.required, standing.acknowledged, standing.rejected) == (2, 0, 1)
    assert standing.rejections["a"].why == "no"
    assert acks.standing(RATINGS).acknowledged == 1, "the other object got through"


def test_over_replicas_the_highest_epoch_wins() -> None:
    store, acks = cluster()
    acks.tell("a", Having(epoch=2, versions=wanted(store, "a")))
    acks.hear("other", {"a": Having(epoch=1)})
    assert acks.current("a")
    acks.hear("other", {"a": Having(epoch=3)})
    assert not acks.current("a")
    acks.hear("third", {"a": Having(epoch=4, versions=wanted(store, "a"))})
    assert acks.current("a")
    acks.hear("third", {"a": None})
    assert not acks.current("a")
    acks.forget("other")
    assert acks.current("a"), "what this replica was told is known all the time"
    acks.gone("a", 1)
    assert acks.current("a"), "the end of an older stream says nothing"
    acks.gone("a", 2)
    assert not acks.current("a")
    assert acks.having == {}


def test_of_one_replica_the_last_word_counts() -> None:
    store, acks = cluster()
    acks.tell("a", Having(epoch=9))
    acks.tell("a", Having(epoch=1, versions=wanted(store, "a")))  # its file with the count was lost
    assert acks.current("a")


def test_who_listens_hears_of_this_replicas_workloads_alone_and_of_changes_alone() -> None:
    store, acks = cluster()
    heard: list[str] = []
    stop = acks.listen(heard.append)
    acks.tell("a", Having(versions=wanted(store, "a")))
    acks.tell("a", Having(versions=wanted(store, "a")))
    acks.hear("other", {"b": Having(versions=wanted(store, "b"))})
    assert heard == ["a"]
    acks.gone("a", 0)
    assert heard == ["a", "a"]
    stop()
    acks.tell("c", Having())
    assert heard == ["a", "a"]


def test_waiting_ends_when_the_last_has_it() -> None:
    async def wait() -> None:
        store, acks = cluster()
        waiting = asyncio.create_task(acks.all_current(5.0))
        for workload in ("a", "b", "c"):
            await asyncio.sleep(0)
            assert not waiting.done()
            acks.tell(workload, Having(versions=wanted(store, workload)))
        assert await waiting
        assert acks.behind() == []
        assert await acks.all_current(0.0)

    asyncio.run(wait())


def test_waiting_ends_when_who_is_behind_is_gone_for_good() -> None:
    async def wait() -> None:
        store, acks = cluster()
        waiting = asyncio.create_task(acks.all_current(5.0))
        await asyncio.sleep(0)
        store.publish({})
        assert await waiting

    asyncio.run(wait())


def test_waiting_is_bounded() -> None:
    async def wait() -> None:
        _, acks = cluster()
        assert not await acks.all_current(0.01)

    asyncio.run(wait())


def test_a_rejection_is_an_answer() -> None:
    async def wait() -> None:
        store, acks = cluster()
        why = Rejection(versions={}, resource="", field="", why="no")
        acks.tell("a", Having(versions=wanted(store, "a")))
        acks.tell("b", Having(rejections={"x": why}))
        assert not await acks.all_answered(0.01)
        acks.tell("c", Having(versions=wanted(store, "c")))
        assert await acks.all_answered(0.01)
        assert not await acks.all_current(0.01)

    asyncio.run(wait())


def test_many_objects_at_once_stand_as_each_alone() -> None:
    store, acks = cluster()
    acks.tell("a", Having(versions=wanted(store, "a")))
    other = Reference("ApiRoute", "bookinfo", "other")
    every = (REVIEWS, RATINGS, other)
    assert acks.standings(every) == {source: acks.standing(source) for source in every}


def test_who_watches_hears_of_answers_and_of_publishing() -> None:
    store, acks = cluster()
    heard: list[int] = []
    acks.watch(lambda: heard.append(len(acks.having)))
    acks.tell("a", Having(versions=wanted(store, "a")))
    acks.gone("a", 0)
    assert heard == [1, 0]
    store.publish({})
    assert heard == [1, 0, 0]


def test_a_claim_counts_only_while_nothing_better_is_known() -> None:
    store, acks = cluster()
    acks.claim("a", Having(epoch=2, versions={"route/a": "2"}))
    acks.claim("a", Having(epoch=1, versions={"route/a": "1"}))
    acks.claim("stranger", Having(epoch=1))
    assert {pod: having.epoch for pod, having in acks.absent.items()} == {"a": 2}
    assert acks.having == {}, "nothing was acknowledged"
    acks.tell("a", Having(epoch=2, versions=wanted(store, "a")))
    acks.claim("a", Having(epoch=3))
    assert acks.absent == {}
    acks.gone("a", 2)
    assert acks.absent["a"].versions == wanted(store, "a")


def test_what_a_workload_wanted_elsewhere_is_forgotten_with_it() -> None:
    store, acks = cluster()
    wanting = Having(epoch=1, wants=("reviews.shop",))
    acks.hear("other", {"a": wanting, "b": wanting})
    assert store.wants("a") == ("reviews.shop",)
    acks.hear("other", {"a": None})
    assert store.wants("a") == ("reviews.shop",), "it may come back"
    store.publish({})
    assert store.wants("a") == ()
    acks.hear("other", {"b": None})
    assert store.wants("b") == ()


def test_who_cares_for_health_hears_when_it_changes_and_only_then() -> None:
    store, acks = cluster()
    woken: list[int] = []
    acks.care(lambda: woken.append(1))
    acks.tell("a", Having(epoch=1, versions=wanted(store, "a")))
    assert (woken, acks.health()) == ([], {})
    acks.tell("a", Having(epoch=1, versions=wanted(store, "a"), health={"x": False}))
    assert (len(woken), acks.health()) == (1, {"a": {"x": False}})
    acks.tell("a", Having(epoch=1, health={"x": False}))
    acks.hear("other", {"b": Having(epoch=1)})
    assert len(woken) == 1
    acks.hear("other", {"b": Having(epoch=1, health={"x": True})})
    assert (len(woken), acks.health()["b"]) == (2, {"x": True})


def test_an_unwell_endpoint_is_not_called_because_a_replica_restarts() -> None:
    async def main() -> None:
        store, acks = cluster()
        woken: list[int] = []
        acks.tell("a", Having(epoch=1, health={"x": False}))
        acks.hear("other", {"b": Having(epoch=1, health={"x": False})})
        acks.care(lambda: woken.append(1))
        acks.gone("a", 1)
        acks.forget("other")
        assert (woken, acks.health()) == ([], {"a": {"x": False}, "b": {"x": False}}), "both are on their way back"
        acks.hear("third", {"a": Having(epoch=2, health={"x": False})})
        acks.tell("b", Having(epoch=2, health={"x": True}))
        assert (len(woken), acks.health()) == (1, {"a": {"x": False}, "b": {"x": True}})
        acks.gone("b", 2)
        acks.tell("b", Having(epoch=3))
        assert (len(woken), acks.health()) == (2, {"a": {"x": False}}), "a proxy that was restarted knows nothing"
        acks.say("a", {"x": True})
        acks.say("b", {"x": True})
        assert acks.health() == {"a": {"x": False}}, "what is acknowledged holds"
        acks.gone("b", 3)
        acks.say("b", {"x": True})
        assert (len(woken), acks.health()["b"]) == (3, {"x": True}), "who has just come is heard before that"
        acks.hear("third", {"a": None})
        store.publish({})
        assert acks.health() == {}, "nobody is left"

    asyncio.run(main())
