"""Whole replicas side by side, over TLS with the CA of their cluster: what one was told, the other says in a status."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.discovery.departures import Departures
from sidewinder_operator.main.neighbours import SERVICE
from sidewinder_operator.main.process import Process
from sidewinder_operator.problems import Reference
from tests.support import kubernetes_objects as objects
from tests.support.clock import eventually
from tests.support.operators import Bench, bench
from tests.support.relay import Relay

ROUTE = Reference("ApiRoute", "shop", "reviews")


def announce(on: Bench, name: str, port: int) -> None:
    """The replica stands in the operator's own EndpointSlices, at this port."""
    target = {"kind": "Pod", "namespace": "system", "name": name, "uid": f"uid-{name}"}
    labels = {"kubernetes.io/service-name": SERVICE}
    body = {
        "addressType": "IPv4",
        "metadata": {"name": f"peers-{name}", "namespace": "system", "labels": labels},
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"serving": True}, "targetRef": target}],
        "ports": [{"name": "discovery", "port": port, "protocol": "TCP"}],
    }
    on.server.put(objects.SLICES, body)


async def start(on: Bench, name: str) -> Process:
    process = on.start(pod_name=name)
    await eventually(lambda: process.doors.port.address is not None and process.round is not None, 20)
    return process


def port(process: Process) -> int:
    assert process.doors.port.address is not None
    return process.doors.port.address[1]


def told(on: Bench) -> tuple[str, str]:
    condition = on.condition("reviews", "Programmed")
    return condition.get("status", ""), condition.get("reason", "")


def have(process: Process, uid: str, epoch: int) -> None:
    process.acks.tell(uid, Having(epoch=epoch, versions=process.store.pictures[uid].versions))


@asynccontextmanager
async def two(on: Bench, relay: Relay | None = None) -> AsyncIterator[tuple[Process, Process]]:
    """The first leads; it reaches the second through the relay, if there is one."""
    first = await start(on, "one")
    await eventually(first.lease.leader, 15)
    second = await start(on, "two")
    announce(on, "one", port(first))
    announce(on, "two", port(second) if relay is None else relay.port)
    yield first, second


def test_what_the_other_replica_was_told_makes_it_programmed() -> None:
    async def work(on: Bench) -> None:
        async with two(on) as (first, second):
            await eventually(lambda: first.neighbours.peers.synced() == {"two": True}, 10)
            await eventually(lambda: second.neighbours.peers.synced() == {"one": True}, 10)
            assert first.neighbours.whole()
            await eventually(lambda: told(on) == ("False", "Pending"), 10)
            have(second, on.uid, 1)
            await eventually(lambda: told(on) == ("True", "Programmed"), 10)
            text = first.metrics.text()
            assert 'sidewinder_operator_replica_heard{replica="two"} 1' in text
            assert "sidewinder_operator_replicas_listening 1" in text
            await on.stop(first)  # the new leader knows it all at once
            assert second.acks.standing(ROUTE).acknowledged == 1
            on.server.delete(objects.SLICES, "peers-one", "system")
            await eventually(second.lease.leader, 15)
            on.server.put(objects.PODS, objects.pod("reviews-2", "reviews", "10.0.0.2"))
            await eventually(lambda: told(on) == ("False", "Pending"), 10)
            assert "1 of 2 proxies" in on.condition("reviews", "Programmed")["message"]

    bench(work)


def test_a_replica_that_is_cut_off_makes_it_unknown_and_never_true() -> None:
    async def work(on: Bench) -> None:
        relay = Relay("127.0.0.1", 0)
        async with relay.serving(), two(on, relay) as (first, second):
            relay.target("127.0.0.1", port(second))
            have(second, on.uid, 1)
            await eventually(lambda: told(on) == ("True", "Programmed"), 20)
            seen: list[tuple[str, str]] = []
            first.acks.watch(lambda: seen.append(told(on)))
            relay.cut()
            have(second, on.uid, 2)
            await eventually(lambda: told(on) == ("Unknown", "ReplicaUnreachable"), 20)
            assert "two" in on.condition("reviews", "Programmed")["message"]
            assert not first.neighbours.whole()
            assert ("False", "Pending") not in seen, "for the moment before, nothing is said"
            relay.heal()
            await eventually(lambda: told(on) == ("True", "Programmed"), 20)

    bench(work)


