"""The sidecar's identity and stream with the real operator: one process of it, against the fake API server."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from sidewinder_operator.authority.review import POD_UID
from sidewinder_operator.main.process import Process
from sidewinder_sidecar.discovery.dial import Tls
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.identity.child import Outcome
from sidewinder_sidecar.identity.enrol import Failed, enrol
from sidewinder_sidecar.identity.files import Files
from sidewinder_sidecar.identity.leaf import Unfit
from sidewinder_sidecar.identity.renewal import Identity
from sidewinder_sidecar.settings import Settings
from tests.support import kubernetes_objects as objects
from tests.support.authority import TOKEN, Place
from tests.support.clock import eventually
from tests.support.operators import Bench, bench

pytestmark = pytest.mark.live

HOST = "sidewinder-operator.system.svc"


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Service's name leads to this machine."""
    look_up = socket.getaddrinfo

    def found(host: Any, *rest: Any, **more: Any) -> Any:
        return look_up("127.0.0.1" if host == HOST else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)


class Sidecar:
    """What main makes of its settings; the child's work is done in a thread, so that it finds the Service."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.settings = settings
        self.applied: list[str] = []
        self.identity = Identity(Files(settings), enrol=self.enrol, renewed=lambda: self.discovery.reconnect())
        self.discovery = Discovery(Tls(HOST, port, self.identity), self.apply)
        self.tasks = [asyncio.create_task(self.identity.run()), asyncio.create_task(self.discovery.run())]

    async def enrol(self) -> Outcome:
        try:
            await asyncio.to_thread(enrol, self.settings)
        except (Failed, Unfit) as fault:
            return Outcome(why=str(fault))
        return Outcome()

    async def apply(self, resources: dict[str, Any]) -> None:
        self.applied = sorted(resources)

    async def stop(self) -> None:
        waiting = set(self.tasks)
        while waiting:  # as main's supervisor does it
            for task in waiting:
                task.cancel()
            _, waiting = await asyncio.wait(waiting, timeout=0.2)


async def operated(on: Bench, folder: Path) -> tuple[Process, Settings, int]:
    """A running operator that knows the pod's token, and the pod's files."""
    status = {
        "authenticated": True,
        "audiences": ["sidewinder"],
        "user": {"username": "system:serviceaccount:shop:reviews", "extra": {POD_UID: [on.uid]}},
    }
    on.server.tokens[TOKEN] = status
    process = on.start(address="127.0.0.1", discovery_port=0)
    await on.served(process)
    await eventually(lambda: process.doors.port.address is not None, 10)
    assert process.doors.port.address is not None
    port = process.doors.port.address[1]
    place = Place(folder)
    place.mount(process.authority.keeper.current())
    return process, place.settings(f"https://{HOST}:{port}", pod_uid=on.uid), port


def test_a_pod_enrols_gets_its_picture_and_renews(tmp_path: Path) -> None:
    async def work(on: Bench) -> None:
        process, settings, port = await operated(on, tmp_path)
        sidecar = Sidecar(settings, port)
        try:
            await eventually(lambda: "route/shop/reviews" in sidecar.applied, 10)
            held = sidecar.identity.held
            assert held is not None
            assert held.leaf.spiffe_id == "spiffe://cluster.local/ns/shop/sa/reviews"
            assert held.leaf.subject == on.uid
            assert held.standing == "current"
            assert on.uid in process.doors.discovery.clients
            first = sidecar.discovery.connections
            sidecar.identity.renew_at = 0.0
            sidecar.identity._wake.set()
            await eventually(lambda: sidecar.identity.enrolments == 2, 10)
            await eventually(lambda: sidecar.discovery.connections == first + 1 and sidecar.discovery.connected, 10)
            await eventually(lambda: process.acks.current(on.uid), 10)
        finally:
            await sidecar.stop()

    bench(work)


def test_a_pod_that_is_not_there_gets_nothing(tmp_path: Path) -> None:
    async def work(on: Bench) -> None:
        _, settings, _ = await operated(on, tmp_path)
        on.server.delete(objects.PODS, "reviews-1", "shop")
        await asyncio.sleep(0.2)
        with pytest.raises(Failed, match="refused with 403: there is no running pod with the uid"):
            await asyncio.to_thread(enrol, settings)
        on.server.tokens.clear()
        with pytest.raises(Failed, match="refused with 401"):
            await asyncio.to_thread(enrol, settings)

    bench(work)
