"""The tutorial, done: every command of docs/tutorial.md in order, and what the page says one sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.local_mesh import Up
from tests.support.pages import ROOT, Page

pytestmark = pytest.mark.live

DONE_ALREADY = ("make .venv", ". .venv/bin/activate")  # the environment is the one that runs this test
START = "sidewinder up -f shop\n"
STOP = "Press Ctrl-C"
WAY_IN = ":8080"
EXACT = re.compile(r"^ *(\d+ reviews|\d{3}$)")  # lines whose numbers must be those of the page
STEP_SECONDS = 120  # 200 calls, each with a process of its own, on a busy machine
TOLD_SECONDS = 15


def squeezed(line: str) -> str:
    return " ".join(line.split())


def pattern(line: str) -> re.Pattern[str]:
    """What a line of the page stands for: `…` is anything, and a number any number unless it is EXACT."""
    parts = [re.escape(part) for part in squeezed(line).split("…")]
    if not EXACT.match(line):
        parts = [re.sub(r"\d+", r"\\d+", part) for part in parts]
    return re.compile(".*?".join(parts))


class Reader:
    """Somebody who does what the page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.up: Up | None = None
        self.output = ""
        self.mark = 0  # the lines of `up` before the last command

    def do(self, commands: str) -> None:
        """Runs a block of commands; `up` goes on in its own terminal."""
        lines = [line for line in commands.splitlines() if line not in DONE_ALREADY]
        if commands == START:
            self.up = Up(Path("shop"), Path(".sidewinder"))
            self.output = ""
            return
        self.mark = len(self.up.lines) if self.up is not None else 0
        script = "\n".join(lines)
        if self.up is not None:
            script = script.replace(WAY_IN, f":{self.up.port}")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
        )
        self.output = done.stdout + done.stderr

    def sees(self, expected: str) -> None:
        """Each line was printed by the last command, or is told by `up` since."""
        up = self.up
        assert up is not None
        for line in expected.splitlines():
            wanted = pattern(line.replace(WAY_IN, f":{up.port}") if "│" in line else line)

            def shown(wanted: re.Pattern[str] = wanted) -> bool:
                lines = [*self.output.splitlines(), *up.lines[self.mark :]]
                return any(wanted.fullmatch(squeezed(each)) for each in lines)

            up.until(shown, f"{line!r} after\n{self.output}", TOLD_SECONDS)

    def stop(self) -> None:
        """Ctrl-C in the first terminal."""
        assert self.up is not None
        self.output = ""
        self.mark = len(self.up.lines)
        assert self.up.port  # known before it is gone
        assert self.up.end() == 0


def test_the_tutorial_is_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("bash", "curl"):
        assert shutil.which(program), f"the tutorial needs {program}: install the package {program}"
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    reader = Reader(tmp_path)
    try:
        for block in Page(ROOT / "docs/tutorial.md").blocks():
            if STOP in block.before:
                reader.stop()
            if block.language == "sh":
                reader.do(block.text)
                if block.text == START:
                    assert reader.up is not None
                    reader.up.ready()
            else:
                reader.sees(block.text)
    finally:
        if reader.up is not None and reader.up.process.poll() is None:
            reader.up.end()
    assert [path.name for path in tmp_path.iterdir()] == ["examples"]  # what the reader had made is gone
