"""What replicas of the operator tell each other about their streams: one JSON object a line (`GET /acks`).

Every proxy's picture holds something of its own, so no two proxies have the same. A proxy's line therefore says only in
what it differs from what was told of it before on this stream, or, the first time, from what was told of a similar one.
Called by `feed`, which writes lines, and `peers`, which reads them. What a newer replica adds is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec

from sidewinder_operator.discovery.acks import Having, Maybe
from sidewinder_operator.discovery.contents import is_shared
from sidewinder_operator.discovery.session import Rejection
from sidewinder_sidecar.snapshot import stream

_NOTHING, _CLOSED = Having(), Maybe()
MOST_PODS = 50_000  # of one replica: ten times what a replica was measured with


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pod and what its sidecar has; or a pod whose stream has ended; or the end of the first picture; or a ping; or a
    pod and what its sidecar may hold besides; or pods that are sworn off."""

    pod: str = ""
    epoch: int = 0  # of `pod` and `gone`
    like: str = ""  # the pod from whose versions, as told last, this one differs by `has`; empty: from none at all
    has: Mapping[str, str] = {}  # resource → version; "" for one that it lacks
    refuses: Mapping[str, Rejection] = {}
    # As told last where they are None.
    build: str | None = None
    wants: tuple[str, ...] | None = None
    trusts: tuple[str, ...] | None = None
    renewed: bool | None = None
    until: int | None = None
    health: Mapping[str, bool] | None = None
    ejected: Mapping[str, tuple[stream.Ejected, ...]] | None = None
    gone: str = ""
    open: str = ""  # the pod of `may`, with `epoch`
    # Of the endpoints alone: what else there is names nobody. Each as it differs from the one before on this stream.
    may: tuple[Mapping[str, str], ...] = ()
    sworn: tuple[str, ...] = ()  # pods that are named no more
    over: tuple[str, ...] = ()  # those of them that are no more
    synced: bool = False
    ping: int = 0


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Line)
SYNCED = _ENCODER.encode(Line(synced=True)) + b"\n"


def ping(number: int) -> bytes:
    """A sign of life."""
    return _ENCODER.encode(Line(ping=number)) + b"\n"


class Writing:
    """One stream's lines out of what is known."""

    def __init__(self) -> None:
        self._told: dict[str, Having] = {}
        self._example: dict[str, str] = {}  # of a kind of pods: the last one that was told
        self._open: dict[str, Maybe] = {}
        self._may: Mapping[str, str] = {}  # the last one that was told, of any pod
        self._sworn: frozenset[str] = frozenset()

    def knows(self, pod: str) -> bool:
        """Whether it was told what this pod has."""
        return pod in self._told

    def open(self, pod: str, maybe: Maybe | None) -> bytes:
        """What is left open of a pod, after what it has; nothing where that is no news."""
        maybe = maybe or _CLOSED
        if self._open.get(pod, _CLOSED) is maybe:
            return b""
        if maybe.versions:
            self._open[pod] = maybe
        else:
            self._open.pop(pod)
        may = tuple(map(self._differing, maybe.versions))
        return _ENCODER.encode(Line(open=pod, epoch=maybe.epoch, may=may)) + b"\n"

    def _differing(self, versions: Mapping[str, str]) -> Mapping[str, str]:
        before, self._may = self._may, {name: versions[name] for name in versions if is_shared(name)}
        return _difference(before, self._may)

    def sworn(self, pods: Collection[str]) -> bytes:
        """These are sworn off, and nobody else; nothing where that is no news."""
        before, self._sworn = self._sworn, frozenset(pods)
        if before == self._sworn:
            return b""
        return _ENCODER.encode(Line(sworn=tuple(self._sworn - before), over=tuple(before - self._sworn))) + b"\n"

    def line(self, pod: str, having: Having | None, kind: str = "") -> bytes:
        """What is new of a pod; None: its stream has ended. `kind`: pods of one kind have much in common."""
        if having is None:
            self._told.pop(pod, None)
            return _ENCODER.encode(Line(gone=pod)) + b"\n"
        like = pod if pod in self._told else self._example.get(kind, "")
        before = self._told.get(like)
        last = self._told.get(pod, _NOTHING)
        self._told[pod] = having
        self._example[kind] = pod
        told = Line(
            pod=pod,
            epoch=having.epoch,
            like=like if before is not None else "",
            has=_difference(before.versions if before is not None else {}, having.versions),
            refuses=having.rejections,
            build=having.build if having.build != last.build else None,
            wants=having.wants if having.wants != last.wants else None,
            trusts=having.trusts if having.trusts != last.trusts else None,
            renewed=having.renewed if having.renewed != last.renewed else None,
            until=having.until if having.until != last.until else None,
            health=having.health if having.health != last.health else None,
            ejected=having.ejected if having.ejected != last.ejected else None,
        )
        return _ENCODER.encode(told) + b"\n"


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    if before is now:
        return {}
    return {name: now.get(name, "") for name, _ in before.items() ^ now.items()}


