"""Sidewinder beside Envoy, nginx and HAProxy: the same work, one worker each, in one run. `make bench` calls this.

What counts is the ratio within one run, as CPU per request and memory after the run; absolute times of a shared machine
mean little. Rounds are interleaved, so that a slow minute of the machine hits every subject.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import report
import subjects
from measure import Round
from scenarios import SCENARIOS, Scenario

HERE = Path(__file__).parent


def main() -> int:
    """Run the scenarios asked for; write rows as JSON, and the table when all of them ran."""
    options = arguments()
    chosen = [SCENARIOS[name] for name in options.only]
    missing = subjects.missing()
    if missing:
        print("not installed: " + ", ".join(missing) + " (make bench installs them as root on Debian)", file=sys.stderr)
        return 2
    rows: list[dict[str, object]] = []
    for scenario in chosen:
        rows += run(scenario, options.rounds, options.subjects)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{report.machine()}\n\n{report.table(rows)}")
    if options.keep:
        report.keep(HERE / "README.md", rows)
    return 0


def arguments() -> argparse.Namespace:
    """The command line; wrong names are refused with the right ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=names(SCENARIOS), default=list(SCENARIOS), metavar="A,B")
    parser.add_argument("--subjects", type=names(subjects.SUBJECTS), default=list(subjects.SUBJECTS), metavar="A,B")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--keep", action="store_true", help="keep the table in benchmarks/README.md")
    return parser.parse_args()


def names(known: dict[str, object]):  # type: ignore[no-untyped-def]
    """A comma-separated list of known names; empty is all."""

    def parse(text: str) -> list[str]:
        asked = [name for name in text.split(",") if name] or list(known)
        if unknown := [name for name in asked if name not in known]:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {', '.join(known)}")
        return asked

    return parse


def run(scenario: Scenario, rounds: int, chosen: list[str]) -> list[dict[str, object]]:
    """Every subject in turn, `rounds` times, each round after the same warm-up."""
    chosen = [name for name in chosen if name in scenario.subjects]
    results: dict[str, list[Round]] = {name: [] for name in chosen}
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, subjects.backends(Path(folder)):
        running = {name: subjects.start(name, scenario.kind, Path(folder)) for name in chosen}
        try:
            for subject in running.values():
                scenario.load(subject.url, subject.processes, 0.5)
            for number in range(rounds):
                for name, subject in running.items():
                    results[name].append(scenario.load(subject.url, subject.processes, scenario.seconds))
                    memory[name] = results[name][-1].memory_mb
                    print(f"{scenario.name:12} {number + 1}/{rounds} {name:11} {results[name][-1]}", flush=True)
        finally:
            for subject in running.values():
                subject.stop()
    return [row(scenario.name, name, results[name], memory[name]) for name in chosen]


def row(scenario: str, subject: str, results: list[Round], memory: float) -> dict[str, object]:
    """Medians over the rounds; the CPU of each round, so that the spread is seen."""
    return {
        "scenario": scenario,
        "subject": subject,
        "cpu_us_per_request": round(statistics.median(r.cpu_us for r in results), 1),
        "memory_mb": round(memory, 1),
        "p50_ms": round(statistics.median(r.p50_ms for r in results), 3),
        "p99_ms": round(statistics.median(r.p99_ms for r in results), 3),
        "rounds": [round(r.cpu_us, 1) for r in results],
    }


if __name__ == "__main__":
    sys.exit(main())
