"""Who lacks a sidecar, whose is old and whose is not ready: in metrics, and in words for people."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from sidewinder_operator.authority import root as roots
from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.discovery.session import Rejection
from sidewinder_operator.main import census as module
from tests.support import kubernetes_objects as objects
from tests.support.clock import eventually
from tests.support.operators import Bench, bench

NAMESPACES = "/api/v1/namespaces"


def test_each_kind_of_pod_is_counted_and_named() -> None:
    async def work(on: Bench) -> None:
        on.server.put(NAMESPACES, {"metadata": {"name": "shop", "labels": {"sidewinder.dev/inject": "enabled"}}})
        on.server.put(NAMESPACES, {"metadata": {"name": "other"}})
        for number in range(7):
            on.server.put(objects.PODS, objects.pod(f"bare-{number}", "x", f"10.0.1.{number}", sidecar=False))
        on.server.put(objects.PODS, objects.pod("elsewhere", "x", "10.0.2.1", "other", sidecar=False))
        unwilling = objects.pod("unwilling", "x", "10.0.2.2", sidecar=False)
        unwilling["metadata"]["labels"]["sidewinder.dev/inject"] = "disabled"
        on.server.put(objects.PODS, unwilling)
        unready = objects.pod("reviews-2", "reviews", "10.0.0.2")
        unready["status"]["conditions"] = []
        second = on.server.put(objects.PODS, unready)["metadata"]["uid"]
        process = on.start()
        await on.served(process)
        await eventually(process.authority.keeper.loaded.is_set, 10)
        process.acks.tell(on.uid, Having(epoch=1, build="0.0.1"))
        why = Rejection(versions={}, resource="route/x", field="", why="no")
        version = process.census.version
        process.acks.tell(second, Having(epoch=1, build=version, rejections={"x": why}))
        text = process.metrics.text()
        for line in (
            'pods_without_sidecar{namespace="shop"} 7',
            'proxies_outdated{namespace="shop"} 1',
            'proxies_unready{namespace="shop"} 1',
            "proxies_rejecting 1",
            'proxies{version="0.0.1"} 1',
            f'proxies{{version="{version}"}} 1',
        ):
            assert f"sidewinder_operator_{line}\n" in text
        told = {each.reason: each for each in process.census.notices()}
        assert told.keys() == {"SidecarMissing", "SidecarOutdated"}
        assert told["SidecarMissing"].note.endswith(": bare-0, bare-1, bare-2, bare-3, bare-4 and 2 more")
        assert told["SidecarMissing"].note.startswith("7 pods without a sidecar; restart them: ")
        assert told["SidecarOutdated"].note.endswith(": reviews-1")
        assert str(told["SidecarMissing"].about) == "Namespace shop/shop"

    bench(work)


def test_a_certificate_that_is_not_renewed_is_told_long_before_its_end() -> None:
    async def work(on: Bench) -> None:
        on.server.put(NAMESPACES, {"metadata": {"name": "shop", "labels": {"sidewinder.dev/inject": "enabled"}}})
        process = on.start()
        await on.served(process)
        version, day = process.census.version, 86_400

        def after(left: float) -> list[str]:
            until = round(time.time() + left)
            process.acks.tell(on.uid, Having(epoch=1, build=version, until=until))
            return [each.note for each in process.census.notices() if each.reason == "CertificateEnds"]

        assert after(day / 2) == after(day / 4 + 60) == []
        assert after(day / 4 - 60) == [
            "1 pod whose certificate ends within 6 h and is not renewed (`sidewinder identity POD` says why); restart "
            "it: reviews-1"
        ]
        assert 'proxies_certificate_ending{namespace="shop"} 1\n' in process.metrics.text()
        process.acks.tell(on.uid, Having(epoch=2, build=version))  # it came with none: local mode
        assert "proxies_certificate_ending{" not in process.metrics.text()

    bench(work)


def test_a_ca_that_cannot_be_used_and_one_that_ends_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(on: Bench) -> None:
        process = on.start()
        await eventually(process.authority.keeper.loaded.is_set, 15)
        assert list(process.census.notices()) == []
        monkeypatch.setattr(module, "SOON", roots.LIFETIME + dt.timedelta(days=1))
        ending = [*process.census.notices()]
        assert [each.reason for each in ending] == ["RootExpires"]
        assert "sidewinder rotate-root" in ending[0].note
        assert ending[0].uid == on.server.get("/api/v1/secrets", "sidewinder-ca", "system")["metadata"]["uid"]  # type: ignore[index]
        monkeypatch.undo()
        process.authority.keeper.fault = "the Secret cannot be used"
        assert [(each.reason, each.note) for each in process.census.notices()] == [
            ("CAUnusable", "the Secret cannot be used")
        ]

    bench(work)
