"""The state file is whole or as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidewinder_operator.local import kept


def test_what_is_written_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "good.jsonl"
    assert kept.read(path) == b""
    kept.write(path, b"one")
    kept.write(path, b"two")
    assert kept.read(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["good.jsonl"]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "good.jsonl"
    kept.write(path, b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        kept.write(path, b"two")
    assert kept.read(path) == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["good.jsonl"]
