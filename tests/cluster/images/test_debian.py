"""How the base image is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.images import debian


def test_the_command_names_the_suite_the_target_and_the_mirrors() -> None:
    command = debian.command(Path("/out.tar"), ["deb http://m.test/ trixie main"])
    assert command[0] == "mmdebstrap"
    assert command[-3:] == ["trixie", "/out.tar", "deb http://m.test/ trixie main"]
    assert f"--include={','.join(debian.PACKAGES)}" in command


def test_without_mirrors_mmdebstrap_takes_its_own() -> None:
    assert debian.command(Path("/out.tar"), [])[-2:] == ["trixie", "/out.tar"]


@pytest.mark.parametrize("name", ["SUITE", "PACKAGES", "EXCLUDED", "ENVIRONMENT"])
def test_the_digest_changes_with_each_part(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = debian.digest()
    monkeypatch.setattr(debian, name, ("another",))
    assert debian.digest() != before
