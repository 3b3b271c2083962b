"""The whole process in this loop, kopf in its thread, against the fake API server: what it says and never does."""

from __future__ import annotations

import asyncio

import pytest

from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.main.doors import Unable
from sidewinder_operator.main.process import Process
from sidewinder_operator.settings import Settings
from tests.support import kubernetes_objects as objects
from tests.support.clock import eventually
from tests.support.operators import Bench, bench, free_port


def test_pods_get_pictures_and_routes_a_status_that_is_true() -> None:
    async def work(on: Bench) -> None:
        process = on.start()
        await on.served(process)
        picture = process.store.pictures[on.uid]
        assert "route/shop/reviews" in picture.versions
        assert "endpoints/shop/reviews:80" in picture.versions
        await eventually(lambda: on.condition("reviews", "Programmed").get("reason") == "Pending", 10)
        assert "missing: shop/reviews-1" in on.condition("reviews", "Programmed")["message"]
        process.acks.tell(on.uid, Having(epoch=1, versions=picture.versions))
        await eventually(lambda: on.condition("reviews", "Programmed").get("status") == "True", 10)
        on.server.put(objects.PODS, objects.pod("reviews-2", "reviews", "10.0.0.2"))
        await eventually(lambda: len(process.store.pictures) == 2)
        await eventually(lambda: on.condition("reviews", "Programmed").get("status") == "False", 10)
        on.server.delete(objects.PODS, "reviews-2", "shop")
        await eventually(lambda: on.condition("reviews", "Programmed").get("status") == "True", 10)

    bench(work)


def test_nothing_is_published_and_nobody_leads_before_everything_is_known() -> None:
    async def work(on: Bench) -> None:
        on.server.unwhole = True
        process = on.start()
        await eventually(lambda: sum(len(each.records) for each in process.watch.reflectors.values()) >= 4)
        await asyncio.sleep(0.3)
        assert process.store.pictures == {}
        assert process.lacking()
        assert on.server.all(objects.LEASES) == []
        on.server.unwhole = False
        on.server.end_streams()
        await on.served(process)
        assert process.store.pictures

    bench(work)


def test_it_starts_without_an_api_server_and_serves_on_without_one() -> None:
    async def work(on: Bench) -> None:
        on.server.failing = 503
        process = on.start()
        await asyncio.sleep(0.5)
        assert process.lacking()
        on.server.failing = 0
        await on.served(process)
        on.server.failing = 503
        on.server.cut_streams()
        await eventually(lambda: all(each.failures for each in process.watch.reflectors.values()))
        assert process.store.pictures
        assert process.lacking() == []

    bench(work)


def test_a_broken_object_stops_nobody_and_its_last_good_version_outlives_the_process() -> None:
    async def work(on: Bench) -> None:
        first = on.start()
        await on.served(first)
        good = first.store.pictures[on.uid].versions["route/shop/reviews"]
        await eventually(lambda: on.server.all(objects.REVISIONS), 10)
        broken = objects.route("reviews", "reviews", "reviews", generation=2)
        broken["spec"]["rules"] = "odd"
        on.server.put(objects.ROUTES, broken)
        await eventually(lambda: on.condition("reviews", "Accepted").get("status") == "False", 10)
        assert first.store.pictures[on.uid].versions["route/shop/reviews"] == good
        assert on.condition("reviews", "Programmed")["message"] == "the last good version serves on"
        assert on.condition("reviews", "Programmed")["observedGeneration"] == 2
        on.server.put(objects.SERVICES, objects.service("ratings"))
        await eventually(lambda: "service/shop/ratings:80" in first.store.pictures[on.uid].versions)
        await on.stop(first)
        second = on.start()
        await on.served(second)
        assert second.store.pictures[on.uid].versions["route/shop/reviews"] == good

    bench(work)


def test_of_two_replicas_both_serve_and_one_leads_and_the_other_follows_it() -> None:
    async def work(on: Bench) -> None:
        first = on.start()
        await eventually(lambda: first.lease.leader(), 15)
        second = on.start()
        await on.served(second)
        assert first.store.pictures[on.uid].state == second.store.pictures[on.uid].state
        assert not second.lease.leader()
        await on.stop(first)
        await eventually(lambda: second.lease.leader(), 10)
        await eventually(lambda: second.handlers.starts == 1)

    bench(work)


def test_a_port_that_is_taken_is_told() -> None:
    async def work(on: Bench) -> None:
        port = free_port()
        on.start(health_port=port)
        await asyncio.sleep(0.2)
        second = Settings(
            health_address="127.0.0.1", health_port=port, discovery_port=free_port(), api_server="http://x"
        )
        with pytest.raises(Unable, match=f"SIDEWINDER_HEALTH_PORT={port}"):
            await Process(second).run()

    bench(work)