def test_a_pod_retires_once_the_other_replica_has_sworn_it_off_and_said_who_knows_that() -> None:
    async def work(on: Bench) -> None:
        async with two(on) as (first, second):
            other = on.server.put(objects.PODS, objects.pod("caller", "caller", "10.0.0.2"))["metadata"]["uid"]
            await eventually(lambda: all(other in each.store.pictures for each in (first, second)), 10)
            departures = Departures(first.store, first.acks, whole=first.neighbours.whole)
            have(first, on.uid, 1)
            have(second, other, 1)
            leaving = objects.pod("reviews-1", "reviews", "10.0.0.1")
            leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            on.server.put(objects.PODS, leaving)
            await eventually(lambda: all(each.store.is_kept(on.uid) for each in (first, second)), 10)
            assert not first.store.leaving | second.store.leaving, "its Service has nobody else"
            ended = objects.slice_of("reviews", on.uid, "10.0.0.1")
            ended["endpoints"][0]["conditions"] = {"ready": False, "serving": False, "terminating": True}
            on.server.put(objects.SLICES, ended)
            await eventually(lambda: all(on.uid in each.store.leaving for each in (first, second)), 10)
            have(first, on.uid, 1)
            assert departures.leaving(on.uid)
            assert departures.retired({on.uid}) == set()
            await eventually(lambda: first.acks.is_sworn(on.uid), 10)
            assert departures.retired({on.uid}) == set(), "the caller still knows it"
            have(second, other, 1)
            await eventually(lambda: departures.retired({on.uid}) == {on.uid}, 10)
            turns = first.turned
            ended["endpoints"][0]["conditions"]["serving"] = True
            on.server.put(objects.SLICES, ended)
            await eventually(lambda: first.turned > turns, 10)
            assert on.uid in first.store.leaving, "an oath holds"

    bench(work)


def test_a_last_resort_that_ends_is_taken_out_by_every_replica() -> None:
    async def work(on: Bench) -> None:
        async with two(on) as both:
            leaving = objects.pod("reviews-1", "reviews", "10.0.0.1")
            leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            on.server.put(objects.PODS, leaving)
            await eventually(lambda: all(each.store.is_kept(on.uid) for each in both), 10)
            both[0].resign(on.uid)
            await eventually(lambda: all(on.uid in each.store.leaving for each in both), 10)

    bench(work)


def test_acknowledgements_are_told_to_no_stranger() -> None:
    async def work(on: Bench) -> None:
        process = await start(on, "one")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        async with aiohttp.ClientSession() as session:
            url = f"https://127.0.0.1:{port(process)}/acks"
            async with session.get(url, ssl=tls, params={"replica": "two"}) as response:
                assert response.status == 403
            with pytest.raises(aiohttp.ClientError):
                await session.get(url.replace("https", "http"))

    bench(work)


def test_a_moment_of_silence_holds_statuses_back() -> None:
    async def work(on: Bench) -> None:
        process = await start(on, "one")
        await eventually(process.lease.leader, 15)
        await eventually(lambda: told(on) == ("False", "Pending"), 10)
        announce(on, "two", 1)  # nobody listens there
        await eventually(process.neighbours.peers.unsure)
        have(process, on.uid, 1)
        await asyncio.sleep(1.5)
        assert told(on) == ("False", "Pending")
        await eventually(lambda: told(on) == ("Unknown", "ReplicaUnreachable"), 15)
        on.server.delete(objects.SLICES, "peers-two", "system")
        await eventually(lambda: told(on) == ("True", "Programmed"), 15)

    bench(work)
