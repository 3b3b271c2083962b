"""Which pods have retired: by what all sidecars hold, over replicas, streams that end, and versions nobody knows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sidewinder_operator.compile.compiler import compile_cluster
from sidewinder_operator.compile.project import Encoded, Projector
from sidewinder_operator.discovery import departures as module
from sidewinder_operator.discovery.acks import Acks, Having, Maybe
from sidewinder_operator.discovery.contents import VERSIONS
from sidewinder_operator.discovery.departures import Departures
from sidewinder_operator.discovery.session import Rejection
from sidewinder_operator.discovery.store import Store
from sidewinder_sidecar.snapshot import encode, version
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec, EndpointsSpec
from tests.support.clock import eventually
from tests.support.clusters import given, running

PODS = ("a", "b", "c")
NAME = "endpoints/shop/web:80"


def _encoded(name: str, body: ProxySpec | EndpointsSpec, ready: frozenset[str] = frozenset()) -> Encoded:
    raw = encode(body)
    return Encoded(name, version(raw), raw, None, (), ready)


def picture(pod: str, ready: tuple[str, ...], leaving: tuple[str, ...] = ()) -> dict[str, Encoded]:
    """What a pod gets: itself, and who answers. Who leaves and is ready is a last resort."""
    goes = pod in leaving
    itself = ProxySpec(name=pod, namespace="shop", terminating=goes, last_resort=goes and pod in ready)
    spec = EndpointsSpec(
        name="shop/web:80",
        endpoints=tuple(EndpointSpec(uid=uid, address=f"10.0.0.{PODS.index(uid)}", port=80) for uid in ready),
    )
    made = (
        _encoded("proxy/self", itself),
        _encoded(NAME, spec, frozenset(ready)),
        _encoded("endpoints/inbound-80", EndpointsSpec(name=f"inbound-80 of {pod}"), frozenset({pod})),
    )
    return {one.name: one for one in made}


class Site:
    """A store with three pods; `c` answers, and leaves."""

    def __init__(self) -> None:
        self.store = Store()
        self.now = 0.0
        self.acks = Acks(self.store, clock=lambda: self.now)
        self.whole = True
        self.apart = 0.0
        self.departures = Departures(
            self.store, self.acks, whole=lambda: self.whole, apart=lambda: self.apart, clock=lambda: self.now
        )
        self.publish(PODS)
        self.before = self.versions("a")
        self.epoch = 0

    def publish(self, ready: tuple[str, ...], leaving: tuple[str, ...] = (), pods: tuple[str, ...] = PODS) -> None:
        self.store.publish({pod: picture(pod, ready, leaving) for pod in pods})

    def versions(self, pod: str) -> Mapping[str, str]:
        return self.store.pictures[pod].versions

    def acknowledge(self, *pods: str, versions: Mapping[str, str] | None = None) -> None:
        for pod in pods:
            self.epoch += 1
            self.acks.tell(pod, Having(epoch=self.epoch, versions=versions or self.versions(pod)))

    def leave(self) -> None:
        """All have what was; then `c` goes, and knows it."""
        self.acknowledge(*PODS)
        self.publish(("a", "b"), leaving=("c",))
        self.acknowledge("c")

    def retired(self, pod: str = "c") -> bool:
        return self.departures.leaving(pod) and pod in self.departures.retired({pod})


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_pod_leaves_once_it_has_acknowledged_that(site: Site) -> None:
    site.acknowledge(*PODS)
    assert not site.departures.leaving("c")
    site.publish(("a", "b"), leaving=("c",))
    assert not site.departures.leaving("c")
    site.acknowledge("c")
    assert site.departures.leaving("c")
    assert not site.departures.leaving("a")
    assert not site.departures.leaving("nobody")


def test_it_has_retired_when_the_last_who_knew_it_knows_better(site: Site) -> None:
    site.leave()
    assert not site.retired()
    site.acknowledge("a")
    assert not site.retired()
    site.acknowledge("b")
    assert site.retired()


def test_its_own_sidecar_need_not_forget_it(site: Site) -> None:
    site.leave()
    site.acknowledge("a", "b")
    site.acknowledge("c", versions={**site.versions("c"), NAME: site.before[NAME]})
    assert site.retired()


def test_who_lost_its_stream_holds_what_it_had(site: Site) -> None:
    site.leave()
    site.acknowledge("b")
    site.acks.gone("a", site.epoch)
    site.now = 3600.0
    assert not site.retired()
    site.acknowledge("a")
    assert site.retired()


def test_who_lost_its_stream_after_it_knew_better_holds_nobody_back(site: Site) -> None:
    site.leave()
    site.acknowledge("a", "b")
    site.acks.gone("b", site.epoch)
    assert site.retired()


def test_who_was_never_heard_of_may_hold_anything_until_it_would_have_come_back(site: Site) -> None:
    site.acknowledge("c")
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge("a", "c")
    assert not site.retired()
    site.now = module.STRANGE_SECONDS + 1
    assert site.retired()


def test_nobody_has_retired_while_a_replica_is_not_heard(site: Site) -> None:
    site.acknowledge("a", "c")
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge("a", "c")
    site.now, site.whole = 3600.0, False
    assert not site.retired(), "b may be there"
    site.acknowledge("b")
    assert not site.retired(), "any of them may have gone there since"
    site.apart = module.APART_SECONDS
    assert site.retired(), "they have answered pings since: they are here"
    site.acks.gone("b", site.epoch)
    assert not site.retired(), "b may have gone there"
    site.whole = True
    assert site.retired()


def test_what_another_replica_tells_counts_once_it_has_sworn_the_pod_off(site: Site) -> None:
    """It tells late: `b` may have heard of a pod there that was not when it was last told of."""
    site.publish(("a", "b"))
    site.acks.replace("other", {"b": Having(epoch=1, versions=site.versions("b"))})
    site.publish(PODS)
    site.acknowledge("a", "c")
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge("a", "c")
    assert not site.retired(), "the other has not told yet that b knows c"
    site.acks.hear("other", {"b": Having(epoch=1, versions=site.before)})
    assert not site.retired()
    site.acks.hear("other", {"b": Having(epoch=1, versions=site.versions("b"))})
    assert not site.retired(), "and may tell b of it still"
    site.acks.hear_rest("other", {}, {"c"}, ())
    assert site.retired()
    site.acks.replace("other", {"b": Having(epoch=1, versions=site.versions("b"))})
    assert not site.retired(), "a replica that began anew has sworn nothing"


@pytest.mark.parametrize("there", [False, True], ids=["here", "there"])
def test_what_was_sent_and_not_answered_may_be_held(site: Site, there: bool) -> None:
    site.publish(("a", "b"))
    site.acknowledge("a", "b")
    site.publish(PODS)
    site.acknowledge("a", "c")
    maybe = Maybe(epoch=site.epoch, versions=(site.before,))
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge("a", "c")
    if there:
        site.acks.replace("other", {}, {"b": maybe}, {"c"})
    else:
        site.acks.expect("b", maybe)
    assert not site.retired(), "b applies it in this moment"
    if there:
        site.acks.hear_rest("other", {"b": Maybe()}, (), ())
    else:
        site.acks.expect("b", Maybe())
    assert site.retired()


def test_what_was_sent_on_a_stream_that_ended_is_held_until_a_newer_one_knows_better(site: Site) -> None:
    site.publish(("a", "b"))
    site.acknowledge("a", "b")
    site.acks.expect("b", Maybe(epoch=site.epoch, versions=(site.before,)))
    site.acks.gone("b", site.epoch)
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge("a", "c")
    assert not site.retired()
    site.acks.hear("other", {"b": Having(epoch=site.epoch + 1, versions=site.versions("b"))})
    site.acks.hear_rest("other", {}, {"c"}, ())
    assert site.retired()
    assert not site.acks.maybe


def test_what_is_left_open_of_unknown_versions_may_name_anybody(site: Site) -> None:
    site.leave()
    site.acknowledge("a", "b")
    assert site.retired()
    site.acks.expect("b", Maybe(epoch=site.epoch, versions=({"endpoints/shop/other:80": "of before"},)))
    assert not site.retired()


def test_with_a_replica_that_went_for_good_went_what_it_had_not_told(site: Site) -> None:
    site.leave()
    site.acks.hear("other", {"b": Having(epoch=9, versions=site.versions("b"))})
    site.acks.hear_rest("other", {}, {"c"}, ())
    site.acknowledge("a")
    site.acks.gone("b", site.epoch)
    assert site.retired()
    site.now = 100.0
    site.acks.forget("other")
    assert not site.retired(), "b may have been told of c since"
    site.now = 101.0 + module.STRANGE_SECONDS
    assert site.retired()


def test_what_it_says_when_it_comes_counts_until_it_acknowledges(site: Site) -> None:
    site.acknowledge("a", "c")
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge("a", "c")
    site.now = 3600.0
    site.acks.claim("b", Having(epoch=1, versions=site.before))
    assert not site.retired()
    site.acknowledge("b")
    assert site.retired()


def test_a_version_that_nobody_knows_may_name_it(site: Site) -> None:
    site.leave()
    site.acknowledge("a")
    site.acknowledge("b", versions={**site.versions("b"), "endpoints/shop/other:80": "of before this replica began"})
    assert not site.retired()
    site.acknowledge("b")
    assert site.retired()


def test_who_refused_its_first_picture_serves_on_with_what_nobody_knows(site: Site) -> None:
    site.leave()
    site.acknowledge("a")
    site.acks.gone("b", site.epoch)
    rejection = Rejection(versions={}, resource="", field="", why="no")
    site.acks.tell("b", Having(epoch=site.epoch + 1, rejections={"x": rejection}))
    assert not site.retired()


def test_a_forgotten_version_counts_as_unknown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidewinder_operator.discovery.contents.VERSIONS", 2)
    site.leave()
    site.acknowledge("a")
    assert not site.retired()
    for ready in (("a",), ("b",), ()):
        site.publish(ready, leaving=("c",))
        site.acknowledge("a", "c")
        assert not site.retired(), "b holds a version that has named c, and has been forgotten"
    site.acknowledge("b")
    assert site.retired()


def test_a_pod_that_nobody_ever_called_has_retired_at_once(site: Site) -> None:
    site.publish(("a", "b"))
    site.acknowledge(*PODS)
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge("c")
    assert site.retired()


def test_of_several_each_is_judged_alone(site: Site) -> None:
    site.acknowledge(*PODS)
    site.publish(("a", "b"), leaving=("c",))
    site.acknowledge(*PODS)
    site.publish(("a",), leaving=("b", "c"))
    site.acknowledge("b", "c")
    assert site.departures.retired({"b", "c"}) == {"c"}
    site.acknowledge("a")
    assert site.departures.retired({"b", "c"}) == {"b", "c"}


def test_a_last_resort_has_not_retired_until_it_is_taken_out_and_all_know(site: Site) -> None:
    """Nor is it sworn off; even with nobody who knows it, somebody may come and be told of it."""
    site.acknowledge(*PODS)
    site.publish(("c",), leaving=("c",))
    assert site.departures.leaving("c") is False
    site.acknowledge(*PODS)
    assert site.departures.leaving("c")
    assert not site.retired()
    assert site.acks.leaving == frozenset()
    assert [*site.departures.holders("c")] == [("c", "is the last resort of shop/web:80")]
    site.acknowledge("a", "b", versions={"proxy/self": site.versions("a")["proxy/self"]})
    assert not site.retired(), "nobody has its name now, but whoever asks gets it"
    site.publish(("b",), leaving=("c",))
    assert site.acks.leaving == {"c"}
    site.acknowledge("a", "c", "b")
    assert site.retired()


def test_another_replica_has_to_swear_off_a_last_resort_too(site: Site) -> None:
    site.acks.replace("other", {})
    site.publish(("c",), leaving=("c",))
    site.acknowledge(*PODS)
    site.publish(("a",), leaving=("c",))
    site.acknowledge(*PODS)
    assert not site.retired()
    site.acks.hear_rest("other", {}, {"c"}, ())
    assert site.retired()


def test_they_are_told_soon_and_those_who_wait_are_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)

    async def run() -> None:
        site, told = Site(), asyncio.Event()
        site.departures.tell(PODS, lambda pod: told.set() if pod == "c" else pytest.fail(pod))
        site.acknowledge("c")
        site.publish(("a", "b"), leaving=("c",))
        site.acknowledge("a", "c")
        await asyncio.sleep(0.1)
        assert not told.is_set()
        site.now = module.STRANGE_SECONDS + 1  # nothing but time has passed
        await asyncio.wait_for(told.wait(), 5)

    asyncio.run(run())


def test_it_is_known_for_whom_a_pod_waits(site: Site) -> None:
    site.leave()
    assert [*site.departures.holders("c")] == [("a", "has not acknowledged it"), ("b", "has not acknowledged it")]
    site.acknowledge("a")
    site.acks.gone("b", site.epoch)
    assert [*site.departures.holders("c")] == [("b", "is not connected")]
    site.acks.expect("a", Maybe(epoch=site.epoch, versions=(site.before,)))
    assert [*site.departures.holders("c")] == [("b", "is not connected"), ("a", "has not answered yet")]
    site.acks.expect("a", Maybe())
    site.acknowledge("b")
    assert not [*site.departures.holders("c")]
    site.acks.hear("other", {})
    assert [*site.departures.holders("c")] == [("", "has not said that it knows")]
    site.whole = False
    assert [*site.departures.holders("c")] == [("", "is not heard")]
    site.whole = True
    site.acks.hear_rest("other", {}, {"c"}, ())
    site.acknowledge("b", versions={**site.versions("b"), "endpoints/shop/other:80": "of before this replica began"})
    assert [*site.departures.holders("c")] == [("b", "has not acknowledged it")]


def test_it_is_told_for_whom_a_pod_waits_once_it_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.02)

    async def run() -> None:
        site, told = Site(), asyncio.Queue[tuple[str, Any]]()
        site.departures._tell_held = lambda pod, holders: told.put_nowait((pod, holders))
        site.departures.tell(PODS, lambda pod: None)
        site.acknowledge(*PODS)
        site.publish(("a", "b"), leaving=("c",))
        site.acknowledge("a", "c")
        await asyncio.sleep(0.1)
        assert told.empty()
        site.now = module.PATIENT_SECONDS
        assert await asyncio.wait_for(told.get(), 5) == ("c", (("b", "has not acknowledged it"),))

    asyncio.run(run())


def test_of_many_that_wait_each_is_told_of_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(module, "MOST_HELD", 1)

    async def run() -> None:
        site, told = Site(), set[str]()
        site.departures._tell_held = lambda pod, holders: told.add(pod)
        site.departures.tell(PODS, lambda pod: None)
        site.acknowledge(*PODS)
        site.publish(("a",), leaving=("b", "c"))
        site.acknowledge("b", "c")
        await asyncio.sleep(0.1)
        site.now = module.PATIENT_SECONDS
        await eventually(lambda: told == {"b", "c"})

    asyncio.run(run())


SHOP = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.7, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: %(name)s, namespace: shop, labels: {app: web}%(more)s}
spec: {containers: [{name: app, ports: [{containerPort: 8080}]}]}
status: {phase: Running, podIPs: [{ip: 10.0.%(high)d.%(low)d}], conditions: [{type: Ready, status: "True"}]}
"""
SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints: [%s]
"""
ENDPOINT = (
    "{addresses: [10.0.%(high)d.%(low)d], conditions: {ready: true}, "
    "targetRef: {kind: Pod, name: %(name)s, uid: uid-of-%(name)s}}"
)


def shop(count: int, leaving: str = "") -> Projector:
    """Pods of one Service, as a cluster has them; of one that leaves, its slice knows nothing yet."""
    pods = [
        {
            "name": f"web-{number}",
            "high": number // 250,
            "low": number % 250,
            "more": ", deletionTimestamp: '2026-01-01T00:00:00Z'" if f"web-{number}" == leaving else "",
        }
        for number in range(count)
    ]
    text = SHOP + "".join(POD % pod for pod in pods) + SLICE % ", ".join(ENDPOINT % pod for pod in pods)
    now = given(text)
    assert not now.problems
    return Projector(compile_cluster(now.cluster, running=running(now.cluster, False, now.pods)).mesh)


def test_in_a_real_picture_only_the_word_of_others_counts() -> None:
    """More pods than versions are remembered: what each calls its own application is nobody else's business."""
    count = VERSIONS + 20
    store = Store()
    acks = Acks(store)
    departures = Departures(store, acks)
    store.show(shop(count))
    pods = [*store.pictures]
    assert len(pods) == count

    def acknowledge(*some: str) -> None:
        for pod in some:
            acks.tell(pod, Having(epoch=1, versions=store.pictures[pod].versions))

    acknowledge(*pods)
    store.show(shop(count, leaving="web-0"))
    leaver = "uid-of-web-0"
    acknowledge(leaver)
    assert departures.leaving(leaver)
    assert departures.retired({leaver}) == set()
    acknowledge(*pods[:-1])
    assert departures.retired({leaver}) == set()
    acknowledge(pods[-1])
    assert departures.retired({leaver}) == {leaver}
