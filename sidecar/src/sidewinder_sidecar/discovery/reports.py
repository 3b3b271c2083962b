"""What this proxy sees of others, told to the operator as it changes: which endpoints it leaves alone.

`main` calls `tick` once a second, so that a storm of changes is one message a second; `stream` carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from sidewinder_sidecar.snapshot.stream import MOST_EJECTED, Ejected

Told: TypeAlias = dict[str, tuple[Ejected, ...]]
LONGEST_WHY = 256  # characters, as `stream.Ejected` has it


class Reports:
    """`look` gives what there is now, by backend, as `main.breakers.seen` says it."""

    def __init__(self, look: Callable[[], Mapping[str, list[dict[str, Any]]]]) -> None:
        self._look = look
        self._post: Callable[[Told], object] | None = None  # while there is a stream
        self._said: Told = {}

    def connect(self, post: Callable[[Told], object]) -> None:
        """A stream has begun, over which nothing was told yet."""
        self._post = post
        self._said = {}
        self.tick()

    def disconnect(self) -> None:
        """It has ended."""
        self._post = None

    def tick(self) -> None:
        """Tell what has changed, if anything."""
        if self._post is None:
            return
        told = shortened(self._look())
        if not _same(told, self._said) and self._post(told) is not False:  # else it is lost, and told once more
            self._said = told

    def __repr__(self) -> str:
        return f"<Reports {sum(map(len, self._said.values()))} ejected>"


def shortened(seen: Mapping[str, list[dict[str, Any]]]) -> Told:
    """As much as one message may say: the first ones by name."""
    told: Told = {}
    left = MOST_EJECTED
    for name, rows in sorted(seen.items()):
        some = tuple(_ejected(row) for row in rows[:left])
        if some:
            told[name] = some
        left -= len(some)
    return told


def _same(told: Told, said: Told) -> bool:
    """Times are of two clocks put together: a second more or less is no news."""
    return told.keys() == said.keys() and all(
        len(rows) == len(said[name]) and all(map(_alike, rows, said[name])) for name, rows in told.items()
    )


def _alike(one: Ejected, other: Ejected) -> bool:
    return (
        (one.endpoint, one.state, one.why) == (other.endpoint, other.state, other.why)
        and abs(one.since - other.since) <= 1
        and abs(one.until - other.until) <= 1
    )


def _ejected(row: Mapping[str, Any]) -> Ejected:
    return Ejected(
        endpoint=row["endpoint"],
        state="open" if row["state"] == "open" else "half-open",
        since=round(row["since"]),
        until=round(row["until"]),
        why=row["why"][:LONGEST_WHY],
    )
