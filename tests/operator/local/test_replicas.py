"""Replicas come and go as they are asked for: real processes, with a stand-in for the sidecar that is only ready."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from sidewinder_operator.local import sidecars
from sidewinder_operator.local.children import Nursery, Tone
from sidewinder_operator.local.ports import Ports
from sidewinder_operator.local.replicas import Replicas, Surroundings, Wanted
from sidewinder_operator.local.sidecars import Telling
from sidewinder_operator.mesh.workloads import Replica
from sidewinder_operator.resources.meta import ObjectMeta
from sidewinder_operator.resources.workload import Environment, HTTPProbe, LocalProcess, LocalProcessSpec, Readiness

SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
print("started", os.environ.get("WHO", "sidecar"), flush=True)
HTTPServer(("127.0.0.1", int(os.environ[sys.argv[1]])), Ready).serve_forever()
"""


def process(name: str = "app", replicas: int = 1, who: str = "one", command: tuple[str, ...] = ()) -> LocalProcess:
    return LocalProcess(
        metadata=ObjectMeta(name=name, namespace="shop"),
        spec=LocalProcessSpec(
            command=command or (sys.executable, "-c", SERVER, "PORT"),
            replicas=replicas,
            env=(Environment(name="WHO", value=f"{who} on {{port}}"),),
            readiness=Readiness(type="HTTP", http=HTTPProbe(path="/"), interval="20ms"),
        ),
    )


