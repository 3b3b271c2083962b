"""The chaos run's table: what it says of a case, and where it stands."""

from __future__ import annotations

import msgspec
import pytest

from tests.chaos import report
from tests.chaos.load import Sample
from tests.chaos.matrix import Case
from tests.chaos.run import Result, judged


def nothing(bed: object, hold: object) -> None: ...


def result(*samples: Sample, notes: tuple[str, ...] = (), **case: object) -> Result:
    """Of a fault from second 10 to second 20."""
    made = Case("endpoint away", nothing, **case)  # type: ignore[arg-type]
    return judged(made, samples, 10.0, 20.0, retried=3, stale=0, memory=(30.0, 31.4), notes=notes)


GOOD = [Sample(float(second), 0.01, "") for second in range(30)]
FAILED = Sample(12.0, 0.2, "status 503")


def test_a_row() -> None:
    cells = dict(
        zip(report.COLUMNS, report.row(result(*GOOD, FAILED, lost="it is so", notes=("a note",))), strict=True)
    )
    assert cells["fault"] == "endpoint away"
    assert cells["failed"] == "1 (3.2 %)"
    assert cells["recovered"] == "at once"
    assert cells["memory"] == "30 → 31 MB"
    assert cells["notes"] == "lost: it is so; a note"


def test_the_page_keeps_what_stands_around_the_table() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    made = report.table([result(*GOOD)], [("clock jumps", "not run: no\nlibrary")])
    once = report.within(page, made)
    assert report.within(once, made) == once
    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "old" not in once
    assert "not run: no library" in once
    with pytest.raises(ValueError, match="no place"):
        report.within("nothing", made)


def test_some_rows_are_new() -> None:
    old = report.table([result(*GOOD), msgspec.structs.replace(result(*GOOD), name="other")])
    new = report.table([result(*GOOD, FAILED)])
    lines = report.renewed(report.standing(report.within(f"{report.BEGIN}{report.END}", old)), new).splitlines()
    assert len(lines) == 4
    assert lines[2] == new.splitlines()[2]
    assert lines[3] == old.splitlines()[3]
    assert report.renewed("", new) == new


def test_the_terminal_sees_no_marks() -> None:
    text = report.plain(report.table([result(*GOOD, notes=("a note",))]))
    assert "|" not in text
    assert "--" not in text
    assert [line.split()[0] for line in text.splitlines()] == ["fault", "endpoint"]
