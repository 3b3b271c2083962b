"""What people see: lines with who said them, problems with their place. Plain text where there is no terminal.

Used by all commands. Everything goes to standard output but problems and warnings, which go to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sidewinder_operator.local.children import Tone
from sidewinder_operator.problems import Problem

COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta")
OURSELVES = "sidewinder"
WIDE = 240  # columns where nobody looks: a table in a file or pipe is never folded


class Voice:
    """Prints lines with the name of who says them."""

    def __init__(self, out: Console | None = None, error: Console | None = None) -> None:
        self.out = out or _console(sys.stdout, stderr=False)
        self.error = error or _console(sys.stderr, stderr=True)
        self._width = len(OURSELVES)
        self._colours: dict[str, str] = {OURSELVES: "bold"}

    def expect(self, names: Iterable[str]) -> None:
        """These will speak: the column of names is made wide enough from the start."""
        self._width = max([self._width, *map(len, names)])

    def tell(self, who: str, tone: Tone, line: str) -> None:
        """One line of somebody."""
        console = self.error if tone == "warning" else self.out
        self._width = max(self._width, len(who))
        colour = self._colours.setdefault(who, COLOURS[len(self._colours) % len(COLOURS)])
        style = {"output": "", "event": "bold", "warning": "bold yellow"}[tone]
        try:
            console.print(Text.assemble((who.ljust(self._width), colour), " │ ", (line, style)))
        except BrokenPipeError:  # whoever read us has gone; nothing to tell any more
            pass

    def say(self, line: str) -> None:
        """One line of our own."""
        self.tell(OURSELVES, "event", line)

    def warn(self, line: str) -> None:
        """One line of our own that needs somebody's attention."""
        self.tell(OURSELVES, "warning", line)

    def problems(self, problems: Iterable[Problem]) -> None:
        """Each problem: where, which field, what would be right."""
        for problem in problems:
            self.error.print(_styled(problem))

    def raw(self, text: str) -> None:
        """Text as it stands, for machines."""
        sys.stdout.write(text + "\n")


def _console(file: TextIO, *, stderr: bool) -> Console:
    width = None if file.isatty() else WIDE
    return Console(highlight=False, soft_wrap=True, stderr=stderr, width=width)


def columns(*heads: str) -> Table:
    """A table. A narrow terminal folds words, and loses none of them: names and addresses are there to be copied."""
    table = Table(box=None)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def sentence(problem: Problem) -> str:
    """A problem in one line: `file:line: kind ns/name: field: what would be right`."""
    parts = [str(problem.place)] if problem.place is not None else []
    if problem.reference.kind != "File":
        parts.append(str(problem.reference))
    if problem.field:
        parts.append(problem.field)
    return ": ".join((*parts, f"{problem.message} ({problem.reason})"))


def summary(problems: Sequence[Problem]) -> str:
    """How many of which."""
    errors = sum(problem.severity == "Error" for problem in problems)
    warnings = len(problems) - errors
    counts = [_count(errors, "problem")] if errors else []
    counts += [_count(warnings, "warning")] if warnings else []
    return " and ".join(counts) or "no problems"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _styled(problem: Problem) -> str:
    colour = "red" if problem.severity == "Error" else "yellow"
    return f"[bold {colour}]{problem.severity.lower()}[/]: {escape(sentence(problem))}"
