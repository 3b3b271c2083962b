"""The chaos run's table, on the terminal and in docs/chaos.md. Called by `__main__`; calls nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.chaos.run import Result

BEGIN, END = "<!-- the table: written by `make chaos` -->", "<!-- end of the table -->"
COLUMNS = (
    "fault", "sent", "failed", "retried", "p99 before", "in it", "after it", "recovered", "memory", "notes",
)  # fmt: skip


def row(result: Result) -> tuple[str, ...]:
    """One line's cells."""
    share = f" ({100 * result.failed / result.sent:.1f} %)" if result.failed else ""
    times = (f"{1000 * seconds:.0f} ms" for seconds in (result.before, result.during, result.after))
    lost = [f"lost: {result.lost}"] if result.failed and result.lost else []
    first, most = result.memory
    return (
        result.name, str(result.sent), f"{result.failed}{share}", str(result.retried), *times,
        f"{result.recovered:.1f} s" if result.recovered else "at once", f"{first:.0f} → {most:.0f} MB",
        "; ".join([*lost, *result.notes]),
    )  # fmt: skip


def table(results: Sequence[Result], without: Sequence[tuple[str, str]] = ()) -> str:
    """In Markdown. `without`: those that have no figures, and why."""
    lines = [COLUMNS, tuple("---" if n in (0, 9) else "--:" for n in range(len(COLUMNS)))]
    lines += [row(result) for result in results]
    lines += [(name, *[""] * 8, " ".join(why.split())) for name, why in without]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def within(page: str, made: str) -> str:
    """The page with this table in the place of the one that it had. Raises ValueError for a page without a place."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no place for the table, between {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def renewed(old: str, made: str) -> str:
    """A table with the rows of another one in the places of those of the same name; where it has none, the other."""
    news = {line.split(" | ")[0]: line for line in made.splitlines()}
    lines = [news.pop(line.split(" | ")[0], line) for line in old.strip().splitlines()]
    return "\n".join([*lines, *news.values()])


def standing(page: str) -> str:
    """The table that a page has."""
    return page.partition(BEGIN)[2].partition(END)[0].strip()


def plain(made: str) -> str:
    """For a terminal: the columns aligned, without Markdown's marks."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in made.splitlines()]
    rows = [cells for cells in rows if not re.fullmatch(r"-+:?", cells[0])]
    widths = [max(len(cells[n]) for cells in rows if n < len(cells)) for n in range(len(COLUMNS) - 1)]
    return "\n".join("  ".join(map(str.ljust, cells, (*widths, 0))).rstrip() for cells in rows)
