"""Changes are seen whatever an editor does, once they have kept still."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from sidewinder_operator.local import changes as module
from sidewinder_operator.local.changes import EMPTY_LOOKS, changes, look


def test_a_look_sees_manifests_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml", "c.json", "notes.txt", ".hidden.yaml", "a.yaml~"):
        (tmp_path / name).write_text("x")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "d.yaml").write_text("x")
    assert [Path(path).name for path in sorted(look([tmp_path]))] == ["a.yaml", "b.yml", "c.json"]
    assert len(look([tmp_path / "notes.txt"])) == 1, "a file that is named is looked at whatever it is called"
    assert look([tmp_path / "gone.yaml"]) == {}


def test_every_way_to_change_a_file_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("one")

    def in_place() -> None:
        file.write_text("two!")

    def replace() -> None:
        draft = tmp_path / "draft"
        draft.write_text("4444")
        draft.replace(file)

    def add() -> None:
        (tmp_path / "b.yaml").write_text("x")

    def remove() -> None:
        (tmp_path / "b.yaml").unlink()

    def touch_back() -> None:
        os.utime(file, ns=(1, 1))

    async def main() -> None:
        seen = changes([tmp_path], 0.02)
        for change in (in_place, replace, add, remove, touch_back):
            waiting = asyncio.ensure_future(anext(seen))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            change()
            await asyncio.wait_for(waiting, 5)
        quiet = asyncio.ensure_future(anext(seen))
        done, _ = await asyncio.wait((quiet,), timeout=0.2)
        assert not done
        quiet.cancel()

    asyncio.run(main())


def test_a_file_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("one")

    async def main() -> None:
        seen = changes([tmp_path], 0.05)
        waiting = asyncio.ensure_future(anext(seen))
        await asyncio.sleep(0.06)
        for size in range(20):
            file.write_text("x" * size)
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 5)

    asyncio.run(main())


def test_a_file_that_was_emptied_is_believed_later_than_one_that_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("one")
    looked = 0

    def counted(paths: Iterable[Path]) -> module.Look:
        nonlocal looked
        looked += 1
        return look(paths)

    monkeypatch.setattr(module, "look", counted)

    async def looks(content: str) -> int:
        seen = changes([tmp_path], 0.005)
        waiting = asyncio.ensure_future(anext(seen))
        await asyncio.sleep(0.03)
        before = looked
        file.write_text(content)
        await asyncio.wait_for(waiting, 5)
        return looked - before

    async def main() -> None:
        assert await looks("") == 1 + EMPTY_LOOKS
        assert await looks("two") == 2

    asyncio.run(main())


def test_what_is_written_after_a_pause_is_told_without_the_emptiness_before(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("one")

    async def main() -> None:
        seen = changes([tmp_path], 0.05)
        waiting = asyncio.ensure_future(anext(seen))
        await asyncio.sleep(0.06)
        with file.open("w") as writing:
            await asyncio.sleep(0.15)  # three looks find it empty
            assert not waiting.done()
            writing.write("two")
        await asyncio.wait_for(waiting, 5)
        assert file.read_text() == "two"

    asyncio.run(main())
