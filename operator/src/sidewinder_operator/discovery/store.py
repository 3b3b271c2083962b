"""The newest picture per workload, encoded once: written by reconcile, read by sessions and acks.

A picture is made of layers (`compile.project`), which workloads share: a resource is one `Line` in memory, already as
the stream carries it, and a workload whose layers are the ones it had costs nothing. What differs wakes those who wait
for that workload. What a workload has wanted is kept here as long as its stream lives, and served once it exists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec

from sidewinder_operator.compile.project import Encoded, Layer
from sidewinder_operator.discovery.contents import PROXY, Contents
from sidewinder_operator.problems import Reference
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import stream

Of: TypeAlias = tuple[str, int] | None  # uid and generation of the object that a resource comes from
_Version: TypeAlias = tuple[str, str, Of]  # what one line is made for

MOST_WANTS = 4096  # of one workload: it knows its own namespace, so this is what it calls elsewhere
MOST_HOPES = 256  # of one workload, which may call any number of strangers; a client asks again anyway
LONGEST_WANT = 320  # a host name of 253 characters, its port, and `service/` with the longest names


class Line(msgspec.Struct, frozen=True, gc=False):
    """One version of one resource as the stream carries it.

    `sources`: the objects whose status waits for it. `ready`: of endpoints, the uids that new requests may go to.
    """

    version: str
    line: bytes
    of: Of
    sources: tuple[Reference, ...]
    ready: frozenset[str] = frozenset()


class Lines(Mapping[str, Line]):
    """The lines of several layers as one: the later ones hold. A dictionary of each picture would be 3 KB more."""

    __slots__ = ("_layers",)

    def __init__(self, layers: Sequence[Mapping[str, Line]]) -> None:
        self._layers = tuple(reversed(layers))

    def __getitem__(self, name: str) -> Line:
        for layer in self._layers:
            if (found := layer.get(name)) is not None:
                return found
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter({name: None for layer in reversed(self._layers) for name in layer})

    def __len__(self) -> int:
        return len(set().union(*self._layers))


class Picture(msgspec.Struct, frozen=True, gc=False):
    """All that one workload should have, and the hash that names it."""

    resources: Mapping[str, Line]
    versions: Mapping[str, str]
    state: str

    def __repr__(self) -> str:
        return f"<Picture {self.state}: {len(self.resources)} resources>"


class Projection(Protocol):
    """What pictures are made from (`compile.project.Projector`)."""

    def identities(self) -> tuple[str, ...]:
        """Every workload that has a proxy of ours."""

    def layers(self, identity: str, wants: Iterable[str] = ()) -> tuple[Layer, ...]:
        """What it should have: the same layer is the same object."""

    def find(self, identity: str, key: str) -> tuple[str, ...]:
        """The ports that it means by a key; () is unknown."""

    def settle(self) -> None:
        """All layers were asked for."""


class Sheet:
    """A layer as lines, and who has it."""

    __slots__ = ("layer", "lines", "sources", "users", "versions")

    def __init__(self, layer: Layer, lines: dict[str, Line]) -> None:
        self.layer = layer  # kept, so that its identity is nobody else's
        self.lines = lines
        self.versions = {name: line.version for name, line in lines.items()}
        self.users: set[str] = set()
        self.sources: dict[Reference, dict[str, str]] = {}  # object → its resources here, with their versions
        for name, line in lines.items():
            for source in line.sources:
                self.sources.setdefault(source, {})[name] = line.version


class Store:
    """Workload → picture, and who wants to know when it changes."""

    def __init__(self) -> None:
        self.pictures: dict[str, Picture] = {}
        self.contents = Contents()  # of every version that is sent
        self.leaving: set[str] = set()  # whose pods go: no picture names them as ready any more
        self._projection: Projection = _Fixed({})
        # what pictures are made of
        self._shared: dict[_Version, Line] = {}
        self._uses: Counter[_Version] = Counter()  # sheets that hold the line
        self._made: dict[str, tuple[Layer, ...]] = {}
        self._sheets: dict[int, Sheet] = {}  # by the layer's id
        self._by_source: dict[Reference, list[Sheet]] = {}
        # who asked for what, and who waits
        self._wants: dict[str, dict[str, None]] = {}  # what was there when it was asked for
        self._hopes: dict[str, dict[str, None]] = {}  # what was not, the newest last
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        self._watching: list[Callable[[], None]] = []

    # ── what should be ────────────────────────────────────────────────────────────────────────────────────────────

    def show(self, projection: Projection) -> list[str]:
        """Makes it all there is; returns the workloads whose picture changed or went away."""
        self._projection = projection
        identities = projection.identities()
        changed = sorted(self.pictures.keys() - set(identities))
        for workload in changed:
            self._drop(workload)
        changed += [workload for workload in identities if self._paint(workload)]
        projection.settle()
        self._wake(changed)
        return changed

    def publish(self, snapshots: Mapping[str, Mapping[str, Encoded]]) -> list[str]:
        """The same for pictures that are at hand."""
        return self.show(_Fixed(snapshots))

    def needing(self, source: Reference) -> dict[str, Mapping[str, str]]:
        """The workloads that an object reaches, and what of it each should have: names and versions."""
        found: dict[str, Mapping[str, str]] = {}
        for sheet in self._by_source.get(source, ()):
            names = sheet.sources[source]
            for workload in sheet.users:
                had = found.get(workload)
                found[workload] = names if had is None else {**had, **names}
        return found

    # ── what is asked for beyond that ─────────────────────────────────────────────────────────────────────────────

    def want(self, workload: str, keys: Iterable[str]) -> tuple[str, ...]:
        """A workload asks for what it does not know; its picture grows by it at once. Returns what is unknown here.

        The newest of what is unknown is remembered, too: it comes when it comes into being.
        """
        hopes = self._hopes.setdefault(workload, {})
        asked = tuple(dict.fromkeys(keys))
        for key in asked:
            if len(key) <= LONGEST_WANT:
                hopes.pop(key, None)
                hopes[key] = None
        if workload in self.pictures and self._paint(workload):
            self._wake([workload])
        wants = self._wants.get(workload, {})
        unknown = tuple(key for key in asked if key not in wants or not self._projection.find(workload, key))
        while len(hopes) > MOST_HOPES:
            del hopes[next(iter(hopes))]
        return unknown

    def restore(self, workload: str, has: Iterable[str]) -> None:
        """A workload came back with these resources: what it had wanted elsewhere, it wants again."""
        picture = self.pictures.get(workload)
        held = picture.resources if picture is not None else {}
        elsewhere = (name for name in has if name.startswith("service/") and name.count("/") > 1)
        if missing := [name for name in elsewhere if name not in held]:
            self.want(workload, missing)

    def forget(self, workload: str) -> None:
        """Its stream has ended: nobody waits for what it wanted."""
        self._hopes.pop(workload, None)
        if self._wants.pop(workload, None) and workload in self.pictures and self._paint(workload):
            self._wake([workload])

    def wants(self, workload: str) -> tuple[str, ...]:
        """What it asked for and was there."""
        return tuple(self._wants.get(workload, ()))

    def adopt(self, workload: str, keys: tuple[str, ...]) -> None:
        """It has asked another replica for exactly this."""
        if keys != self.wants(workload):
            self._wants[workload] = dict.fromkeys(keys[:MOST_WANTS])
            self.want(workload, ())

    def is_kept(self, workload: str) -> bool:
        """Whether it leaves, and endpoints name it as ready all the same: the last resort of a Service."""
        picture = self.pictures.get(workload)
        return picture is not None and self.contents.is_kept(picture.versions.get(PROXY))

    # ── who waits ─────────────────────────────────────────────────────────────────────────────────────────────────

    def watch(self, wake: Callable[[], None], workload: str | None = None) -> Callable[[], None]:
        """Calls `wake` whenever `workload`'s picture (or, without one, anything) was published; returns how to stop."""
        group = self._watching if workload is None else self._waiting.setdefault(workload, [])
        group.append(wake)

        def stop() -> None:
            group.remove(wake)
            if workload is not None and not group and self._waiting.get(workload) is group:
                del self._waiting[workload]

        return stop

    def _wake(self, changed: Iterable[str]) -> None:
        for wake in [wake for workload in changed for wake in self._waiting.get(workload, ())] + self._watching:
            wake()

    # ── pictures ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _paint(self, workload: str) -> bool:
        """Makes a workload's picture anew where its layers are not the ones it had; whether its state changed."""
        layers = self._projection.layers(workload, self._wanted(workload))
        before = self._made.get(workload, ())
        if layers == before and workload in self.pictures:  # layers are compared by identity
            return False
        sheets = [self._sheet(layer) for layer in layers]
        for sheet in sheets:
            sheet.users.add(workload)
        self._made[workload] = layers
        for layer in set(before).difference(layers):
            self._release(layer, workload)
        old = self.pictures.get(workload)
        resources = Lines([sheet.lines for sheet in sheets])
        versions: Mapping[str, str] = {name: each for sheet in sheets for name, each in sheet.versions.items()}
        if old is not None and old.versions == versions:  # a new generation with equal content is no change of state
            if old.resources != resources:
                self.pictures[workload] = Picture(resources, old.versions, old.state)
            return False
        self.pictures[workload] = Picture(resources, versions, snapshot.state(versions))
        own = versions.get(PROXY)
        if self.contents.is_leaving(own) and not self.contents.is_kept(own):
            self.leaving.add(workload)
        else:
            self.leaving.discard(workload)
        return True

    def _wanted(self, workload: str) -> Iterable[str]:
        """The ports that it wants, with what of its hopes has come into being."""
        find = self._projection.find
        if hopes := self._hopes.get(workload):
            for key in [key for key in hopes if find(workload, key)]:
                del hopes[key]
                self._keep(workload, key)
        wants = self._wants.get(workload)
        return [port for key in wants for port in find(workload, key)] if wants else ()

    def _keep(self, workload: str, key: str) -> None:
        wants = self._wants.setdefault(workload, {})
        if len(wants) >= MOST_WANTS:  # what is gone makes room, then the oldest
            del wants[next((old for old in wants if not self._projection.find(workload, old)), next(iter(wants)))]
        wants[key] = None

    def _drop(self, workload: str) -> None:
        if workload not in self._waiting:  # else its stream lives, and it may come back
            self._wants.pop(workload, None)
            self._hopes.pop(workload, None)
        del self.pictures[workload]
        self.leaving.discard(workload)
        for layer in self._made.pop(workload):
            self._release(layer, workload)

    # ── layers ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _sheet(self, layer: Layer) -> Sheet:
        sheet = self._sheets.get(id(layer))
        if sheet is None:
            lines = {name: self._line(encoded) for name, encoded in layer.resources.items()}
            self._uses.update(map(_version, layer.resources.values()))
            sheet = self._sheets[id(layer)] = Sheet(layer, lines)
            for source in sheet.sources:
                self._by_source.setdefault(source, []).append(sheet)
        return sheet

    def _release(self, layer: Layer, workload: str) -> None:
        sheet = self._sheets[id(layer)]
        sheet.users.discard(workload)
        if sheet.users:
            return
        del self._sheets[id(layer)]
        for key in map(_version, layer.resources.values()):
            self._uses[key] -= 1
            if not self._uses[key]:
                del self._uses[key], self._shared[key]
        for source in sheet.sources:
            group = self._by_source[source]
            group.remove(sheet)
            if not group:
                del self._by_source[source]

    def _line(self, encoded: Encoded) -> Line:
        key = _version(encoded)
        line = self._shared.get(key)
        if line is None or line.sources != encoded.sources:
            body = msgspec.Raw(encoded.raw)
            sent = stream.encode(stream.Set(set=encoded.name, version=encoded.version, body=body, of=encoded.of))
            line = Line(encoded.version, sent, encoded.of, encoded.sources, encoded.ready)
            self._shared[key] = line
            self.contents.learn(encoded)
        return line


def _version(encoded: Encoded) -> _Version:
    return encoded.name, encoded.version, encoded.of


class _Fixed:
    """Pictures that are at hand, each a layer of its own."""

    def __init__(self, snapshots: Mapping[str, Mapping[str, Encoded]]) -> None:
        self._layers = {workload: (Layer(resources),) for workload, resources in snapshots.items()}

    def identities(self) -> tuple[str, ...]:
        return tuple(self._layers)

    def layers(self, identity: str, wants: Iterable[str] = ()) -> tuple[Layer, ...]:
        return self._layers[identity]

    def find(self, identity: str, key: str) -> tuple[str, ...]:
        return ()

    def settle(self) -> None:
        pass
