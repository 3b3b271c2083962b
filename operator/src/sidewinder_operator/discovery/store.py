"""The newest snapshot per workload, encoded once: written by reconcile, read by sessions and acks.

A resource that many workloads share is one `Line` in memory, already as the stream carries it. Publishing what is there
already does nothing; what differs wakes those who wait for that workload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias
from weakref import WeakValueDictionary

import msgspec

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.problems import Reference
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import stream

Of: TypeAlias = tuple[str, int] | None  # uid and generation of the object that a resource comes from


class Line(msgspec.Struct, frozen=True, weakref=True):
    """One version of one resource as the stream carries it. `sources`: the objects whose status waits for it."""

    version: str
    line: bytes
    of: Of
    sources: tuple[Reference, ...]


class Picture(msgspec.Struct, frozen=True):
    """All that one workload should have, and the hash that names it."""

    resources: Mapping[str, Line]
    versions: Mapping[str, str]
    state: str

    def __repr__(self) -> str:
        return f"<Picture {self.state}: {len(self.resources)} resources>"


def picture(resources: Mapping[str, Line]) -> Picture:
    """The picture that these resources make."""
    versions = {name: one.version for name, one in resources.items()}
    return Picture(resources, versions, snapshot.state(versions))


class Store:
    """Workload → picture, and who wants to know when it changes."""

    def __init__(self) -> None:
        self.pictures: dict[str, Picture] = {}
        self._shared: WeakValueDictionary[tuple[str, str, Of], Line] = WeakValueDictionary()
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._watching: list[Callable[[], None]] = []

    def publish(self, snapshots: Mapping[str, Mapping[str, Encoded]]) -> list[str]:
        """Makes `snapshots` all there is; returns the workloads whose picture changed or went away."""
        changed = [workload for workload in self.pictures if workload not in snapshots]
        for workload in changed:
            del self.pictures[workload]
        for workload, resources in snapshots.items():
            new = picture({name: self._line(encoded) for name, encoded in resources.items()})
            old = self.pictures.get(workload)
            if old is None or old.state != new.state:
                changed.append(workload)
            if (
                old is None or old.resources != new.resources
            ):  # a new generation with equal content is no change of state
                self.pictures[workload] = new
        for wake in [wake for workload in changed for wake in self._waiting.get(workload, ())] + self._watching:
            wake()
        return changed

    def watch(self, wake: Callable[[], None], workload: str | None = None) -> Callable[[], None]:
        """Calls `wake` whenever `workload`'s picture (or, without one, anything) was published; returns how to stop."""
        group = self._watching if workload is None else self._waiting.setdefault(workload, [])
        group.append(wake)

        def stop() -> None:
            group.remove(wake)
            if workload is not None and not group and self._waiting.get(workload) is group:
                del self._waiting[workload]

        return stop

    def _line(self, encoded: Encoded) -> Line:
        key = (encoded.name, encoded.version, encoded.of)
        line = self._shared.get(key)
        if line is None or line.sources != encoded.sources:
            body = msgspec.Raw(encoded.raw)
            sent = stream.encode(stream.Set(set=encoded.name, version=encoded.version, body=body, of=encoded.of))
            line = self._shared[key] = Line(encoded.version, sent, encoded.of, encoded.sources)
        return line
