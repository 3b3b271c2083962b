"""The whole process in this loop, kopf in its thread, against the fake API server: what it says and never does."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.discovery.store import Picture
from sidewinder_operator.main.doors import Unable
from sidewinder_operator.main.process import Process
from sidewinder_operator.reconcile import Round
from sidewinder_operator.settings import Settings
from sidewinder_sidecar.snapshot.checks import key
from tests.support import kubernetes_objects as objects
from tests.support.clock import eventually
from tests.support.operators import Bench, bench, free_port

EMPTY = Picture({}, {}, "")


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


POLICIES, SECRETS = f"{objects.OURS}/apipolicies", "/api/v1/secrets"


def _keys(hash_: str) -> dict[str, Any]:
    """A Secret with one API key."""
    data = {"abcdefgh23": base64.b64encode(json.dumps({"hash": f"sha256:{hash_ * 32}"}).encode()).decode()}
    return {"metadata": {"name": "keys", "namespace": "shop"}, "data": data}


def _guarded() -> dict[str, Any]:
    provider = {"name": "keys", "type": "APIKey", "apiKey": {"secretRef": {"name": "keys"}}}
    spec = {
        "targetRefs": [{"kind": "Service", "name": "reviews"}],
        "authentication": {"providers": [provider]},
    }
    return {"metadata": {"name": "keys", "namespace": "shop", "generation": 1}, "spec": spec}


def test_a_revoked_key_is_gone_within_a_second_and_nobody_is_ever_shut_out_by_a_restart() -> None:
    async def work(on: Bench) -> None:
        on.server.put(SECRETS, _keys("ab"))
        on.server.put(POLICIES, _guarded())
        process = on.start()
        await on.served(process)
        name = "credentials/shop/keys/api-keys"
        before = process.store.pictures[on.uid].versions[name]
        assert process.round is not None
        assert [policy.closed for policy in process.round.compiled.mesh.policies.values()] == [()]
        assert process.reconciler.rounds == 1, "the first turn knew the Secret already"
        on.server.put(SECRETS, _keys("cd"))
        await eventually(lambda: process.store.pictures[on.uid].versions[name] != before, 1)
        on.server.delete(SECRETS, "keys", "shop")
        await eventually(lambda: _closed(process) == [("shop/keys/authentication",)])
        on.server.put(SECRETS, _keys("cd"))
        await eventually(lambda: _closed(process) == [()])

    bench(work)


def test_what_probers_find_out_of_an_endpoint_reaches_everybody() -> None:
    async def work(on: Bench) -> None:
        process = on.start()
        await on.served(process)
        body = {
            "apiVersion": "sidewinder.dev/v1alpha1",
            "kind": "ApiPolicy",
            "metadata": {"name": "well", "namespace": "shop"},
            "spec": {
                "targetRefs": [{"kind": "Service", "name": "reviews"}],
                "healthCheck": {"type": "HTTP", "http": {"path": "/healthz"}},
            },
        }
        prober = on.server.put(objects.PODS, objects.pod("caller-1", "caller", "10.0.0.2"))["metadata"]["uid"]
        on.server.put(POLICIES, body)
        await eventually(lambda: "checks/self" in process.store.pictures.get(prober, EMPTY).versions)
        assert "checks/self" not in process.store.pictures[on.uid].versions, "nobody checks itself"
        before = process.store.pictures[on.uid].versions["endpoints/shop/reviews:80"]
        (check,) = process.round.compiled.mesh.checks[prober]  # type: ignore[union-attr]
        name = key(check.port, on.uid, check.endpoints[0].address, check.endpoints[0].port)
        process.acks.tell(prober, Having(epoch=1, health={name: False}))
        await eventually(lambda: process.store.pictures[on.uid].versions["endpoints/shop/reviews:80"] != before)
        assert 'sidewinder_operator_unhealthy_endpoints{service="shop/reviews:80"} 1' in process.metrics.text()
        process.acks.gone(prober, 1)
        assert process.acks.health() == {prober: {name: False}}, "it will be back"
        process.acks.tell(prober, Having(epoch=2))
        await eventually(lambda: process.store.pictures[on.uid].versions["endpoints/shop/reviews:80"] == before)

    bench(work)


def test_a_policy_whose_secret_is_on_its_way_does_not_close_what_it_guards() -> None:
    async def work(on: Bench) -> None:
        on.server.put(SECRETS, _keys("ab"))
        process = on.start()
        await on.served(process)
        seen: list[list[tuple[str, ...]]] = []
        report = process.reconciler._report

        def watch(done: Round) -> None:
            seen.append([policy.closed for policy in done.compiled.mesh.policies.values()])
            report(done)

        process.reconciler._report = watch  # every turn, not only those that a poll would catch
        on.server.put(POLICIES, _guarded())
        await eventually(lambda: [()] in seen)
        assert all(closed in ([], [()]) for closed in seen)

    bench(work)


def _closed(process: Process) -> list[tuple[str, ...]]:
    assert process.round is not None
    return [policy.closed for policy in process.round.compiled.mesh.policies.values()]


def test_a_policy_of_the_server_is_programmed_when_those_have_it_that_enforce_it() -> None:
    async def work(on: Bench) -> None:
        on.server.put(SECRETS, _keys("ab"))
        on.server.put(POLICIES, _guarded())
        on.server.put(objects.PODS, objects.pod("other-1", "other", "10.0.0.9"))
        process = on.start()
        await on.served(process)

        def programmed() -> dict[str, Any]:
            status = (on.server.get(POLICIES, "keys", "shop") or {}).get("status", {})
            return next((each for each in status.get("conditions", ()) if each["type"] == "Programmed"), {})

        await eventually(lambda: programmed().get("reason") == "Pending", 10)
        assert "missing: shop/reviews-1" in programmed()["message"]
        assert "other-1" not in programmed()["message"], "it enforces nothing of this"
        process.acks.tell(on.uid, Having(epoch=1, versions=process.store.pictures[on.uid].versions))
        await eventually(lambda: programmed().get("status") == "True", 10)

    bench(work)
