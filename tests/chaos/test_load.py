"""The chaos run's load: a steady rate, every answer checked, one more try where every client has one."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable

import pytest

from tests.chaos.load import Load, Sample, percentile
from tests.cluster.apps import echo, http1


def answered(answer: Callable[[http1.Message], bytes], count: int = 20, rate: float = 200.0) -> Load:
    """A load of `count` requests at least, answered so."""

    async def run() -> Load:
        server = await asyncio.start_server(http1.answering(answer), "127.0.0.1", 0)
        load = Load(server.sockets[0].getsockname()[1], rate)
        load.start()
        await load.reach(count)
        await load.stop()
        server.close()
        await asyncio.sleep(0)
        return load

    return asyncio.run(asyncio.wait_for(run(), 10))


def good(request: http1.Message) -> bytes:
    told = {"headers": request.headers, "body_bytes": len(request.body), "body_crc32": zlib.crc32(request.body)}
    return http1.json_response(200, told)


def anothers(request: http1.Message) -> bytes:
    return http1.json_response(200, {"headers": [("X-Load-Number", "-1")], "body_bytes": 0, "body_crc32": 0})


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        pytest.param(good, "", id="right"),
        pytest.param(anothers, "foreign answer", id="another-request's"),
        pytest.param(lambda request: http1.response(200, b"hello"), "no echo", id="nobody's"),
        pytest.param(
            lambda request: http1.response(503, b"", ("Proxy-Status", "sidewinder; error=x; details=y")),
            "status 503 details=y",
            id="refused",
        ),
        pytest.param(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "no answer", id="half"),
    ],
)
def test_every_answer_is_checked(
    answer: Callable[[http1.Message], bytes], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chaos.load.PATIENCE", 1.0)
    load = answered(answer)
    assert {sample.wrong for sample in load.samples} == {wrong}
    assert load.stale == 0


def test_requests_start_whether_or_not_others_are_answered() -> None:
    async def run() -> Load:
        release, crowded = asyncio.Event(), asyncio.Event()
        arrived = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal arrived
            try:
                while True:
                    request = await http1.read_request(reader)
                    arrived += 1
                    if arrived == 15:
                        crowded.set()
                    await release.wait()
                    writer.write(good(request))
            except (http1.Ended, ConnectionError):
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        load = Load(server.sockets[0].getsockname()[1], 200.0)
        load.start()
        await crowded.wait()
        assert not load.samples
        release.set()
        await load.stop()
        server.close()
        await asyncio.sleep(0)
        return load

    load = asyncio.run(asyncio.wait_for(run(), 10))
    assert len(load.samples) >= 15
    assert not any(sample.wrong for sample in load.samples)


def test_a_connection_that_was_closed_while_idle_is_no_failure() -> None:
    def closing(request: http1.Message) -> bytes:
        return good(request)

    async def run() -> Load:
        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """Answers one request and closes without having said so."""
            writer.write(closing(await http1.read_request(reader)))
            await reader.read(1)  # the next request has been sent
            writer.transport.abort()

        server = await asyncio.start_server(once, "127.0.0.1", 0)
        load = Load(server.sockets[0].getsockname()[1], 50.0)
        load.start()
        await load.reach(10)
        await load.stop()
        server.close()
        await asyncio.sleep(0)
        return load

    load = asyncio.run(asyncio.wait_for(run(), 10))
    assert {sample.wrong for sample in load.samples} == {""}
    assert load.stale > 0


def test_an_echo_of_the_cluster_passes() -> None:
    told = echo.Echo(echo.Self("a", "b", "c", "d", "v1"))

    async def run() -> Load:
        server = await asyncio.start_server(told, "127.0.0.1", 0)
        load = Load(server.sockets[0].getsockname()[1], 100.0, method="PUT", body_bytes=100_000)
        load.start()
        await load.reach(10)
        await load.stop()
        server.close()
        await asyncio.sleep(0)
        return load

    assert {sample.wrong for sample in asyncio.run(asyncio.wait_for(run(), 10)).samples} == {""}


@pytest.mark.parametrize(
    ("count", "expected"),
    [pytest.param(0, 0.0, id="none"), pytest.param(1, 1.0, id="one"), pytest.param(200, 198.0, id="many")],
)
def test_percentile(count: int, expected: float) -> None:
    assert percentile(Sample(0.0, float(number + 1), "") for number in range(count)) == expected
