"""Everything known, as compile wants it: sorted, with zones, broken objects told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sidewinder_operator.apiserver import ApiServer
from sidewinder_operator.compile.compiler import Running, compile_cluster
from sidewinder_operator.compile.project import Projector
from sidewinder_operator.problems import Reference
from sidewinder_operator.watch.collect import Known, Watch
from tests.support import kubernetes_objects as objects
from tests.support.apiserver import FakeApiServer

Found = TypeVar("Found")


def known(server: FakeApiServer) -> Known:
    return followed(server, Watch.look)


def followed(server: FakeApiServer, ask: Callable[[Watch], Found]) -> Found:
    async def main() -> Found:
        async with server.serving():
            api = ApiServer(server.url)
            rings: list[bool] = []
            watch = Watch(api, lambda: rings.append(True))
            assert not watch.whole
            tasks = [asyncio.create_task(each.run()) for each in watch.reflectors.values()]
            await asyncio.wait_for(watch.synced(), 10)
            assert watch.whole
            assert rings
            assert all(watch.pod(pod.uid) is pod for pod in watch.pods())
            assert watch.pod("nobody") is None
            found = ask(watch)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await api.close()
            return found

    return asyncio.run(main())


def test_an_empty_cluster_is_whole_too() -> None:
    found = known(FakeApiServer())
    assert (found.pods, found.problems, found.numbers) == ((), (), {})


def test_objects_become_a_mesh_with_a_picture_for_each_pod() -> None:
    server = FakeApiServer()
    server.put(objects.SERVICES, objects.service("reviews"))
    server.put(objects.ROUTES, objects.route("reviews", "reviews", "reviews", generation=4))
    one = server.put(objects.PODS, objects.pod("reviews-1", "reviews", "10.0.0.1"))["metadata"]["uid"]
    plain = server.put(objects.PODS, objects.pod("plain", "reviews", "10.0.0.2", sidecar=False))["metadata"]["uid"]
    server.put(objects.SLICES, objects.slice_of("reviews", one, "10.0.0.1", "zone-a"))
    server.put(objects.SLICES, objects.slice_of("reviews", plain, "10.0.0.2"))
    server.put(
        objects.ROUTES, {"metadata": {"name": "odd", "namespace": "shop", "generation": 9}, "spec": {"rules": 1}}
    )
    found = known(server)
    assert [(pod.uid, pod.zone) for pod in found.pods] == [(one, "zone-a")]
    assert found.cluster.broken == {Reference("ApiRoute", "shop", "odd")}
    assert found.numbers[Reference("ApiRoute", "shop", "odd")][1] == 9
    assert found.numbers[Reference("ApiRoute", "shop", "reviews")][1] == 4
    assert {problem.reference.name for problem in found.problems} == {"odd"}
    compiled = compile_cluster(found.cluster, running=Running(pods=found.pods))
    endpoints = compiled.mesh.services["shop/reviews"].ports[0].endpoints
    assert [(each.address, each.port) for each in endpoints] == sorted(
        [("10.0.0.1", 8080), ("10.0.0.2", 8080)], key=lambda pair: one if pair[0] == "10.0.0.1" else plain
    )
    projector = Projector(compiled.mesh)
    assert projector.identities() == (one,)
    workload = compiled.mesh.workloads[one]
    assert (workload.kind, workload.service, workload.inbound, workload.outbound) == ("Pod", "reviews", 15006, 15001)


def test_pods_that_should_have_a_sidecar_are_counted() -> None:
    server = FakeApiServer()
    spaces: dict[str, dict[str, Any]] = {"shop": {"sidewinder.dev/inject": "enabled"}, "bare": {}}
    for name, labels in spaces.items():
        server.put("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        server.put(objects.PODS, objects.pod("with", "a", "10.0.0.1", name))
        server.put(objects.PODS, objects.pod("without", "a", "10.0.0.2", name, sidecar=False))
    wants_none = objects.pod("wants-none", "a", "10.0.0.3", sidecar=False)
    wants_none["metadata"]["labels"]["sidewinder.dev/inject"] = "disabled"
    server.put(objects.PODS, wants_none)
    assert followed(server, Watch.uninjected) == {"shop": 1}
    assert followed(server, Watch.enabled) == {"shop"}
    assert followed(server, lambda watch: watch.labels("shop")) == {"sidewinder.dev/inject": "enabled"}
    assert followed(server, lambda watch: watch.labels("unknown")) == {}


def test_what_may_not_be_read_is_told_as_that() -> None:
    """Beside "there is no Secret", which would send a person looking for what is there."""

    async def main() -> None:
        server = FakeApiServer()
        server.forbidden = "secrets"
        provider = {"name": "keys", "type": "APIKey", "apiKey": {"secretRef": {"name": "keys"}}}
        spec = {"targetRefs": [{"kind": "Namespace"}], "authentication": {"providers": [provider]}}
        server.put(f"{objects.OURS}/apipolicies", {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})
        async with server.serving():
            api = ApiServer(server.url)
            watch = Watch(api, lambda: None)
            watch.named._patience = 0.2
            tasks = [asyncio.create_task(each.run()) for each in watch.reflectors.values()]
            await asyncio.wait_for(watch.synced(), 10)
            await watch.settled()
            found = watch.look()
            assert [(each.reference.name, each.reason) for each in found.problems] == [("p", "RefNotPermitted")]
            assert "Secret shop/keys" in found.problems[0].message
            assert list(found.cluster.policies) == [("shop", "p")], "it counts, and closes what it should guard"
            watch.named.follow(set())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await api.close()

    asyncio.run(asyncio.wait_for(main(), 30))
