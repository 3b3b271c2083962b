"""What replicas of the operator tell each other about their streams: one JSON object a line (`GET /acks`).

Every proxy's picture holds something of its own, so no two proxies have the same. A proxy's line therefore says only in
what it differs from what was told of it before on this stream, or, the first time, from what was told of a similar one.
Called by `feed`, which writes lines, and `peers`, which reads them. What a newer replica adds is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from sidewinder_operator.discovery.acks import Having
from sidewinder_operator.discovery.session import Rejection
from sidewinder_sidecar.snapshot import stream

_NOTHING = Having()
MOST_PODS = 50_000  # of one replica: ten times what a replica was measured with


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pod and what its sidecar has; or a pod whose stream has ended; or the end of the first picture; or a ping."""

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
        self.synced = False
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
        self.synced = self.synced or line.synced
        return None

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
        versions = dict(base)
        for name, version in line.has.items():
            if version:
                versions[name] = version
            else:
                versions.pop(name, None)
        wanted = self._wanted(line.pod)
        return wanted if versions == wanted else versions  # one mapping for both, instead of one for every proxy
