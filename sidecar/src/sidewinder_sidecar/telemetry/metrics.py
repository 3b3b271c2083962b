"""Counters and histograms, and their Prometheus text. Told by record.Recorder; rendered by admin, never while serving.

Label sets are bounded: by the configuration, and past MAX_SERIES everything new is counted together as `other`. Gauges
are read when they are rendered, by functions that main registers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.messages import Call
from sidewinder_sidecar.telemetry.connections import Connections

MAX_SERIES: Final = 4096  # 600 bytes each; a scrape of all of them is 5 MB
MAX_OUTCOMES: Final = 64  # (status, error) pairs of one series; an upstream may invent statuses

# Seconds. A sidecar's own share is 0.1 ms, a local call 1 ms: two buckets below OpenTelemetry's first.
BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

OTHER: Final = "other"
LABELS: Final = ("listener", "route", "rule", "service", "backend")
Key: TypeAlias = tuple[str, str, str, str, str]
Sample: TypeAlias = tuple[dict[str, str], float]
Kind = Literal["counter", "gauge"]


class Series:
    """What is counted of one (listener, route, rule, service, backend)."""

    __slots__ = ("buckets", "bytes_in", "bytes_out", "outcomes", "retries", "seconds")

    def __init__(self) -> None:
        self.outcomes: dict[tuple[int, str], int] = {}
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.retries = 0


class Family(NamedTuple):
    """A metric that is read when rendered."""

    name: str
    kind: Kind
    meaning: str
    read: Callable[[], Iterable[Sample]]


class Metrics:
    """All that a process counts."""

    __slots__ = ("connections", "families", "series")

    def __init__(self) -> None:
        self.series: dict[Key, Series] = {}
        self.families: list[Family] = []
        self.connections = Connections()  # that were relayed

    def observe(self, call: Call) -> None:
        """Count a finished exchange."""
        route = call.route
        if route is None:
            key = (call.listener, "", "", call.service, call.backend)
        else:
            key = (call.listener, route.name, route.rule, call.service, call.backend)
        series = self.series.get(key)
        if series is None:
            series = self._new(key)
        outcome = (call.status, call.error)
        outcomes = series.outcomes
        if (count := outcomes.get(outcome)) is not None:
            outcomes[outcome] = count + 1
        else:
            _first(outcomes, outcome)
        seconds = call.ended - call.started
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds
        series.bytes_in += call.bytes_in
        series.bytes_out += call.bytes_out
        series.retries += call.retries

    def _new(self, key: Key) -> Series:
        if len(self.series) >= MAX_SERIES:
            key = (key[0], OTHER, OTHER, OTHER, OTHER)
        return self.series.setdefault(key, Series())

    def add(self, name: str, kind: Kind, meaning: str, read: Callable[[], float | Iterable[Sample]]) -> None:
        """Have `read` asked whenever the metric `sidewinder_<name>` is rendered."""

        def samples() -> Iterable[Sample]:
            found = read()
            return [({}, found)] if isinstance(found, int | float) else found

        self.families.append(
            Family(name if name.startswith("process_") else f"sidewinder_{name}", kind, meaning, samples)
        )

    def requests(self) -> int:
        """All exchanges so far."""
        return sum(sum(series.outcomes.values()) for series in self.series.values())

    def served(self, listeners: Collection[str]) -> int:
        """The exchanges of these listeners' so far."""
        return sum(sum(series.outcomes.values()) for key, series in self.series.items() if key[0] in listeners)

    def render(self) -> Iterator[str]:
        """The exposition in pieces, so that the loop can serve in between."""
        for family in self.families:
            lines = [f"# HELP {family.name} {family.meaning}\n# TYPE {family.name} {family.kind}\n"]
            lines += [f"{family.name}{labels(names)} {number(value)}\n" for names, value in family.read()]
            yield "".join(lines)
        series = [(dict(zip(LABELS, key, strict=True)), one) for key, one in self.series.items()]
        yield from _requests(series)
        for name, meaning, read in _SUMS:
            yield f"# HELP sidewinder_{name} {meaning}\n# TYPE sidewinder_{name} counter\n"
            for names, one in series:
                yield f"sidewinder_{name}{labels(names)} {read(one)}\n"
        yield from _durations(series)
        yield from self.connections.render(labels, number)


_SUMS: Final[tuple[tuple[str, str, Callable[[Series], int]], ...]] = (
    ("retries_total", "Tries beyond the first.", lambda series: series.retries),
    ("request_bytes_total", "Bytes of request bodies.", lambda series: series.bytes_in),
    ("response_bytes_total", "Bytes of response bodies.", lambda series: series.bytes_out),
)


def _first(outcomes: dict[tuple[int, str], int], outcome: tuple[int, str]) -> None:
    if len(outcomes) >= MAX_OUTCOMES:
        outcome = (0, OTHER)
    outcomes[outcome] = outcomes.get(outcome, 0) + 1


def _requests(series: list[tuple[dict[str, str], Series]]) -> Iterator[str]:
    yield "# HELP sidewinder_requests_total Exchanges that ended.\n# TYPE sidewinder_requests_total counter\n"
    for names, one in series:
        for (status, error), count in list(one.outcomes.items()):
            flag = TABLE[error].flag if error in TABLE else error
            shown = names | {"status": str(status), "flag": flag, "error": error}
            yield f"sidewinder_requests_total{labels(shown)} {count}\n"


def _durations(series: list[tuple[dict[str, str], Series]]) -> Iterator[str]:
    name = "sidewinder_request_duration_seconds"
    yield f"# HELP {name} From a request's head to the end of its answer.\n# TYPE {name} histogram\n"
    for names, one in series:
        inner = labels(names)[1:-1]
        lines, total = [], 0
        for bound, count in zip((*map(number, BOUNDS), "+Inf"), one.buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{{inner},le="{bound}"}} {total}\n')
        lines.append(f"{name}_sum{{{inner}}} {number(one.seconds)}\n{name}_count{{{inner}}} {total}\n")
        yield "".join(lines)


_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def labels(names: dict[str, str]) -> str:
    """`{name="value",…}`, or nothing."""
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in names.items()) + "}"


def number(value: float) -> str:
    """A value as Prometheus reads it."""
    return str(int(value)) if value == int(value) else repr(round(value, 9))