class Reading:
    """One stream's lines into what they say. `wanted` is what a pod should have: mostly it has just that."""

    def __init__(self, wanted: Callable[[str], Mapping[str, str]] = lambda pod: {}) -> None:
        self.pods: dict[str, Having] = {}
        self.open: dict[str, Maybe] = {}  # told since it was last taken, like those that follow
        self.sworn: set[str] = set()
        self.over: set[str] = set()
        self.synced = False
        self._may: Mapping[str, str] = {}
        self._wanted = wanted

    def read(self, raw: bytes) -> tuple[str, Having | None] | None:
        """A pod and what it has now (None: its stream has ended); None for other lines. Raises stream.Malformed."""
        try:
            line = _DECODER.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            raise stream.Malformed(f"not a line about proxies: {fault}") from None
        if line.pod:
            return line.pod, self._put(line)
        if line.gone:
            self.pods.pop(line.gone, None)
            return line.gone, None
        if line.open:
            self.open[line.open] = Maybe(epoch=line.epoch, versions=tuple(map(self._next_may, line.may)))
        self.sworn = (self.sworn | set(line.sworn)) - set(line.over)
        self.over = (self.over | set(line.over)) - set(line.sworn)
        if max(len(self.open), len(self.sworn), len(self.over)) > MOST_PODS:
            raise stream.Malformed(f"more than {MOST_PODS} proxies")
        self.synced = self.synced or line.synced
        return None

    def rest(self) -> tuple[dict[str, Maybe], set[str], set[str]]:
        """What is open, whom it has sworn off and whom it need not any more, since this was last asked."""
        told = self.open, self.sworn, self.over
        self.open, self.sworn, self.over = {}, set(), set()
        return told

    def _next_may(self, differing: Mapping[str, str]) -> Mapping[str, str]:
        self._may = _changed(self._may, differing)
        return self._may

    def _put(self, line: Line) -> Having:
        if line.pod not in self.pods and len(self.pods) >= MOST_PODS:
            raise stream.Malformed(f"more than {MOST_PODS} proxies")
        last = self.pods.get(line.pod, _NOTHING)
        having = Having(
            epoch=line.epoch,
            versions=self._versions(line),
            rejections=line.refuses,
            build=line.build if line.build is not None else last.build,
            wants=line.wants if line.wants is not None else last.wants,
            trusts=line.trusts if line.trusts is not None else last.trusts,
            renewed=line.renewed if line.renewed is not None else last.renewed,
            until=line.until if line.until is not None else last.until,
            health=line.health if line.health is not None else last.health,
            ejected=line.ejected if line.ejected is not None else last.ejected,
        )
        self.pods[line.pod] = having
        return having

    def _versions(self, line: Line) -> Mapping[str, str]:
        base: Mapping[str, str] = {}
        if line.like:
            if line.like not in self.pods:
                raise stream.Malformed(f"{line.pod} is told to be like {line.like}, which was not told of")
            base = self.pods[line.like].versions
        if not line.has:
            return base
        versions, wanted = _changed(base, line.has), self._wanted(line.pod)
        return wanted if versions == wanted else versions  # one mapping for both, instead of one for every proxy


def _changed(before: Mapping[str, str], differing: Mapping[str, str]) -> Mapping[str, str]:
    """The same mapping where nothing differs: a crowd of proxies has one."""
    if not differing:
        return before
    return {name: version for name, version in {**before, **differing}.items() if version}
