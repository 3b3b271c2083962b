import asyncio

import pytest
import uvloop

from sidewinder_sidecar.discovery import stream as client
from sidewinder_sidecar.discovery.dial import Unix
from sidewinder_sidecar.discovery.dial import Unreached as Nobody
from sidewinder_sidecar.discovery.doubts import Doubts
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.discovery.transaction import Held, Refusal
from sidewinder_sidecar.discovery.wants import Wants
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import state, stream
from sidewinder_sidecar.snapshot.authentication import KeysSpec
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec, EndpointsSpec
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.upstream.health import FAILED, Checks
from sidewinder_sidecar.wheel import Wheel
from tests.support.clock import eventually
from tests.support.discovery import HEAD, Server, transaction

HERE = EndpointSpec(uid="u", address="127.0.0.1", port=1)


def endpoints(*names):
    return {f"endpoints/{name}": EndpointsSpec(name=name) for name in names}


class Sidecar:
    """What main would be: takes configurations, or refuses them."""

    def __init__(self):
        self.applied, self.kept = [], []
        self.refuse = None

    async def apply(self, resources):
        await asyncio.sleep(0)
        if self.refuse is not None:
            raise self.refuse
        self.applied.append(sorted(resources))

    def keep(self, held, epoch):
        self.kept.append((held.state, epoch))


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.02)


def converse(tmp_path, *scripts, held=None, epoch=0, ping_seconds=5.0, until=None, seconds=10.0, **options):
    """Run the scripts against a client until the last has ended, or `until(sidecar, discovery)` holds."""
    path = str(tmp_path / "discovery.sock")
    sidecar = Sidecar()

    async def run():
        server = Server(*scripts)
        ended = asyncio.Event()
        last = server.scripts[-1]

        async def watched(line):
            try:
                await last(line)
            finally:
                ended.set()

        server.scripts[-1] = watched
        discovery = Discovery(
            Unix(path), sidecar.apply, held=held, epoch=epoch, build="1", kept=sidecar.keep, ping_seconds=ping_seconds,
            **options,
        )  # fmt: skip
        await server.open(path)
        running = asyncio.create_task(discovery.run())

        async def over():
            if until is None:
                await ended.wait()
            else:
                while not until(sidecar, discovery):  # noqa: ASYNC110 (no event tells this)
                    await asyncio.sleep(0.005)

        try:
            await asyncio.wait_for(over(), seconds)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()
        assert len(asyncio.all_tasks()) == 1
        return sidecar, discovery

    return uvloop.run(run())


def test_a_transaction_is_applied_and_acknowledged(tmp_path):
    heard = []

    async def script(line):
        await line.begin()
        heard.append(await line.hear())
        line.say(*transaction(7, endpoints("a", "b")))
        heard.append(await line.hear())
        line.say(*transaction(8, endpoints("b"), "endpoints/a", only=set()))
        heard.append(await line.hear())

    sidecar, discovery = converse(tmp_path, script)
    hello, first, second = heard
    assert (hello.hello.has, hello.hello.state, hello.hello.epoch, hello.hello.build) == ({}, "", 1, "1")
    assert sidecar.applied == [["endpoints/a", "endpoints/b"], ["endpoints/b"]]
    assert (first.ack, second.ack) == (7, 8)
    assert second.state == discovery.held.state
    assert [held for held, _ in sidecar.kept] == [first.state, second.state]


def test_the_request_is_one_of_http(tmp_path):
    async def script(line):
        await line.begin()
        head = line.head.lower()
        assert head.startswith(b"post /discovery http/1.1\r\n")
        assert b"transfer-encoding: chunked\r\n" in head

    converse(tmp_path, script)


