"""What people see where there is no terminal: whole lines, no colours, and what is wrong on standard error."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from sidewinder_operator.cli.console import Voice, columns, sentence, summary
from sidewinder_operator.problems import Place, Problem, Reference

PROBLEM = Problem(
    reference=Reference("ApiRoute", "shop", "r"),
    field="spec.rules[0]",
    reason="Invalid",
    message="say [this] instead",
    place=Place("a.yaml", 3, 1),
)


def voice() -> tuple[Voice, io.StringIO, io.StringIO]:
    out, error = io.StringIO(), io.StringIO()
    made = Voice(*(Console(file=file, highlight=False, soft_wrap=True) for file in (out, error)))
    return made, out, error


def test_lines_carry_who_says_them_and_are_never_wrapped() -> None:
    made, out, error = voice()
    made.tell("app", "output", "x" * 300 + " [bold]as it is[/]")
    made.say("ready")
    made.warn("careful")
    assert out.getvalue() == "app        │ " + "x" * 300 + " [bold]as it is[/]\nsidewinder │ ready\n"
    assert error.getvalue() == "sidewinder │ careful\n"


def test_a_problem_is_one_line_with_its_place() -> None:
    made, out, error = voice()
    made.problems([PROBLEM])
    assert error.getvalue() == "error: a.yaml:3: ApiRoute shop/r: spec.rules[0]: say [this] instead (Invalid)\n"
    assert out.getvalue() == ""


def test_problems_of_files_name_no_object() -> None:
    problem = Problem(reference=Reference("File", "", "a.yaml"), field="", reason="Unreadable", message="a.yaml: no")
    assert sentence(problem) == "a.yaml: no (Unreadable)"


def test_summaries_count() -> None:
    warning = Problem(reference=PROBLEM.reference, field="", reason="X", message="m", severity="Warning")
    assert summary([]) == "no problems"
    assert summary([PROBLEM]) == "1 problem"
    assert summary([PROBLEM, PROBLEM, warning]) == "2 problems and 1 warning"


@pytest.mark.parametrize("width", [30, 80])
def test_a_narrow_terminal_loses_nothing_of_a_table(width: int) -> None:
    table = columns("proxy", "address", "what it says of itself")
    table.add_row("Gateway/way-in-of-the-shop", "127.0.0.1:21550", "ready")
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    assert "…" not in out.getvalue()
    letters = Counter(out.getvalue())
    assert not Counter("Gateway/way-in-of-the-shop127.0.0.1:21550ready") - letters
