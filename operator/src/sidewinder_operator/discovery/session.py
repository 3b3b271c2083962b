"""One client's side of the discovery protocol, without I/O: messages and pictures in, lines out. Driven by `server`.

1. One transaction is outstanding at a time. The next one is the difference between what is wanted *now* and what was
   *acknowledged*, so a slow client skips states and never mixes them.
2. A client's first transaction is sent even when it changes nothing: the empty commit whose ack proves what it has.
3. A state that was refused is never sent again until what is wanted changes. The changes of a refused transaction are
   tried by object: the one that the client names is set aside, else they are halved, until what is refused stands
   alone. Everything else gets through: one bad object blocks nothing.
4. What was set aside is tried once more after anything else has got through, since it may have needed that.
5. A picture that comes meanwhile waits for the answer, and for the end of a search as in 3, which is bounded: else a
   stream of changes could keep the search from ever ending.
6. What the client wants beyond its picture is handed to `widen`: what is there comes as a new picture, what is not is
   told with a lifetime.
7. Key sets that lack a key are handed to `doubted`: whoever fetches them decides whether it is time to.
8. What the client finds out about endpoints (`health`) is kept as it tells it; `compile.probers` says what it counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from sidewinder_operator.discovery.store import Picture
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import checks, stream

UNKNOWN_SECONDS = 30.0  # how long a client need not ask again for what is not there
# Of one client: what it was given, and as many again that were taken from it meanwhile.
MOST_VERDICTS = 2 * checks.MOST_CHECKS
MISSED_PINGS = 3  # unanswered ones after which a client counts as gone (`operator.md`)


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """An object that the client refuses: the versions it refused, and why."""

    versions: Mapping[str, str]  # of the object's resources in the transaction; "" for one that is to go
    resource: str
    field: str
    why: str


class Outstanding(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that is not answered yet. `objects`: whose changes it carries."""

    number: int
    state: str
    versions: Mapping[str, str]
    objects: tuple[str, ...]


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equality; of what was acknowledged as it was sent, without looking inside."""
    return one is other or one == other


def _learned(health: Mapping[str, bool], news: Mapping[str, bool | None]) -> Mapping[str, bool]:
    """What is known of endpoints, with what is new. Raises stream.Malformed for more than any client was given."""
    learned = {name: verdict for name, verdict in {**health, **news}.items() if verdict is not None}
    if len(learned) > MOST_VERDICTS or any(len(name) > checks.LONGEST_KEY for name in news):
        raise stream.Malformed(f"health: more than {MOST_VERDICTS} endpoints, or a name that is too long")
    return learned


def _bounded(seen: Mapping[str, tuple[stream.Ejected, ...]]) -> Mapping[str, tuple[stream.Ejected, ...]]:
    """As it was told. Raises stream.Malformed for more than a client tells."""
    if len(seen) > stream.MOST_EJECTED or sum(map(len, seen.values())) > stream.MOST_EJECTED:
        raise stream.Malformed(f"seen: more than {stream.MOST_EJECTED} endpoints")
    return seen


class Session:
    """The state of one stream. `receive` and `want` take in, `lines` gives what is to be written now. `widen`
    takes keys of what the picture should hold as well, and returns those that name nothing. `doubted` hears which of
    the client's resources may be out of date."""

    def __init__(
        self,
        widen: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda keys: keys,
        doubted: Callable[[tuple[str, ...]], None] = lambda names: None,
    ) -> None:
        self._widen = widen
        self._doubted = doubted
        # what the client told
        self.hello: stream.Hello | None = None
        self.has: Mapping[str, str] = {}  # acknowledged; before the first ack, what it said it has
        self.confirmed = False  # it has acknowledged `has` on this stream
        self.seen: Mapping[str, tuple[stream.Ejected, ...]] = {}  # which endpoints it leaves alone, by backend
        self.released = 0
        self.trusts = stream.Trusts(())
        self.health: Mapping[str, bool] = {}  # endpoint → well or not; never changed, but replaced
        # what it should have
        self.newest: Picture | None = None
        self.wanted: Picture | None = None  # what is being sent: `newest`, or the one before until rule 5 lets go
        self._before: Picture | None = None
        self._difference: dict[str, list[str]] | None = None  # between `wanted` and `has`, once it was asked for
        # the transaction under way, and what is still to be tried: groups of objects
        self.outstanding: Outstanding | None = None
        self._number = 0
        self._untried: deque[tuple[str, ...]] = deque()
        # what was refused
        self.rejections: dict[str, Rejection] = {}  # object → why
        self._refused: dict[str, stream.Nack] = {}  # state → the answer, since `wanted` last changed
        self._gained = False  # something got through since the rejected were last tried
        self._lagging = False  # the client knows more than this replica, and leaves
        # the pod goes, and nobody sends it anything new
        self._acknowledged = 0
        self._retired = False
        # keeping alive
        self._answers: list[bytes] = []
        self._pings = 0
        self._unanswered = 0

    def __repr__(self) -> str:
        waits = f", waits for {self.outstanding.number}" if self.outstanding else ""
        return f"<Session {len(self.has)} resources{waits}, {len(self.rejections)} rejected>"

    @property
    def current(self) -> bool:
        """The client has acknowledged exactly what is wanted."""
        return self.confirmed and self.newest is not None and same(self.has, self.newest.versions)

    @property
    def open(self) -> tuple[Mapping[str, str], ...]:
        """What the client may hold besides what it has acknowledged: what it came with, what was sent and is not
        answered, and what a search is still to send of an older picture."""
        came = () if self.confirmed or self.hello is None else (self.has,)
        if self.wanted is None or (self.outstanding is None and not self._untried):
            return came
        return (*came, self.wanted.versions)

    # ── in ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def want(self, picture: Picture) -> None:
        """The newest picture. Where it differs, all may be tried again."""
        if self.newest is None or self.newest.state != picture.state:
            self._refused.clear()
        self.newest = picture

    def receive(self, message: stream.ToServer) -> None:
        """One message of the client. Raises stream.Malformed for one that has no place here."""
        if self.hello is None and not isinstance(message, stream.Greeting):
            raise stream.Malformed(f"the first message is a hello, not {type(message).__name__.lower()}")
        match message:
            case stream.Greeting(hello):
                self._greet(hello)
            case stream.Ack():
                self._on_ack(message)
            case stream.Nack():
                self._on_nack(message)
            case stream.Want(keys):
                if unknown := self._widen(keys):
                    self._answers.append(stream.encode(stream.Unknown(unknown, UNKNOWN_SECONDS)))
            case stream.Trusts():
                self.trusts = message
            case stream.Stale(names):
                if held := tuple(name for name in names if name in self.has):
                    self._doubted(held)
            case stream.Health(news):
                self.health = _learned(self.health, news)
            case stream.Seen(seen):
                self.seen = _bounded(seen)
            case stream.Released(released):
                self.released = released
            case stream.Ping(number):
                self._answers.append(stream.encode(stream.Pong(number)))
            case stream.Pong():
                self._unanswered = 0

    def retire(self) -> None:
        """All who knew this pod have acknowledged that it goes: told once a stream."""
        if not self._retired:
            self._retired = True
            self._answers.append(stream.encode(stream.Retired(self._acknowledged)))

    def tick(self) -> bool:
        """A ping's time has come; False when too many were not answered."""
        if self._unanswered >= MISSED_PINGS:
            return False
        self._pings += 1
        self._unanswered += 1
        self._answers.append(stream.encode(stream.Ping(self._pings)))
        return True

    # ── out ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def lines(self) -> list[bytes]:
        """What is to be written now."""
        answers, self._answers = self._answers, []
        if self.hello is None or self.newest is None or self.outstanding is not None or self._lagging:
            return answers
        if not self._untried or (following := self._next()) is None:
            self._adopt(self.newest)  # nothing new: nothing happens
            following = self._next()
        assert self.wanted is not None
        self.outstanding = following
        if following is not None:
            answers.extend(self._transaction(self.wanted, following))
            self._difference = None  # 5 KB, in each of two thousand sessions that wait for an answer
        return answers

    def _transaction(self, wanted: Picture, to: Outstanding) -> Iterator[bytes]:
        yield stream.encode(stream.Begin(to.number, to.state))
        names = sorted(name for names in self._changed().values() for name in names)
        for name in names:
            if name in to.versions and self.has.get(name) != to.versions[name]:
                yield wanted.resources[name].line
        for name in names:
            if name not in to.versions and name in self.has:
                yield stream.encode(stream.Drop(name))
        yield stream.encode(stream.Commit(to.number))

    # ── what to try next ──────────────────────────────────────────────────────────────────────────────────────────

    def _adopt(self, newest: Picture) -> None:
        """All that differs goes in one transaction; but what was rejected as it stands waits for the rest."""
        if self.wanted is not None and self.wanted.state == newest.state:
            self.wanted = newest  # the same content of a newer generation
            return
        self._before, self.wanted = self.wanted, newest
        self._difference = None
        for key, rejection in [*self.rejections.items()]:
            if rejection.versions != self._changes_of((key,)):
                del self.rejections[key]
        self._untried.append(tuple(key for key in self._changed() if key not in self.rejections))
        self._gained = True

    def _next(self) -> Outstanding | None:
        while True:
            while self._untried:
                objects = self._untried.popleft()
                if (found := self._transition(objects)) is not None:
                    return found
            if self._gained and self.rejections:
                self._gained = False
                self._untried.append(tuple(self.rejections))
            elif self.confirmed:
                return None
            else:
                return self._transition(())

    def _transition(self, objects: tuple[str, ...]) -> Outstanding | None:
        """The transaction of these objects' changes; None where it is known to be refused or changes nothing."""
        versions = self._merged(objects)
        if self.confirmed and same(versions, self.has):
            return None
        assert self.wanted is not None
        state = self.wanted.state if versions is self.wanted.versions else snapshot.state(versions)
        if (nack := self._refused.get(state)) is not None:
            self._search(objects, nack)
            return None
        self._number += 1
        return Outstanding(number=self._number, state=state, versions=versions, objects=objects)

    def _merged(self, objects: tuple[str, ...]) -> Mapping[str, str]:
        """What the client would have with these objects' changes alone."""
        assert self.wanted is not None
        changes = self._changes_of(objects)
        if len(changes) == sum(map(len, self._changed().values())):
            return self.wanted.versions
        versions = {**self.has, **changes}
        return {name: version for name, version in versions.items() if version}

    def _changed(self) -> dict[str, list[str]]:
        """Object → names of its resources that differ between what is wanted and what the client has."""
        if self._difference is None:
            wanted = self.wanted.versions if self.wanted is not None else {}
            self._difference = {}
            for name in sorted({name for name, _ in wanted.items() ^ self.has.items()}):
                self._difference.setdefault(self._object(name), []).append(name)
        return self._difference

    def _changes_of(self, objects: tuple[str, ...]) -> dict[str, str]:
        wanted = self.wanted.versions if self.wanted is not None else {}
        changed = self._changed()
        return {name: wanted.get(name, "") for key in objects for name in changed.get(key, ())}

    def _object(self, name: str) -> str:
        """What a resource stands and falls with: the object it comes from, else itself."""
        for picture in (self.wanted, self._before):
            if picture is not None and (encoded := picture.resources.get(name)) is not None:
                return encoded.of[0] if encoded.of is not None else name
        return name

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _greet(self, hello: stream.Hello) -> None:
        if self.hello is not None:
            raise stream.Malformed("a second hello")
        self.hello = hello
        self.has = hello.has
        self._difference = None

    def _answered(self, number: int, word: str) -> Outstanding:
        if self.outstanding is None or self.outstanding.number != number:
            waits = f"{self.outstanding.number} is" if self.outstanding else "nothing is"
            raise stream.Malformed(f"{word} of transaction {number}, but {waits} outstanding")
        answered, self.outstanding = self.outstanding, None
        return answered

    def _on_ack(self, ack: stream.Ack) -> None:
        answered = self._answered(ack.ack, "ack")
        if ack.state != answered.state:
            raise stream.Malformed(f"ack of transaction {ack.ack} for state {ack.state}, but {answered.state} was sent")
        self.has = answered.versions
        self._difference = None
        self.confirmed = True
        self._acknowledged = ack.ack
        self._gained = self._gained or bool(answered.objects)
        for key in answered.objects:
            self.rejections.pop(key, None)
        if self.wanted is not None and same(self.has, self.wanted.versions):
            self._before = None  # it has nothing of it any more

    def _on_nack(self, nack: stream.Nack) -> None:
        answered = self._answered(nack.nack, "nack")
        if nack.why == stream.LAGGING:  # nothing is wrong with what was sent: another replica knows more
            self._lagging = True
            return
        self._refused[answered.state] = nack
        self._search(answered.objects, nack)

    def _search(self, objects: tuple[str, ...], nack: stream.Nack) -> None:
        """These objects' changes were refused together: which of them is to blame?"""
        named = self._object(nack.resource) if nack.resource else ""
        if named not in objects and len(objects) > 1:
            half = len(objects) // 2
            self._untried.extendleft((objects[half:], objects[:half]))
            return
        blamed = named if named in objects else next(iter(objects), "")
        if not blamed:  # even what it has is refused: nothing that was sent is at fault
            return
        self.rejections[blamed] = Rejection(
            versions=self._changes_of((blamed,)), resource=nack.resource, field=nack.field, why=nack.why
        )
        if rest := tuple(key for key in objects if key != blamed):
            self._untried.appendleft(rest)
