"""The operator's metrics in Prometheus' text format: read from the parts when somebody asks, nothing is kept twice.

Filled by `process` with functions; `pages` serves the text. Only durations are observed when they happen.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

NAMES = "sidewinder_operator_"
# Seconds: a turn of a small cluster takes 1 ms; the goal is to be live everywhere within one.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Sample: TypeAlias = tuple[Mapping[str, str], float]


class Family(NamedTuple):
    """One metric: its name without the prefix, and who knows its values."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Callable[[], Iterable[Sample]]


class Histogram:
    """Durations in buckets."""

    def __init__(self, name: str, help_: str, bounds: tuple[float, ...] = SECONDS) -> None:
        self.name = name
        self.help = help_
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect.bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def lines(self) -> Iterable[str]:
        """As text."""
        name = NAMES + self.name
        yield from _head(name, "histogram", self.help)
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum}"
        yield f"{name}_count {total}"


class Metrics:
    """All of them, in the order in which they were added."""

    def __init__(self) -> None:
        self._families: list[Family] = []
        self._histograms: list[Histogram] = []

    def add(self, *families: Family) -> None:
        """Metrics whose values are asked for."""
        self._families.extend(families)

    def histogram(self, name: str, help_: str) -> Histogram:
        """A metric whose values are told."""
        self._histograms.append(Histogram(name, help_))
        return self._histograms[-1]

    def text(self) -> str:
        """What Prometheus reads."""
        lines: list[str] = []
        for family in self._families:
            name = NAMES + family.name
            lines.extend(_head(name, family.kind, family.help))
            lines.extend(f"{name}{_labels(labels)} {value:g}" for labels, value in family.samples())
        for histogram in self._histograms:
            lines.extend(histogram.lines())
        return "\n".join(lines) + "\n"


def one(value: Callable[[], float]) -> Callable[[], Iterable[Sample]]:
    """A metric without labels."""
    return lambda: (({}, value()),)


def by(label: str, values: Callable[[], Mapping[str, float]]) -> Callable[[], Iterable[Sample]]:
    """A metric with one label."""
    return lambda: [({label: name}, value) for name, value in values().items()]


def _head(name: str, kind: str, help_: str) -> tuple[str, str]:
    return f"# HELP {name} {help_}", f"# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
