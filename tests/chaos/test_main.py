"""`make chaos` as a command: what it says of each fault, what it leaves on the page, and whether it is content."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import __main__ as command
from tests.chaos import report
from tests.chaos.load import Sample
from tests.chaos.matrix import Case
from tests.chaos.network import NotRun
from tests.chaos.run import Result, Times, judged

SAMPLES = [Sample(float(second), 0.01, "") for second in range(30)]


def nothing(bed: object, hold: object) -> None: ...


def measured(case: Case, times: Times) -> Result:
    """By the name: what a run of it does."""
    if case.name == "missing":
        raise NotRun("no library")
    raised = AssertionError("not within 3 s")
    if case.name == "stuck":
        raise raised
    lost = [Sample(12.0, 0.1, "status 503")] if case.name == "bad" else []
    return judged(case, [*SAMPLES, *lost], 10.0, 20.0, retried=0, stale=0, memory=(1.0, 1.0), notes=())


@pytest.mark.parametrize(
    ("names", "wrong", "told"),
    [
        pytest.param(["good"], 0, "good", id="content"),
        pytest.param(["bad"], 1, "FAILED: bad: 1 of 31 requests failed", id="a-request-lost"),
        pytest.param(["stuck"], 1, "FAILED: not within 3 s", id="stuck"),
        pytest.param(["missing"], 0, "not run: no library", id="not-here"),
        pytest.param([], 2, "good", id="all"),
    ],
)
def test_a_run(
    names: list[str],
    wrong: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before {report.BEGIN} {report.END} after")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "CASES", tuple(Case(name, nothing) for name in ("good", "bad", "stuck", "missing")))
    monkeypatch.setattr(command, "patiently", measured)
    assert command.main(names) == wrong
    assert told in capsys.readouterr().out
    assert page.read_text().startswith("before")
    assert page.read_text().count("\n| ") == 2 + len(names or "four")
