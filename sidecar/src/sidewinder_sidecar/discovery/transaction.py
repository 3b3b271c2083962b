"""What a transaction would lead to, checked before anything is built. Pure: no I/O, time is an argument.

A version is the hash of the body as sent and a state the hash of all versions: what does not add up is refused whole,
and the held configuration stays what it was. A body's own faults name the resource and the field.
"""

from __future__ import annotations

import re
from collections.abc import Generator

import msgspec

from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import Resource
from sidewinder_sidecar.snapshot.stream import LAGGING, Begin, Commit, Drop, Malformed, Set

MAX_RESOURCES = 100_000  # ten times the largest mesh measured
MAX_BYTES = 128 << 20  # of one transaction's bodies; 10 000 routes are 20 MB
LAG_SECONDS = 30.0  # how long a lower generation is taken for a replica that lags, before it is believed

_PATH = re.compile(r" - at `\$?\.?(.*?)`$")


class Refusal(Exception):
    """A configuration that cannot be used; what is held serves on."""

    def __init__(self, resource: str, field: str, why: str) -> None:
        super().__init__(f"{resource or 'the whole'}{f' {field}' if field else ''}: {why}")
        self.resource = resource
        self.field = field
        self.why = why


class Held:
    """A configuration: what is served, or what would be. Its dicts are never changed once it is applied."""

    __slots__ = ("origins", "resources", "state", "versions")

    def __init__(
        self,
        resources: dict[str, Resource] | None = None,
        versions: dict[str, str] | None = None,
        origins: dict[str, tuple[str, int]] | None = None,
    ) -> None:
        self.resources = resources or {}
        self.versions = versions or {}
        self.origins = origins or {}  # name → uid and generation of the object it comes from
        self.state = snapshot.state(self.versions) if self.versions else ""

    def __repr__(self) -> str:
        return f"<Held {self.state} {len(self.versions)} resources>"


class Lag:
    """Which objects were offered older than they are held, and since when. Outlives streams: a replica may lag."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def judge(self, held: tuple[str, int] | None, offered: tuple[str, int] | None, now: float) -> bool:
        """Whether what is offered is to be refused for its age."""
        if held is None or offered is None or held[0] != offered[0] or offered[1] >= held[1]:
            if offered is not None:
                self.since.pop(offered[0], None)
            return False
        return now - self.since.setdefault(offered[0], now) < LAG_SECONDS


class Transaction:
    """From begin to commit. The first fault is kept and told at the commit; the rest of it is passed over."""

    __slots__ = ("_bytes", "_drops", "_fault", "_held", "_lag", "_next", "number", "state")

    def __init__(self, begin: Begin, held: Held, lag: Lag) -> None:
        self.number = begin.begin
        self.state = begin.state
        self._held = held
        self._lag = lag
        self._next = Held()
        self._next.resources = dict(held.resources)
        self._next.versions = dict(held.versions)
        self._next.origins = dict(held.origins)
        self._bytes = 0
        self._drops = False
        self._fault: Refusal | None = None

    def set(self, message: Set, now: float) -> None:
        """A resource's new body."""
        name, raw = message.set, bytes(message.body)
        self._bytes += len(raw)
        if self._fault is not None:
            return
        if self._bytes > MAX_BYTES or len(self._next.versions) >= MAX_RESOURCES:
            self._fault = Refusal(name, "", f"more than {MAX_BYTES >> 20} MB or {MAX_RESOURCES} resources at once")
        elif snapshot.version(raw) != message.version:
            self._fault = Refusal(name, "", f"the body's hash is not its version {message.version[:32]!r}")
        elif self._lag.judge(self._held.origins.get(name), message.of, now):
            self._fault = Refusal(name, "", LAGGING)
        else:
            self._take(name, raw, message)

    def _take(self, name: str, raw: bytes, message: Set) -> None:
        try:
            self._next.resources[name] = decode(name, raw)
        except Refusal as fault:
            self._fault = fault
            return
        self._next.versions[name] = message.version
        if message.of is not None:
            self._next.origins[name] = message.of
        else:
            self._next.origins.pop(name, None)

    def drop(self, message: Drop) -> None:
        """A resource is gone; one that was never there is gone already."""
        self._drops = True
        for held in (self._next.resources, self._next.versions, self._next.origins):
            held.pop(message.drop, None)

    def hashing(self) -> Generator[None, None, str]:
        """What the state will be, in steps: give the outcome to `commit`."""
        if self._drops:
            yield from self._close_ranks()
        return (yield from snapshot.hashing(self._next.versions))

    def _close_ranks(self) -> Generator[None, None, None]:
        """A dictionary with holes is copied entry by entry: the next transaction would begin with 10 ms of that."""
        now, tight = self._next, Held()
        for number, (name, version) in enumerate(now.versions.items(), 1):
            tight.versions[name], tight.resources[name] = version, now.resources[name]
            if (origin := now.origins.get(name)) is not None:
                tight.origins[name] = origin
            if number % snapshot.NAMES_AT_ONCE == 0:
                yield
        self._next = tight

    def commit(self, message: Commit, state: str = "") -> Held:
        """The whole. Raises Refusal for what cannot be used, Malformed for another transaction's number."""
        if message.commit != self.number:
            raise Malformed(f"commit {message.commit} within transaction {self.number}")
        if self._fault is not None:
            raise self._fault
        self._next.state = state or snapshot.state(self._next.versions)
        if self._next.state != self.state:
            raise Refusal("", "", f"this leads to state {self._next.state}, not to {self.state[:32]!r}")
        return self._next


def decode(name: str, raw: bytes) -> Resource:
    """A resource's body. Raises Refusal with field and reason."""
    try:
        return snapshot.decode(name, raw)
    except KeyError:
        kinds = ", ".join(snapshot.RESOURCES)
        raise Refusal(name, "", f"this kind of resource is not known here; known are {kinds}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        text = str(fault)
        found = _PATH.search(text)
        field = found[1] if found else ""
        raise Refusal(name, field, text[: found.start()] if found else text) from None
