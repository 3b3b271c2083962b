"""`make chaos`: every fault of the matrix, at length, one after the other; the table here and in docs/chaos.md.

Run as `python -m tests.chaos [part of a name …]`: with names, only these, and only their rows on the page are new. What
does harm on a machine that stood still meanwhile is run again: that says nothing of the mesh.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.chaos import report
from tests.chaos.matrix import CASES
from tests.chaos.network import NotRun
from tests.chaos.run import LONG, Result, patiently

PAGE = Path(__file__).parents[2] / "docs/chaos.md"


def main(names: list[str]) -> int:
    """How many faults did more harm than they may."""
    results: list[Result] = []
    without: list[tuple[str, str]] = []  # figures, and why
    broken = 0
    for case in CASES:
        if names and not any(name in case.name for name in names):
            continue
        print(f"{case.name} …", file=sys.stderr, flush=True)
        try:
            results.append(patiently(case, LONG))
        except NotRun as why:
            without.append((case.name, f"not run: {why}"))
        except AssertionError as why:  # the other faults are still worth their figures
            without.append((case.name, f"FAILED: {why}"))
            broken += 1
    made = report.table(results, without)
    print(report.plain(made))
    for result in results:
        for fault in result.faults:
            print(f"FAILED: {result.name}: {fault}")
    page = PAGE.read_text()
    PAGE.write_text(report.within(page, report.renewed(report.standing(page), made) if names else made))
    return broken + sum(bool(result.faults) for result in results)


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
