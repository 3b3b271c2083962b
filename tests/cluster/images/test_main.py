"""The command line, with builds that stand in for real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.bed.waiting import BedError
from tests.cluster.images import __main__ as program
from tests.cluster.images import build, catalog
from tests.cluster.images.build import Built
from tests.cluster.images.recipe import Image


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What was built, and whether on a fresh base."""
    made: list[tuple[str, bool]] = []
    archive = tmp_path / "a.tar"
    archive.write_bytes(bytes(3 << 20))

    def stand_in(image: Image, *, fresh: bool) -> Built:
        made.append((image.name, fresh))
        return Built(f"sidewinder.test/{image.name}:1", archive, 1.5)

    monkeypatch.setattr(build, "build", stand_in)
    return made


def test_all_are_built_and_the_base_is_renewed_once(
    builds: list[tuple[str, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["--fresh"]) == 0
    assert builds == [(name, number == 0) for number, name in enumerate(catalog.ALL)]
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"sidewinder.test/{next(iter(catalog.ALL))}:1  ")
    assert first.endswith("a.tar  3 MB  1.5 s")


def test_some_are_built(builds: list[tuple[str, bool]]) -> None:
    assert program.main(["stores"]) == 0
    assert builds == [("stores", False)]


def test_an_unknown_name_is_told(builds: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["app"])
    assert "no image is called app; there are apps, stores" in capsys.readouterr().err


@pytest.mark.parametrize("error", [build.BuildError("no space"), BedError("not installed: buildah")])
def test_what_went_wrong_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def broken(image: Image, *, fresh: bool) -> Built:
        raise error

    monkeypatch.setattr(build, "build", broken)
    assert program.main(["apps"]) == 1
    assert capsys.readouterr().err == f"{error}\n"