@pytest.mark.parametrize("pieces", [1, 2, 7, 100])
def test_chunks_may_be_cut_anywhere(tmp_path, pieces):
    async def script(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a", "b")), pieces=pieces)
        assert isinstance(await line.hear(), stream.Ack)

    sidecar, _ = converse(tmp_path, script)
    assert len(sidecar.applied) == 1


def test_a_refusal_is_a_nack_and_what_is_held_serves_on(tmp_path):
    answers = []

    async def script(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a")))
        answers.append(await line.hear())
        line.say(*transaction(2, endpoints("a", "b")))
        answers.append(await line.hear())
        line.say(*transaction(3, endpoints("a", "c")))
        answers.append(await line.hear())
        await line.gone()

    path = str(tmp_path / "discovery.sock")

    async def run():
        sidecar, server = Sidecar(), Server(script)
        await server.open(path)

        async def apply(resources):
            if "endpoints/b" in resources:
                raise Refusal("endpoints/b", "endpoints[0].port", "0 is no port")
            await sidecar.apply(resources)

        discovery = Discovery(Unix(path), apply)
        running = asyncio.create_task(discovery.run())
        while len(answers) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        running.cancel()
        await server.close()
        return sidecar, discovery

    sidecar, discovery = uvloop.run(asyncio.wait_for(run(), 10))
    first, nack, third = answers
    assert (nack.nack, nack.resource, nack.field, nack.why) == (2, "endpoints/b", "endpoints[0].port", "0 is no port")
    assert nack.state == first.state
    assert third.ack == 3
    assert sidecar.applied == [["endpoints/a"], ["endpoints/a", "endpoints/c"]]
    assert (discovery.applied, discovery.refused) == (2, 1)


def test_a_bug_is_a_nack_too(tmp_path, caplog):
    async def script(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a")))
        nack = await line.hear()
        assert "a bug of the sidecar: ZeroDivisionError" in nack.why

    path = str(tmp_path / "discovery.sock")

    async def run():
        server = Server(script)
        await server.open(path)

        async def apply(resources):
            raise ZeroDivisionError

        discovery = Discovery(Unix(path), apply)
        running = asyncio.create_task(discovery.run())
        while not discovery.refused:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        running.cancel()
        await server.close()
        assert discovery.held.versions == {}

    uvloop.run(asyncio.wait_for(run(), 10))
    assert "Traceback" in caplog.text


def test_an_equal_set_is_an_empty_commit_and_not_applied_again(tmp_path):
    async def first(line):
        await line.begin()
        await line.hear()
        line.say(*transaction(1, endpoints("a")))
        await line.hear()

    async def second(line):
        await line.begin()
        hello = (await line.hear()).hello
        assert list(hello.has) == ["endpoints/a"]
        assert hello.state == state(hello.has)
        assert hello.epoch == 2
        line.say(*transaction(1, endpoints("a"), only=set()))
        assert (await line.hear()).ack == 1

    sidecar, _ = converse(tmp_path, first, second)
    assert sidecar.applied == [["endpoints/a"]]


def test_what_was_kept_is_told(tmp_path):
    kept = Held(endpoints("a"), {"endpoints/a": "v"})

    async def script(line):
        await line.begin()
        hello = (await line.hear()).hello
        assert (hello.has, hello.state, hello.epoch) == ({"endpoints/a": "v"}, kept.state, 42)

    converse(tmp_path, script, held=kept, epoch=41)


async def started(line):
    await line.begin()
    await line.hear()


def lie(*lines, head=HEAD, raw=None):
    async def script(line):
        await line.begin(head)
        if raw is not None:
            line.writer.write(raw)
        elif head is HEAD:
            await line.hear()
            line.say(*lines)
        await line.gone()

    return script


BEGIN = stream.encode(stream.Begin(1, "x"))
LIES = {
    "refused by status": (lie(head=b"HTTP/1.1 403 Forbidden\r\n\r\n"), "403 Forbidden"),
    "another version": (lie(head=b"HTTP/1.0 200 OK\r\n\r\n"), "not HTTP/1.1"),
    "not chunked": (lie(head=b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), "not chunked"),
    "no HTTP": (lie(head=b"SSH-2.0-x\r\n\r\n"), "not HTTP/1.1"),
    "an endless head": (lie(head=b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000), "no HTTP/1.1 head"),
    "no chunk size": (lie(raw=b"zz\r\n"), "no chunk size"),
    "a huge chunk size": (lie(raw=b"fffffffff\r\n"), "no chunk size"),
    "an endless chunk size": (lie(raw=b"0" * 200_000), "closed by the other end"),
    "the last chunk": (lie(raw=b"0\r\n\r\n"), "ended by the other end"),
    "no JSON": (lie(b"hello\n"), "not a JSON object"),
    "not UTF-8": (lie(b'{"begin":1,"state":"\xff"}\n'), "begin: "),
    "an array": (lie(b"[1]\n"), "not a JSON object"),
    "no known message": (lie(b'{"become":1}\n'), "no known message among ['become']"),
    "an unknown field": (lie(b'{"begin":1,"state":"x","more":1}\n'), "more"),
    "a wrong type": (lie(b'{"begin":"one","state":"x"}\n'), "Expected `int`"),
    "a client's message": (lie(b'{"ack":1,"state":"x"}\n'), "no known message"),
    "an empty line": (lie(b"\n"), "not a JSON object"),
    "two begins": (lie(BEGIN, BEGIN), "within transaction"),
    "a commit alone": (lie(stream.encode(stream.Commit(1))), "outside of a transaction"),
    "a set alone": (lie(transaction(1, endpoints("a"))[1]), "outside of a transaction"),
    "another commit": (lie(BEGIN, stream.encode(stream.Commit(2))), "commit 2 within"),
}


@pytest.mark.parametrize(("script", "said"), LIES.values(), ids=LIES)
def test_a_stream_that_lies_is_left_said_and_tried_again(tmp_path, caplog, script, said):
    async def honest(line):
        await started(line)
        line.say(*transaction(1, endpoints("a")))
        await line.hear()

    sidecar, discovery = converse(tmp_path, script, honest, until=lambda sidecar, _: sidecar.applied)
    assert said in caplog.text
    assert sidecar.applied == [["endpoints/a"]]
    assert discovery.refused == 0


def test_a_line_without_end_is_left(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("sidewinder_sidecar.discovery.channel.LONGEST_LINE", 100_000)

    async def endless(line):
        await started(line)
        while True:
            line.say(b"x" * 10_000)
            await line.writer.drain()

    converse(tmp_path, endless, started, until=lambda _, discovery: discovery.connections >= 2)
    assert "a line of more than 100000 bytes" in caplog.text


def test_a_cut_transaction_is_nothing(tmp_path):
    async def cut(line):
        await started(line)
        line.say(*transaction(1, endpoints("a"))[:-1])

    async def honest(line):
        await line.begin()
        assert (await line.hear()).hello.has == {}
        line.say(*transaction(1, endpoints("b")))
        await line.hear()

    sidecar, _ = converse(tmp_path, cut, honest)
    assert sidecar.applied == [["endpoints/b"]]


def test_a_wrong_version_is_a_nack(tmp_path):
    async def script(line):
        await started(line)
        lines = transaction(1, endpoints("a"))
        line.say(lines[0], lines[1].replace(b'"name":"a"', b'"name":"z"'), lines[2])
        nack = await line.hear()
        assert (nack.resource, nack.state) == ("endpoints/a", "")
        assert "hash" in nack.why
        line.say(*transaction(2, endpoints("b"), state="f" * 16))
        assert "leads to state" in (await line.hear()).why

    converse(tmp_path, script)


def test_pings_are_answered(tmp_path):
    async def script(line):
        await started(line)
        line.say(stream.encode(stream.Ping(5)))
        assert (await line.hear()).pong == 5

    converse(tmp_path, script)


def test_a_silent_server_is_asked_and_then_left(tmp_path, caplog):
    pings = []

    async def silent(line):
        await started(line)
        while True:
            pings.append((await line.hear()).ping)

    converse(tmp_path, silent, started, ping_seconds=0.02, until=lambda _, discovery: discovery.connections >= 2)
    assert pings[:3] == [1, 2, 3]
    assert "silent for" in caplog.text


def test_a_server_that_answers_pings_is_not_left(tmp_path):
    async def script(line):
        await started(line)
        for _ in range(8):
            line.say(stream.encode(stream.Pong((await line.hear()).ping)))

    _, discovery = converse(tmp_path, script, ping_seconds=0.02)
    assert discovery.connections == 1


def test_a_goodbye_makes_before_it_breaks(tmp_path):
    order = []

    async def first(line):
        await started(line)
        line.say(*transaction(1, endpoints("a")))
        await line.hear()
        line.say(stream.encode(stream.Goodbye("rebalance", 10)))
        await line.gone()
        order.append("old left")

    async def second(line):
        await line.begin()
        order.append("new came")
        assert (await line.hear()).hello.epoch == 2
        line.say(*transaction(1, endpoints("a", "b")))
        await line.hear()

    sidecar, discovery = converse(tmp_path, first, second)
    assert order == ["new came", "old left"]
    assert (len(sidecar.applied), discovery.connections) == (2, 2)


def test_a_goodbye_and_gone(tmp_path):
    async def first(line):
        await started(line)
        line.say(stream.encode(stream.Goodbye("shutdown", 10)))

    async def second(line):
        await started(line)

    _, discovery = converse(tmp_path, first, second)
    assert discovery.connections == 2


def test_a_replica_that_lags_is_left_for_another(tmp_path):
    held = Held(endpoints("a"), {"endpoints/a": "v"}, {"endpoints/a": ("uid", 9)})

    async def lagging(line):
        await started(line)
        begin, put, commit = transaction(1, endpoints("a"))
        line.say(begin, put.replace(b'"of":null', b'"of":["uid",3]'), commit)
        assert "older generation" in (await line.hear()).why
        await line.gone()

    sidecar, discovery = converse(tmp_path, lagging, started, held=held)
    assert sidecar.applied == []
    assert discovery.held is held


def test_nobody_is_there(tmp_path, caplog):
    async def run():
        discovery = Discovery(Unix(str(tmp_path / "none.sock")), Sidecar().apply)
        running = asyncio.create_task(discovery.run())
        await asyncio.sleep(0.1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    uvloop.run(run())
    assert caplog.text.count("No such file") == 1  # said once, tried often


def wanting(known):
    """Wants on the loop's own wheel; `known` is what the configuration holds."""
    return Wants(Wheel.of(asyncio.get_running_loop()), lambda key: key in known)


def run_with(tmp_path, script, work, **more):
    """A client with one script at the other end, while `work(discovery, line)` runs."""

    async def run():
        path = str(tmp_path / "d.sock")
        server = Server(script)
        await server.open(path)
        made = {
            name: value() if callable(value) and name in ("wants", "doubts", "checks") else value
            for name, value in more.items()
        }
        discovery = Discovery(Unix(path), Sidecar().apply, **made)
        running = asyncio.create_task(discovery.run())
        while not discovery.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        try:
            return await asyncio.wait_for(work(discovery), 5)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await server.close()

    return uvloop.run(run())


def test_what_is_wanted_is_asked_and_its_answer_lets_the_call_go_on(tmp_path):
    known, wanted = set(), []

    async def script(line):
        await started(line)
        wanted.append((await line.hear()).want)
        line.say(stream.encode(stream.Unknown(("10.0.0.2:80",), 30)))
        known.add("10.0.0.1:80")
        line.say(*transaction(1, endpoints("a")))
        assert (await line.hear()).ack == 1
        await line.gone()

    async def work(discovery):
        went_on = {}
        for key in ("10.0.0.1:80", "10.0.0.2:80"):
            went_on[key] = asyncio.Event()
            assert discovery._wants.fetch(key, went_on[key].set) is not None
        for event in went_on.values():
            await event.wait()
        assert discovery._wants.fetch("10.0.0.2:80", lambda: None) is None
        return discovery._wants.answered, discovery._wants.unknown

    assert run_with(tmp_path, script, work, wants=lambda: wanting(known)) == (1, 1)
    assert wanted == [("10.0.0.1:80", "10.0.0.2:80")]


def test_the_word_that_nobody_sends_anything_new_is_handed_on(tmp_path):
    heard = []

    async def script(line):
        await started(line)
        line.say(stream.encode(stream.Retired(3)))
        await line.gone()

    async def work(discovery):
        while not heard:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    run_with(tmp_path, script, work, retired=lambda: heard.append("retired"))
    assert heard == ["retired"]


def test_a_transaction_is_released_when_nothing_older_is_in_use(tmp_path):
    older, released, told = [1], [], []

    async def script(line):
        await started(line)
        for number in (1, 2):
            line.say(*transaction(number, endpoints(str(number)), *(["endpoints/1"] if number == 2 else [])))
            assert (await line.hear()).ack == number
        line.say(stream.encode(stream.Ping(1)))
        await line.hear()
        released.append(list(line.released))
        older.clear()
        while not told:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        line.say(stream.encode(stream.Ping(2)))
        await line.hear()
        released.append(list(line.released))
        await line.gone()

    async def work(discovery):
        while older:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        discovery.release()
        discovery.release()
        told.append(True)
        while len(released) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    run_with(tmp_path, script, work, settled=lambda: not older)
    assert released == [[], [2]], "the newest alone, once"


def test_a_successor_that_cannot_be_had_costs_nothing_while_this_stream_lasts(tmp_path):
    async def first(line):
        await started(line)
        line.say(stream.encode(stream.Goodbye("rebalance", 1)))
        await asyncio.sleep(0.1)
        line.say(*transaction(1, endpoints("a")))
        assert (await line.hear()).ack == 1
        await line.gone()

    async def busy(line):
        await line.begin(b"HTTP/1.1 503 Busy\r\n\r\n")
        await line.gone()

    async def third(line):
        await line.begin()
        assert list((await line.hear()).hello.has) == ["endpoints/a"]

    busies = [busy] * 40  # longer than the first stream waits, at these pauses
    sidecar, _ = converse(tmp_path, first, *busies, third, until=lambda _, discovery: discovery.connections >= 2)
    assert sidecar.applied == [["endpoints/a"]]


def test_a_try_that_fails_late_is_no_stream_that_has_lasted(monkeypatch):
    """A crowd that waits in vain for its turn must come back ever more slowly, however long it waited."""
    bounds = []
    monkeypatch.setattr(client.random, "uniform", lambda low, high: bounds.append(high) or 0.0)

    class Late(Unix):
        async def connect(self):
            await asyncio.sleep(2 * client.LONGEST_PAUSE)
            raise OSError(0, "nobody's turn")

    async def run():
        running = asyncio.create_task(Discovery(Late("x"), Sidecar().apply).run())
        await eventually(lambda: len(bounds) >= 4)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    uvloop.run(asyncio.wait_for(run(), 10))
    assert bounds[:4] == [0.005, 0.01, 0.02, 0.02]


def test_while_nobody_listens_it_looks_often_and_who_is_turned_away_ever_less(monkeypatch):
    bounds = []
    monkeypatch.setattr(client.random, "uniform", lambda low, high: bounds.append(high) or 0.0)
    monkeypatch.setattr(client, "SHORTEST_WATCH", 0.01)

    class Away(Unix):
        async def connect(self):
            raise Nobody(111, "Connection refused") if len(bounds) < 5 else OSError(0, "turned away")

    async def run():
        running = asyncio.create_task(Discovery(Away("x"), Sidecar().apply).run())
        await eventually(lambda: len(bounds) >= 7)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    uvloop.run(asyncio.wait_for(run(), 10))
    assert bounds[:7] == [0.005, 0.01, 0.01, 0.01, 0.01, 0.02, 0.02]


def test_how_often_it_looks_depends_on_how_long_it_lasts(monkeypatch):
    monkeypatch.undo()
    assert [client._watching(seconds) for seconds in (0.0, 59.0, 300.0, 86400.0)] == [1.0, 1.0, 5.0, 15.0]


def test_a_burst_does_not_hold_the_loop(tmp_path):
    import time

    longest = 0.0

    async def script(line):
        await started(line)
        line.say(*transaction(1, endpoints(*(f"shop/{number}" for number in range(5000)))))
        nonlocal longest
        hearing = asyncio.ensure_future(line.hear())
        await line.writer.drain()
        last = time.thread_time()
        while not hearing.done():
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()
        assert hearing.result().ack == 1

    converse(tmp_path, script)
    assert longest < 0.25, (
        longest
    )  # of the thread's CPU; all of it takes longer, and a strict figure would time the machine


def test_whom_it_trusts_is_told_on_each_stream_and_again_when_that_changes(tmp_path):
    heard = []
    trusts = [stream.Trusts(("old",), renewed=True)]

    async def first(line):
        await line.begin()
        await line.hear()
        heard.append(await line.hear())
        line.say(stream.encode(stream.Ping(1)))
        heard.append(await line.hear())
        trusts[0] = stream.Trusts(("new", "old"))
        line.say(stream.encode(stream.Ping(2)))
        heard.extend([await line.hear(), await line.hear()])

    async def second(line):
        await line.begin()
        await line.hear()
        heard.append(await line.hear())

    converse(tmp_path, first, second, trusts=lambda: trusts[0])
    old, new = stream.Trusts(("old",), renewed=True), stream.Trusts(("new", "old"))
    assert heard[:2] == [old, stream.Pong(1)]
    assert sorted(heard[2:4], key=repr) == [stream.Pong(2), new]
    assert heard[4:] == [new]


def test_doubts_about_keys_are_said_and_the_next_configuration_answers_them(tmp_path):
    old, new = (KeysSpec(name="idp", jwks=text) for text in ("old", "new"))
    heard = []

    async def script(line):
        await started(line)
        line.say(*transaction(1, {"keys/idp": old}))
        assert (await line.hear()).ack == 1
        while not isinstance(said := await line.hear(), stream.Stale):
            pass
        heard.append(said)
        line.say(*transaction(2, {"keys/idp": new}))
        await line.gone()

    async def work(discovery):
        told = asyncio.get_running_loop().create_future()
        await eventually(lambda: discovery.applied == 1)
        assert discovery._doubts.ask(old, told.set_result) is not None
        heard.append(await told)

    run_with(tmp_path, script, work, doubts=lambda: Doubts(Wheel.of(asyncio.get_running_loop())))
    assert heard == [stream.Stale(("keys/idp",)), new]


def test_what_endpoints_are_like_is_said_as_it_becomes_known(tmp_path):
    heard = []

    async def script(line):
        await started(line)
        heard.append(await line.hear())
        await line.gone()

    async def work(discovery):
        checks = discovery._checks
        checks.follow(ChecksSpec(checks=(CheckSpec(name="web", interval=3600.0, endpoints=(HERE,)),)))
        (check,) = checks.checks.values()
        for _ in range(3):
            checks.settled(check, FAILED)
        await eventually(lambda: heard)
        discovery._leave()  # the next stream hears all that is known
        checks.connect(lambda news: heard.append(stream.Health(news)) is None)
        checks.disconnect()
        checks.close()

    def made():
        wheel = Wheel.of(asyncio.get_running_loop())
        return Checks(wheel, lambda spec, seconds: Endpoint(spec, Limits(), wheel, seconds))

    run_with(tmp_path, script, work, checks=made)
    assert heard == [stream.Health({"web u 127.0.0.1 1": False})] * 2


def test_a_renewed_certificate_moves_the_stream_to_a_new_connection(tmp_path):
    moved = []

    async def first(line):
        await started(line)
        line.say(*transaction(1, endpoints("a")))
        await line.hear()
        await line.gone()
        moved.append("left")

    async def second(line):
        await line.begin()
        moved.append("came")
        hello = (await line.hear()).hello
        assert list(hello.has) == ["endpoints/a"]
        await line.gone()

    def until(sidecar, discovery):
        if discovery.applied and not moved:
            discovery.reconnect()
        return moved == ["came", "left"] and discovery.connected

    _, discovery = converse(tmp_path, first, second, until=until)
    assert discovery.connections == 2


def test_the_last_word_arrives_although_the_process_ends_with_it(tmp_path):
    path = str(tmp_path / "discovery.sock")
    word = stream.Drained(drained=0.5, leaving=2.0, requests=3)
    heard = []

    async def script(line):
        await line.begin()
        await line.hear()  # the hello
        heard.append(await line.hear())

    async def run():
        server = Server(script)
        await server.open(path)
        discovery = Discovery(Unix(path), Sidecar().apply)
        await discovery.tell(word)  # nobody listens yet: nothing happens
        running = asyncio.create_task(discovery.run())
        await eventually(lambda: discovery.connected)
        await discovery.tell(word)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await eventually(lambda: heard)
        await discovery.tell(word)
        await server.close()

    uvloop.run(asyncio.wait_for(run(), 10))
    assert heard == [word]
