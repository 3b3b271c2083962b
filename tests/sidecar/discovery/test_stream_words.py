"""What a sidecar says on the stream beside its answers, and what it is told there beside configurations."""

import asyncio

import pytest
import uvloop

from sidewinder_sidecar.discovery import stream as client
from sidewinder_sidecar.discovery.dial import Unix
from sidewinder_sidecar.discovery.doubts import Doubts
from sidewinder_sidecar.discovery.stream import Discovery
from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot import stream
from sidewinder_sidecar.snapshot.authentication import KeysSpec
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream.endpoint import Endpoint
from sidewinder_sidecar.upstream.health import FAILED, Checks
from sidewinder_sidecar.wheel import Wheel
from tests.support.clock import eventually
from tests.support.discovery import Server, transaction
from tests.support.streamed import Sidecar, converse, endpoints, run_with, started, wanting


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.02)


HERE = EndpointSpec(uid="u", address="127.0.0.1", port=1)


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
