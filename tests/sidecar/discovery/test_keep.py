import asyncio
import os
import stat

import pytest

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.discovery import keep
from sidewinder_sidecar.discovery.transaction import Held
from sidewinder_sidecar.snapshot.proxy import ProxySpec
from sidewinder_sidecar.snapshot.upstreams import EndpointsSpec


def held(*names, of=None):
    resources = {"proxy/self": ProxySpec(name="a", namespace="shop")}
    resources |= {f"endpoints/{name}": EndpointsSpec(name=name) for name in names}
    versions = {name: snapshot.version(snapshot.encode(body)) for name, body in resources.items()}
    return Held(resources, versions, {"proxy/self": of} if of else None)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "kept")


def test_what_is_kept_comes_back(path):
    wrote = held("a", "b", of=("uid", 3))
    keep.write(path, wrote, 12)
    found, epoch = keep.read(path)
    assert (found.resources, found.versions, found.origins) == (wrote.resources, wrote.versions, wrote.origins)
    assert (found.state, epoch) == (wrote.state, 12)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_nothing_is_kept_yet(path, caplog):
    found, epoch = keep.read(path)
    assert (found.versions, epoch) == ({}, 0)
    assert not caplog.records


def test_it_is_replaced_whole(path):
    keep.write(path, held("a"), 1)
    os.chmod(path, 0o644)
    keep.write(path, held("b"), 2)
    assert keep.read(path)[0].state == held("b").state
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(os.path.dirname(path)) == ["kept"]


def test_a_large_one_lets_the_loop_have_its_turns(path, monkeypatch):
    naps = []
    monkeypatch.setattr(keep.time, "sleep", naps.append)
    keep.write(path, held(*map(str, range(300))), 1)
    assert naps == [keep.NAP_SECONDS] * (301 // keep.AT_ONCE)
    assert keep.NAP_SECONDS > 0  # with 0 the interpreter is taken back before the loop has woken


def test_a_disk_that_refuses_leaves_the_old_one(path, monkeypatch):
    keep.write(path, held("a"), 1)

    def refuses(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuses)
    with pytest.raises(OSError, match="No space"):
        keep.write(path, held("b"), 2)
    assert keep.read(path)[0].state == held("a").state
    assert os.listdir(os.path.dirname(path)) == ["kept"]


def damaged(path, change):
    keep.write(path, held("a", "b"), 1)
    with open(path, "rb") as file:
        raw = file.read()
    with open(path, "wb") as file:
        file.write(change(raw))


DAMAGE = {
    "empty": lambda raw: b"",
    "cut in a line": lambda raw: raw[: len(raw) // 2],
    "cut between lines": lambda raw: raw[: raw.rindex(b"\n", 0, -1) + 1],
    "another format": lambda raw: raw.replace(b'"sidewinder":1', b'"sidewinder":2', 1),
    "binary": lambda raw: bytes(range(256)) * 10,
    "a body that was changed": lambda raw: raw.replace(b'"namespace":"shop"', b'"namespace":"shot"'),
    "a line that is gone": lambda raw: b"\n".join(raw.split(b"\n")[:3] + raw.split(b"\n")[4:]),
    "a message that has no place": lambda raw: raw.replace(b'{"commit":1}', b'{"ping":1}'),
    "no begin": lambda raw: b"\n".join(raw.split(b"\n")[:1] + raw.split(b"\n")[2:]),
    "a field of a later version": lambda raw: raw.replace(b'"epoch":1', b'"epoch":1,"more":2'),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_refused_and_set_aside(path, change, caplog):
    damaged(path, change)
    found, epoch = keep.read(path)
    assert (found.versions, epoch) == ({}, 0)
    assert "set aside" in caplog.text
    assert os.listdir(os.path.dirname(path)) == ["kept.refused"]


def test_every_cut_is_noticed(path):
    keep.write(path, held("a"), 1)
    with open(path, "rb") as file:
        raw = file.read()
    for end in range(len(raw) - 1):  # the last newline alone is nothing
        with pytest.raises((keep.Refusal, ValueError)):
            keep.parse(raw[:end])
    assert keep.parse(raw[:-1])[0].state == held("a").state


def test_what_cannot_be_read_is_said(tmp_path, caplog):
    assert keep.read(str(tmp_path))[0].versions == {}
    assert "cannot be read" in caplog.text


def test_the_keeper_writes_the_newest(path):
    async def run():
        keeper = keep.Keeper(path)
        running = asyncio.create_task(keeper.run())
        for name in "abc":
            keeper.offer(held(name), 5)
        await asyncio.sleep(0)
        keeper.offer(held("z"), 6)
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + 5):
            while keep.read(path)[1] != 6:  # noqa: ASYNC110 (the file is what is waited for)
                await asyncio.sleep(0.01)
        running.cancel()
        await keeper.flush()

    asyncio.run(run())
    assert keep.read(path)[0].state == held("z").state


def test_the_keeper_survives_a_disk_that_refuses(tmp_path, caplog):
    async def run():
        keeper = keep.Keeper(str(tmp_path / "no" / "such" / "folder"))
        keeper.offer(held("a"), 1)
        await keeper.flush()

    asyncio.run(run())
    assert "cannot be kept" in caplog.text
