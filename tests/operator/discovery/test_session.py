"""The server's half of the protocol, against a model client that is slow, refuses things and loses its connection."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidewinder_operator.compile.project import Encoded
from sidewinder_operator.discovery.session import MISSED_PINGS, MOST_VERDICTS, UNKNOWN_SECONDS, Session
from sidewinder_operator.discovery.store import Picture, Store
from sidewinder_sidecar import snapshot
from sidewinder_sidecar.snapshot import stream
from tests.support.examples import examples

NAMES = ("route/a", "route/b", "service/a", "endpoints/a", "endpoints/b", "listener/in")
POISON = 9  # a value that the model client refuses


def picture(values: dict[str, int], objects: dict[str, str] | None = None) -> Picture:
    """A picture with a body of each value; `objects` says which object a resource comes from."""
    encoded = {}
    for name, value in values.items():
        raw = b'{"value":%d}' % value
        of = (objects[name], 1) if objects and name in objects else None
        encoded[name] = Encoded(name, snapshot.version(raw), raw, of, ())
    store = Store()
    store.publish({"w": encoded})
    return store.pictures["w"]


class Client:
    """A sidecar by the book: applies a transaction whole or not at all."""

    def __init__(self, *, naming: bool = True) -> None:
        self.naming = naming  # whether a refusal says which resource
        self.values: dict[str, int] = {}
        self.needs: dict[str, str] = {}  # resource → the one it cannot do without
        self.nacked: list[str] = []
        self.applied: list[str] = []
        self._open: stream.Begin | None = None
        self._draft: dict[str, int] = {}
        self._touched: list[str] = []

    @property
    def has(self) -> dict[str, str]:
        return {name: snapshot.version(b'{"value":%d}' % value) for name, value in self.values.items()}

    def hello(self) -> stream.Greeting:
        self._open = None
        return stream.Greeting(stream.Hello(has=self.has, state=snapshot.state(self.has)))

    def read(self, line: bytes) -> list[stream.ToServer]:
        match stream.to_client(line):
            case stream.Begin() as begin:
                assert self._open is None, "two transactions at once"
                self._open, self._draft, self._touched = begin, dict(self.values), []
            case stream.Set(name, version, body):
                assert self._open is not None
                assert version == snapshot.version(bytes(body))
                self._draft[name] = int(bytes(body).decode().removeprefix('{"value":').removesuffix("}"))
                self._touched.append(name)
            case stream.Drop(name):
                assert self._open is not None
                del self._draft[name]
            case stream.Commit(number):
                return [self._commit(number)]
            case stream.Ping(number):
                return [stream.Pong(number)]
        return []

    def _commit(self, number: int) -> stream.ToServer:
        begin, self._open = self._open, None
        assert begin is not None
        assert begin.begin == number
        before, values = self.values, self.values
        self.values = self._draft
        assert snapshot.state(self.has) == begin.state, "the state named is not what the transaction leads to"
        for name in sorted(self._draft):
            lacks = self.needs.get(name, name) not in self._draft
            if self._draft[name] == POISON or lacks:
                self.values = values
                assert begin.state not in self.nacked, "a refused state was sent again"
                self.nacked.append(begin.state)
                resource = name if self.naming else ""
                state = snapshot.state(self.has)
                return stream.Nack(nack=number, state=state, resource=resource, why="poison" if not lacks else "lacks")
        assert before is values
        self.applied.append(begin.state)
        return stream.Ack(number, begin.state)


def talk(session: Session, client: Client, *, greet: bool = True, limit: int = 200) -> int:
    """Carries messages until nobody has anything to say; returns how many lines it took."""
    to_server: deque[stream.ToServer] = deque([client.hello()] if greet else [])
    spoken = 0
    while spoken < limit:
        while to_server:
            session.receive(to_server.popleft())
        lines = session.lines()
        if not lines:
            return spoken
        for line in lines:
            spoken += 1
            to_server.extend(client.read(line))
    raise AssertionError(f"still talking after {limit} lines")


def test_first_transaction_brings_everything_and_is_acknowledged() -> None:
    session, client = Session(), Client()
    wanted = picture({"route/a": 1, "service/a": 2})
    session.want(wanted)
    talk(session, client)
    assert client.values == {"route/a": 1, "service/a": 2}
    assert session.current
    assert session.lines() == []


def test_nothing_is_sent_before_there_is_a_picture_or_a_hello() -> None:
    session = Session()
    session.want(picture({"route/a": 1}))
    assert session.lines() == []
    session = Session()
    session.receive(Client().hello())
    assert session.lines() == []
    assert not session.current


def test_a_client_that_has_it_all_gets_an_empty_commit() -> None:
    client = Client()
    client.values = {"route/a": 1}
    session = Session()
    session.want(picture({"route/a": 1}))
    session.receive(client.hello())
    kinds = [type(stream.to_client(line)) for line in session.lines()]
    assert kinds == [stream.Begin, stream.Commit]


def test_a_change_is_the_difference_and_drops_come_last() -> None:
    session, client = Session(), Client()
    session.want(picture({"route/a": 1, "route/b": 1, "service/a": 1}))
    talk(session, client)
    session.want(picture({"route/b": 1, "service/a": 2}))
    kinds = [type(stream.to_client(line)) for line in session.lines()]
    assert kinds == [stream.Begin, stream.Set, stream.Drop, stream.Commit]


def test_a_slow_client_skips_states() -> None:
    session, client = Session(), Client()
    session.want(picture({"route/a": 1}))
    session.receive(client.hello())
    first = session.lines()
    for value in (2, 3, 4):
        session.want(picture({"route/a": value}))
        assert session.lines() == [], "one transaction is outstanding"
    answers = [answer for line in first for answer in client.read(line)]
    for answer in answers:
        session.receive(answer)
    talk(session, client, greet=False)
    assert client.values == {"route/a": 4}
    assert len(client.applied) == 2


@pytest.mark.parametrize("naming", [True, False], ids=["named", "unnamed"])
def test_one_bad_object_blocks_nothing(naming: bool) -> None:
    session, client = Session(), Client(naming=naming)
    values = {f"route/r{number}": number % 7 for number in range(20)} | {"route/bad": POISON}
    session.want(picture(values))
    talk(session, client)
    assert client.values == {name: value for name, value in values.items() if value != POISON}
    assert [*session.rejections] == ["route/bad"]
    assert session.rejections["route/bad"].why == "poison"
    assert not session.current
    assert session.lines() == [], "nothing is sent again until the state differs"


def test_resources_of_one_object_stand_and_fall_together() -> None:
    session, client = Session(), Client()
    objects = {"route/a": "uid-1", "endpoints/a": "uid-1"}
    session.want(picture({"route/a": POISON, "endpoints/a": 1, "route/b": 1}, objects))
    talk(session, client)
    assert client.values == {"route/b": 1}
    assert [*session.rejections] == ["uid-1"]


def test_what_needs_another_that_came_later_is_tried_again() -> None:
    session, client = Session(), Client()
    client.needs = {"service/a": "route/b"}
    session.want(picture({"route/a": POISON, "service/a": 1, "route/b": 1}))
    talk(session, client)
    assert client.values == {"service/a": 1, "route/b": 1}
    assert [*session.rejections] == ["route/a"]


def test_a_rejected_object_gets_through_once_it_is_mended() -> None:
    session, client = Session(), Client()
    session.want(picture({"route/a": POISON, "route/b": 1}))
    talk(session, client)
    session.want(picture({"route/a": 2, "route/b": 1}))
    talk(session, client, greet=False)
    assert session.rejections == {}
    assert session.current
    assert client.values == {"route/a": 2, "route/b": 1}


def test_a_rejected_change_leaves_the_version_before() -> None:
    session, client = Session(), Client()
    session.want(picture({"route/a": 1, "route/b": 1}))
    talk(session, client)
    session.want(picture({"route/a": POISON, "route/b": 2}))
    talk(session, client, greet=False)
    assert client.values == {"route/a": 1, "route/b": 2}


def test_a_picture_that_comes_during_a_search_is_taken_up_at_its_end() -> None:
    session, client = Session(), Client(naming=False)
    session.want(picture({"route/a": POISON, "endpoints/a": 0}))
    session.receive(client.hello())
    first = session.lines()
    session.want(picture({}))
    for answer in [answer for line in first for answer in client.read(line)]:
        session.receive(answer)
    talk(session, client, greet=False)
    assert client.values == {}
    assert session.rejections == {}
    assert session.current


def test_what_a_search_is_still_to_send_of_an_older_picture_is_open() -> None:
    """Else a replica could swear a pod off and name it afterwards."""
    session, client = Session(), Client(naming=False)
    assert session.open == ()
    session.receive(client.hello())
    assert session.open == ({},), "what it came with"
    older, newer = picture({"route/a": POISON, "endpoints/a": 0}), picture({"endpoints/a": 1})
    session.want(older)
    for answer in [answer for line in session.lines() for answer in client.read(line)]:
        session.want(newer)
        session.receive(answer)
    assert session.outstanding is None
    assert older.versions in session.open
    talk(session, client, greet=False)
    assert session.open == ()


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([stream.Ack(1, "x")], "first message is a hello"),
        ([stream.Greeting(stream.Hello()), stream.Greeting(stream.Hello())], "second hello"),
        ([stream.Greeting(stream.Hello()), stream.Ack(7, "x")], "ack of transaction 7, but nothing"),
        ([stream.Greeting(stream.Hello()), stream.Nack(nack=3, state="", why="")], "nack of transaction 3"),
    ],
    ids=["ack first", "two hellos", "ack of nothing", "nack of nothing"],
)
def test_messages_out_of_place_are_refused(messages: list[stream.ToServer], why: str) -> None:
    session = Session()
    *good, bad = messages
    for message in good:
        session.receive(message)
    with pytest.raises(stream.Malformed, match=why):
        session.receive(bad)


def test_an_ack_for_another_state_is_refused() -> None:
    session = Session()
    session.want(picture({"route/a": 1}))
    session.receive(Client().hello())
    session.lines()
    with pytest.raises(stream.Malformed, match="for state other"):
        session.receive(stream.Ack(1, "other"))


def test_pings_are_answered_and_three_missed_end_it() -> None:
    session = Session()
    session.receive(stream.Greeting(stream.Hello()))
    session.receive(stream.Ping(5))
    assert [stream.to_client(line) for line in session.lines()] == [stream.Pong(5)]
    for _ in range(MISSED_PINGS):
        assert session.tick()
    assert not session.tick()
    session.receive(stream.Pong(3))
    assert session.tick()


def test_a_client_that_knows_more_has_rejected_nothing() -> None:
    session = Session()
    session.want(picture({"route/a": 1}))
    session.receive(Client().hello())
    session.lines()
    session.receive(stream.Nack(nack=1, state="", resource="route/a", why=stream.LAGGING))
    session.want(picture({"route/a": 2}))
    assert session.lines() == [], "it leaves: nothing is sent to it any more"
    assert session.rejections == {}


def test_what_is_wanted_widens_the_picture_or_is_unknown() -> None:
    def widen(keys: tuple[str, ...]) -> tuple[str, ...]:
        session.want(picture({"route/a": 1, "service/b": 1}))
        return tuple(key for key in keys if key != "b.shop:80")

    session, client = Session(widen), Client()
    session.want(picture({"route/a": 1}))
    talk(session, client)
    session.receive(stream.Want(("b.shop:80", "10.0.0.9:80")))
    first, *rest = session.lines()
    assert stream.to_client(first) == stream.Unknown(("10.0.0.9:80",), UNKNOWN_SECONDS)
    for answer in [answer for line in rest for answer in client.read(line)]:
        session.receive(answer)
    assert client.values == {"route/a": 1, "service/b": 1}


def test_a_session_that_nobody_widens_knows_nothing() -> None:
    session = Session()
    session.receive(Client().hello())
    session.receive(stream.Want(("a", "b")))
    assert [stream.to_client(line) for line in session.lines()] == [stream.Unknown(("a", "b"), UNKNOWN_SECONDS)]


def test_a_pod_is_told_once_that_it_has_retired() -> None:
    session, client = Session(), Client()
    session.want(picture({"route/a": 1}))
    talk(session, client)
    session.want(picture({"route/a": 2}))
    talk(session, client, greet=False)
    session.retire()
    session.retire()
    assert [stream.to_client(line) for line in session.lines()] == [stream.Retired(2)]
    session.retire()
    assert session.lines() == []


def test_counts_and_releases_are_kept() -> None:
    session = Session()
    session.receive(stream.Greeting(stream.Hello()))
    row = stream.Ejected(endpoint="10.0.0.1:80", state="open", since=1.0, until=2.0)
    session.receive(stream.Seen({"a": (row,)}))
    session.receive(stream.Seen({"b": (row,)}))
    session.receive(stream.Released(4))
    assert session.seen == {"b": (row,)}
    with pytest.raises(stream.Malformed, match="seen: more than 64 endpoints"):
        session.receive(stream.Seen({"a": (row,) * 65}))
    assert session.released == 4
    assert repr(session) == "<Session 0 resources, 0 rejected>"


class Converges(RuleBasedStateMachine):
    """Any order of pictures, deliveries, refusals, reconnects: never a mixed state, and in the end all that can be."""

    def __init__(self) -> None:
        super().__init__()
        self.session, self.client = Session(), Client()
        self.wanted: dict[str, int] = {}
        self.published: set[str] = set()
        self.poisoned = False
        self.to_client: deque[bytes] = deque()
        self.to_server: deque[stream.ToServer] = deque([self.client.hello()])

    @rule(values=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4) | st.just(POISON), max_size=6))
    def publish(self, values: dict[str, int]) -> None:
        self.wanted = values
        self.poisoned = self.poisoned or POISON in values.values()
        new = picture(values)
        if self.session.newest is None or new.state != self.session.newest.state:
            self.client.nacked.clear()  # the state differs: all may be tried again
        self.published.add(new.state)
        self.session.want(new)

    @rule()
    def write(self) -> None:
        self.to_client.extend(self.session.lines())

    @rule(count=st.integers(1, 8))
    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.to_client))):
            self.to_server.extend(self.client.read(self.to_client.popleft()))

    @rule()
    def answer(self) -> None:
        if self.to_server:
            self.session.receive(self.to_server.popleft())

    @rule(naming=st.booleans())
    def reconnect(self, naming: bool) -> None:
        self.client.naming = naming
        self.client.nacked.clear()
        newest, self.session = self.session.newest, Session()
        if newest is not None:
            self.session.want(newest)
        self.to_client.clear()
        self.to_server = deque([self.client.hello()])

    @precondition(lambda self: self.session.hello is not None)
    @rule()
    def ping(self) -> None:
        if self.session.tick():
            self.to_server.append(stream.Ping(1))

    @invariant()
    def never_mixed(self) -> None:
        if not self.poisoned:
            assert self.published.issuperset(self.client.applied)

    @invariant()
    def nothing_is_held_that_is_not_known_of(self) -> None:
        known = set(self.session.has.items()).union(*(may.items() for may in self.session.open))
        assert self.session.hello is None or self.client.has.items() <= known

    @invariant()
    def never_poisoned(self) -> None:
        assert POISON not in self.client.values.values()

    def teardown(self) -> None:
        self.client.nacked.clear()
        for _ in range(500):
            self.write()
            if not self.to_client and not self.to_server:
                break
            self.deliver(len(self.to_client))
            while self.to_server:
                self.answer()
        else:
            raise AssertionError("the stream never comes to rest")
        if self.session.newest is not None:
            refused = {name for name, value in self.wanted.items() if value == POISON}
            good = {name: value for name, value in self.wanted.items() if name not in refused}
            assert {name: value for name, value in self.client.values.items() if name not in refused} == good
            assert set(self.session.rejections) == refused
            assert self.session.current is (not refused)


TestConverges = Converges.TestCase
TestConverges.settings = examples(150, stateful_step_count=40)


def test_what_the_client_doubts_and_has_is_handed_on() -> None:
    doubted: list[tuple[str, ...]] = []
    session = Session(doubted=doubted.append)
    session.receive(stream.Greeting(stream.Hello(has={"keys/idp": "1"})))
    session.receive(stream.Stale(("keys/idp", "keys/unheard-of")))
    session.receive(stream.Stale(("keys/unheard-of",)))
    assert doubted == [("keys/idp",)]


def test_whom_the_client_trusts_is_remembered() -> None:
    session = Session()
    session.receive(stream.Greeting(stream.Hello()))
    assert session.trusts == stream.Trusts(())
    session.receive(stream.Trusts(("a", "b"), renewed=True))
    assert session.trusts == stream.Trusts(("a", "b"), renewed=True)


def test_what_the_client_finds_out_of_endpoints_is_kept_as_it_tells_it() -> None:
    session = Session()
    session.receive(stream.Greeting(stream.Hello()))
    session.receive(stream.Health({"a": True, "b": False}))
    before = session.health
    session.receive(stream.Health({"b": None, "c": False}))
    assert session.health == {"a": True, "c": False}
    assert before == {"a": True, "b": False}, "what was told on is never changed"


@pytest.mark.parametrize(
    "health",
    [
        pytest.param({str(number): True for number in range(MOST_VERDICTS + 1)}, id="more than anybody was given"),
        pytest.param({"x" * 1000: None}, id="a name that is too long"),
    ],
)
def test_a_client_cannot_fill_the_operator_with_verdicts(health: dict[str, bool | None]) -> None:
    session = Session()
    session.receive(stream.Greeting(stream.Hello()))
    with pytest.raises(stream.Malformed, match="health"):
        session.receive(stream.Health(health))