class World:
    """What replicas need of their `up`, and what they told it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.events: list[str] = []
        self.ports = Ports()
        self.nursery = Nursery(folder / "run")
        self.replicas = Replicas(
            Surroundings(
                nursery=self.nursery,
                ports=self.ports,
                tell=self.tell,
                telling=Telling(),
                changed=self.changed,
                settled=self.settled,
                open_socket=lambda workload: self.events.append(f"open {workload}") or folder / "x.sock",  # type: ignore[func-returns-value]
                close_socket=self.close_socket,
                identify=self.identify,
                forget=lambda identity: self.events.append(f"forget {identity.name}"),
            )
        )

    def tell(self, who: str, tone: Tone, line: str) -> None:
        self.lines.append(f"{who}: {line}")

    def changed(self) -> None:
        asyncio.get_running_loop().call_soon(self.replicas.adjust)

    async def settled(self) -> None:
        self.events.append("settled")

    def identify(self, replica: Replica, socket: Path) -> Path:
        self.events.append(f"identify {replica.id} {replica.service_account}")
        return socket.with_name(f"{replica.name}-{replica.index}.identity")

    async def close_socket(self, workload: str) -> None:
        self.events.append(f"close {workload}")

    def want(self, *processes: LocalProcess) -> None:
        self.replicas.want({each.key: Wanted(each, self.folder) for each in processes})

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(1000):
            if holds():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{self.replicas.members}\n" + "\n".join(self.lines))

    def indexes(self) -> list[int]:
        return [replica.index for replica in self.replicas.running()]


def run(test: Callable[[World], Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "COMMAND", (sys.executable, "-c", SERVER, "SIDEWINDER_PROBE_PORT"))

    async def main() -> None:
        world = World(tmp_path)
        await world.nursery.open()
        try:
            await test(world)
        finally:
            await world.replicas.stop()
            await world.nursery.close()
        assert repr(world.ports) == "<Ports []>", "every port is given back"
        opened = sorted(event[5:] for event in world.events if event.startswith("open "))
        assert opened == sorted(event[6:] for event in world.events if event.startswith("close "))
        assert len(opened) == len([event for event in world.events if event.startswith("identify ")])
        assert len(opened) == len([event for event in world.events if event.startswith("forget ")])

    uvloop.run(asyncio.wait_for(main(), 40))


def test_a_replica_is_ready_when_both_answer_and_the_sidecar_starts_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(world: World) -> None:
        world.want(process())
        assert [replica.ready for replica in world.replicas.running()] == [False]
        assert not world.replicas.all_ready()
        await world.until(world.replicas.all_ready)
        replica = world.replicas.running()[0]
        assert world.lines == ["app sidecar: started sidecar", f"app: started one on {replica.application}"]
        assert len({replica.inbound, replica.application, replica.outbound}) == 3
        assert repr(world.replicas.members[0]) == "<Running LocalProcess/shop/app/0: ready>"

    run(test, tmp_path, monkeypatch)


def test_more_and_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        world.want(process(replicas=3))
        await world.until(world.replicas.all_ready)
        assert world.indexes() == [0, 1, 2]
        before = [replica.uid for replica in world.replicas.running()]
        world.want(process(replicas=3))
        assert [replica.uid for replica in world.replicas.running()] == before, "nothing asked, nothing done"
        world.want(process(replicas=3), process("other"))
        await world.until(world.replicas.all_ready)
        assert [replica.uid for replica in world.replicas.running()][:3] == before
        world.want(process(replicas=0), process("other"))
        await world.until(lambda: sum("ended: it is not asked for" in line for line in world.lines) == 3)
        assert [replica.name for replica in world.replicas.running()] == ["other"]

    run(test, tmp_path, monkeypatch)


def test_a_change_makes_new_ones_before_it_breaks_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        world.want(process())
        await world.until(world.replicas.all_ready)
        world.want(process(who="two"))
        assert world.indexes() == [0, 1]
        assert [replica.ready for replica in world.replicas.running()] == [True, False]
        await world.until(lambda: world.indexes() == [1])
        assert world.replicas.all_ready()
        await world.until(lambda: "close LocalProcess/shop/app/0" in world.events)
        assert world.events.index("settled") < world.events.index("close LocalProcess/shop/app/0")

    run(test, tmp_path, monkeypatch)


def test_a_name_is_not_used_again_before_its_owner_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        world.want(process(replicas=2))
        await world.until(world.replicas.all_ready)
        world.want(process())
        assert world.indexes() == [0]
        world.want(process(replicas=2))
        assert world.indexes() == [0, 2], "1 is still on its way out"
        await world.until(world.replicas.all_ready)

    run(test, tmp_path, monkeypatch)


def test_what_never_gets_ready_leaves_the_old_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        world.want(process())
        await world.until(world.replicas.all_ready)
        world.want(process(command=("no-such-program",)))
        await world.until(lambda: any("cannot start `no-such-program`" in line for line in world.lines))
        assert [replica.ready for replica in world.replicas.running()] == [True, False]
        world.want(process())
        await world.until(lambda: world.indexes() == [0])

    run(test, tmp_path, monkeypatch)


@pytest.mark.parametrize("which", ["application", "sidecar"])
def test_a_crash_takes_it_out_until_both_answer_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    async def test(world: World) -> None:
        world.want(process())
        await world.until(world.replicas.all_ready)
        member = world.replicas.members[0]
        child = member.application if which == "application" else member.sidecar.child
        before = member.replica
        os.kill(child.pid, signal.SIGKILL)
        await world.until(lambda: not member.replica.ready)
        await world.until(lambda: member.replica.ready)
        assert child.restarts == 1
        assert member.replica == before, "the same ports, the same identity"

    run(test, tmp_path, monkeypatch)


def test_the_application_finds_its_folder_port_and_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIDEWINDER_SECRET", "not for applications")

    async def test(world: World) -> None:
        world.want(process(command=("sh", "-c", "pwd; env; echo arg {port}; exec sleep 60")))
        await world.until(lambda: any(line.startswith("app: arg ") for line in world.lines))
        replica = world.replicas.running()[0]
        proxy = f"http://127.0.0.1:{replica.outbound}"
        wanted = {f"PORT={replica.application}", f"HTTP_PROXY={proxy}", f"http_proxy={proxy}", str(tmp_path)}
        said = {line.removeprefix("app: ") for line in world.lines}
        assert wanted | {f"arg {replica.application}", f"WHO=one on {replica.application}"} <= said
        assert not any("SIDEWINDER_" in line for line in said)

    run(test, tmp_path, monkeypatch)


def test_stopping_while_things_still_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(world: World) -> None:
        world.want(process(replicas=2))
        await asyncio.sleep(0)

    run(test, tmp_path, monkeypatch)
