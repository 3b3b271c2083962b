"""A second try, as real runs of pytest on small suites see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.unsteady import TOLERATED

ROOT = Path(__file__).parents[2]

# The first test breaks what the module's fixture has started; a second try on the same one could never pass.
SHARED = """
import pathlib
import pytest

HERE = pathlib.Path(__file__).parent

@pytest.fixture(scope="session")
def ground():
    with open(HERE / "grounds", "a") as out:
        out.write("one ")
    yield

@pytest.fixture(scope="module")
def server(ground):
    alive = ["alive"]
    yield alive
    assert not (HERE / "bad-end").exists() or alive, "nobody is there to end"

def test_breaks_it_once(server):
    if not (HERE / "tried").exists():
        (HERE / "tried").write_text("")
        server.clear()
    assert server, "the server has died"

def test_after_it(server):
    assert server
"""


def run(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own, with the plugin as the project's runs have it."""
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", *words, "."]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def flaky(count: int) -> str:
    """So many tests that pass when tried again."""
    return "import pathlib\n" + "".join(
        f"""
def test_{number}():
    mark = pathlib.Path(__file__).with_name("mark-{number}")
    first = not mark.exists()
    mark.write_text("")
    assert not first, "first failure of {number}"
"""
        for number in range(count)
    )


@pytest.mark.parametrize("end", ["well", "badly"])
def test_a_second_try_finds_fixtures_that_are_alive(tmp_path: Path, end: str) -> None:
    if end == "badly":
        (tmp_path / "bad-end").write_text("")
    done = run(tmp_path, SHARED, "--reruns", "1")
    assert done.returncode == 0, done.stdout
    assert "2 passed, 1 rerun" in done.stdout
    assert (tmp_path / "grounds").read_text() == "one ", "the session's fixtures stay"
    assert ("nobody is there to end" in done.stdout) == (end == "badly")


def test_who_needed_it_is_told_with_the_first_failure(tmp_path: Path) -> None:
    done = run(tmp_path, flaky(1), "--reruns", "1")
    assert done.returncode == 0
    assert "UNSTEADY: test_it.py::test_0\n" in done.stdout
    assert "first failure of 0" in done.stdout


@pytest.mark.parametrize(("count", "code"), [(TOLERATED, 0), (TOLERATED + 1, 1)], ids=["tolerated", "too many"])
def test_too_many_fail_the_run(tmp_path: Path, count: int, code: int) -> None:
    done = run(tmp_path, flaky(count), "--reruns", "1")
    assert done.returncode == code, done.stdout
    assert done.stdout.count("UNSTEADY: ") == count
    assert ("the run has failed" in done.stdout) == bool(code)


def test_what_fails_twice_has_failed(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_never():\n    assert False, 'never'\n", "--reruns", "1")
    assert done.returncode == 1
    assert "UNSTEADY" not in done.stdout


def test_without_the_word_nothing_is_tried_again(tmp_path: Path) -> None:
    done = run(tmp_path, flaky(1))
    assert done.returncode == 1
    assert "UNSTEADY" not in done.stdout
