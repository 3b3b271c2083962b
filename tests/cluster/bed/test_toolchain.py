"""Builds are keyed by what goes into them, are shared, and name what is missing; the modules are pinned."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cluster.bed import packages, toolchain
from tests.cluster.bed.waiting import BedError, run


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that says hello, and a cache of its own (but Go's, which holds the compiled standard library)."""
    if lacking := packages.missing({"go": "golang-go"}):
        pytest.skip(packages.advice(lacking))
    monkeypatch.setenv("GOCACHE", run("go", "env", "GOCACHE").strip())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module hello\n\ngo 1.26.0\n")
    say(folder, "hello")
    return folder


def say(folder: Path, words: str) -> None:
    (folder / "main.go").write_text(
        f'package main\n\nimport "os"\n\nfunc main() {{ os.Stdout.WriteString("{words}") }}\n'
    )


def test_a_program_is_built_once_and_again_when_its_source_changes(module: Path) -> None:
    first = toolchain.compile_program(module, ".", "hello")
    written = first.stat().st_ino
    assert run(first) == "hello"
    assert toolchain.compile_program(module, ".", "hello").stat().st_ino == written
    for words in ("a", "b", "c"):
        say(module, words)
        latest = toolchain.compile_program(module, ".", "hello")
        assert latest != first
        assert run(latest) == words
    assert not first.exists(), "the oldest builds are thrown away"
    assert len(list(toolchain.cache().glob("hello-*"))) == toolchain.KEPT


def test_a_program_that_does_not_compile_says_why(module: Path) -> None:
    say(module, '" + nonsense + "')
    with pytest.raises(BedError, match="undefined: nonsense"):
        toolchain.compile_program(module, ".", "hello")


@pytest.mark.parametrize("name", ["kubernetes", "tools"])
def test_modules_are_pinned_and_name_no_address(name: str) -> None:
    folder = toolchain.MODULES / name
    sums = (folder / "go.sum").read_text()
    assert all(re.fullmatch(r"\S+ v\S+ h1:\S{43}=", line) for line in sums.splitlines())
    assert "://" not in sums + (folder / "go.mod").read_text()


def test_every_program_has_its_module() -> None:
    for program in toolchain.PROGRAMS.values():
        assert (toolchain.MODULES / program.module / "go.mod").exists()


def test_missing_packages_are_named_with_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"no-such-program": "package-b", "/no/such/file": "package-a", "sh": "dash"}
    assert packages.missing(wanted) == ["package-a", "package-b"]
    monkeypatch.setattr(packages, "installable", lambda: False)
    with pytest.raises(BedError, match="apt-get install --no-install-recommends package-a package-b"):
        packages.ensure(wanted)
