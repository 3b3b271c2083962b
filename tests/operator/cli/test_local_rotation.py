"""Another root for a running `up`: no stage before everybody's sidecar has said what it needs; and what people see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidewinder_operator.authority.local import Authority
from sidewinder_operator.authority.root import fingerprint
from sidewinder_operator.cli import local_rotation
from sidewinder_operator.cli.local_rotation import SAID, Rotation, ask, follow, look, sentence
from sidewinder_operator.discovery.acks import Acks, Having
from sidewinder_operator.discovery.store import Store


class World:
    """Two proxies, of which each test says what they tell."""

    def __init__(self) -> None:
        self.store = Store()
        self.store.publish({"a": {}, "b": {}})
        self.acks = Acks(self.store)
        self.authority = Authority("cluster.local")
        self.first = self.root
        self.said: list[str] = []
        self.rotation = Rotation(self.authority, self.acks, self.store, self.said.append)

    @property
    def root(self) -> str:
        return fingerprint(self.authority.trust.signing.certificate)

    @property
    def bundle(self) -> tuple[str, ...]:
        return tuple(map(fingerprint, self.authority.trust.bundle))

    async def begin(self) -> asyncio.Future[None]:
        running = asyncio.ensure_future(self.rotation.run())
        await asyncio.sleep(0)
        return running

    async def tell(self, *who: str, renewed: bool = True, trusts: tuple[str, ...] | None = None) -> None:
        """What these say now; without `trusts` they trust whom they should."""
        for workload in who:
            having = Having(epoch=1, trusts=self.bundle if trusts is None else trusts, renewed=renewed)
            self.acks.tell(workload, having)
        for _ in range(3):
            await asyncio.sleep(0)


def test_each_stage_waits_for_everybody() -> None:
    async def main() -> None:
        world = World()
        running = await world.begin()
        await world.tell("a")
        assert (world.rotation.stage, len(world.bundle), world.root) == ("announced", 2, world.first)
        await world.tell("b")
        assert (world.rotation.stage, world.bundle[1]) == ("switched", world.first)
        assert world.root != world.first
        await world.tell("a", "b", renewed=False)
        await world.tell("a", renewed=True)
        assert world.rotation.stage == "switched", "b's certificate is of the old root still"
        await world.tell("b")
        assert (world.rotation.stage, len(world.bundle)) == ("forgotten", 1)
        await world.tell("a", "b", trusts=(world.root, world.first))
        assert not running.done(), "somebody trusts the old one still"
        await world.tell("a", "b")
        await running
        assert world.said == [*SAID.values()]
        assert world.rotation.told() == {"root": world.root, "stage": ""}

    asyncio.run(main())


def test_only_one_is_under_way() -> None:
    async def main() -> None:
        world = World()
        running = await world.begin()
        await world.tell("a", trusts=())
        announced = world.bundle
        await world.rotation.run()
        assert (world.bundle, world.said) == (announced, [SAID["announced"]])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert world.rotation.stage == ""

    asyncio.run(main())


def test_who_has_told_nothing_is_waited_for() -> None:
    async def main() -> None:
        world = World()
        world.store.publish({"a": {}, "b": {}, "new": {}})
        running = await world.begin()
        await world.tell("a", "b")
        assert world.rotation.stage == "announced"
        await world.tell("new")
        assert world.rotation.stage == "switched"
        running.cancel()

    asyncio.run(main())


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What an `up` answers, one after the other; the last one for ever."""
    found: list[str] = []
    asked: list[tuple[str, ...]] = []

    def answer(state: Path, *how: str) -> bytes:
        asked.append(how)
        stage = found.pop(0) if len(found) > 1 else found[0]
        return json.dumps({"authority": {"root": "ab12", "stage": stage}}).encode()

    monkeypatch.setattr(local_rotation.status, "ask", answer)
    monkeypatch.setattr(local_rotation, "LOOK_SECONDS", 0.0)
    yield found
    assert all(how in ((), ("POST", "/rotate-root")) for how in asked)


def test_each_stage_is_told_once(stages: list[str], tmp_path: Path) -> None:
    stages += ["announced", "announced", "switched", "forgotten", ""]
    told: list[Any] = []
    assert follow(tmp_path, 60, told.append)
    assert told == [*SAID.values()]


def test_who_has_no_time_hears_where_it_stands(stages: list[str], tmp_path: Path) -> None:
    stages += ["announced"]
    ask(tmp_path)
    assert not follow(tmp_path, 0, lambda line: None)
    assert sentence(look(tmp_path)) == f"the root ab12 signs; {SAID['announced']}"
    stages[:] = [""]
    assert sentence(look(tmp_path)) == "the root ab12 signs"
