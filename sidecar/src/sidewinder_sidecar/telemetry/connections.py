"""Counters of relayed connections, and their Prometheus text. Told by record.Recorder, once for each; part of Metrics.

Label sets are bounded as those of requests: past MAX_SERIES everything new is counted together as `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from sidewinder_sidecar.errors import TABLE
from sidewinder_sidecar.messages import Relayed

MAX_SERIES: Final = 1024  # 500 bytes each
OTHER: Final = "other"
LABELS: Final = ("listener", "protocol", "service", "backend")
# Seconds: a probe, a query, a session, a pooled connection. (Its type is said for the compiler, which loses it else.)
BOUNDS: Final[tuple[float, ...]] = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
Key: TypeAlias = tuple[str, str, str, str]


class Series:
    """What is counted of one (listener, protocol, service, backend)."""

    __slots__ = ("buckets", "bytes_in", "bytes_out", "errors", "retries", "seconds")

    def __init__(self) -> None:
        self.errors: dict[str, int] = {}
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.retries = 0


class Connections:
    """All that a process has relayed."""

    __slots__ = ("series",)

    def __init__(self) -> None:
        self.series: dict[Key, Series] = {}

    def observe(self, relayed: Relayed) -> None:
        """Count one that has ended."""
        key = (relayed.listener, relayed.protocol, relayed.service, relayed.backend)
        series = self.series.get(key)
        if series is None:
            if len(self.series) >= MAX_SERIES:
                key = (key[0], OTHER, OTHER, OTHER)
            series = self.series.setdefault(key, Series())
        series.errors[relayed.error] = series.errors.get(relayed.error, 0) + 1
        seconds = relayed.ended - relayed.started
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds
        series.bytes_in += relayed.bytes_in
        series.bytes_out += relayed.bytes_out
        series.retries += relayed.retries

    def render(self, labels: Callable[[dict[str, str]], str], number: Callable[[float], str]) -> Iterator[str]:
        """The exposition; `labels` and `number` are how Prometheus writes them."""
        found = [(dict(zip(LABELS, key, strict=True)), one) for key, one in self.series.items()]
        name = "sidewinder_tcp_connections_total"
        yield f"# HELP {name} Relayed connections that ended.\n# TYPE {name} counter\n"
        for names, one in found:
            for error, count in list(one.errors.items()):
                shown = names | {"flag": TABLE[error].flag if error else "", "error": error}
                yield f"{name}{labels(shown)} {count}\n"
        for name, meaning, read in _SUMS:
            yield f"# HELP {name} {meaning}\n# TYPE {name} counter\n"
            for names, one in found:
                yield f"{name}{labels(names)} {read(one)}\n"
        name = "sidewinder_tcp_connection_duration_seconds"
        yield f"# HELP {name} From a connection's arrival to its end.\n# TYPE {name} histogram\n"
        for names, one in found:
            total = 0
            for bound, count in zip((*map(number, BOUNDS), "+Inf"), one.buckets, strict=True):
                total += count
                yield f"{name}_bucket{labels(names | {'le': bound})} {total}\n"
            yield f"{name}_sum{labels(names)} {number(one.seconds)}\n{name}_count{labels(names)} {total}\n"


_SUMS: Final[tuple[tuple[str, str, Callable[[Series], int]], ...]] = (
    ("sidewinder_tcp_received_bytes_total", "Bytes from callers of relayed connections.", lambda one: one.bytes_in),
    ("sidewinder_tcp_sent_bytes_total", "Bytes to callers of relayed connections.", lambda one: one.bytes_out),
    ("sidewinder_tcp_connect_retries_total", "Endpoints that could not be connected to.", lambda one: one.retries),
)
