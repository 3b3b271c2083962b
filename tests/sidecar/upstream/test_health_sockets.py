"""Checks of endpoints over real sockets: whatever is answered, and over mTLS through the sidecar of who is asked."""

from __future__ import annotations

import asyncio
import resource
import socket
from pathlib import Path
from typing import Any

import pytest

from sidewinder_sidecar.settings import Limits
from sidewinder_sidecar.snapshot.checks import CheckSpec, ChecksSpec, HttpCheckSpec
from sidewinder_sidecar.snapshot.upstreams import EndpointSpec
from sidewinder_sidecar.upstream import endpoint as upstream
from sidewinder_sidecar.upstream.health import (
    FAILED,
    NOTHING,
    PASSED,
    Checks,
)
from sidewinder_sidecar.wheel import Wheel
from tests.support.checked import HTTP, REVIEWS, name_of, spec
from tests.support.sockets import run, serving, until
from tests.support.two_proxies import REVIEWS as REVIEWS_ID
from tests.support.two_proxies import keys, proxies


@pytest.mark.parametrize("kind", ["HTTP", "TCP"])
def test_over_a_socket(kind: str) -> None:
    connections = 0

    async def main() -> None:
        async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")

        async with serving(well) as port:
            wheel = Wheel.of(asyncio.get_running_loop())
            checks = Checks(wheel, lambda source, seconds: upstream.Endpoint(source, Limits(), wheel, seconds))
            told: list[dict[str, bool | None]] = []
            checks.connect(lambda news: told.append(news) is None)
            here = EndpointSpec(uid="one", address="127.0.0.1", port=port)
            checks.follow(spec(here, http=HTTP if kind == "HTTP" else None, interval=0.05))
            await until(lambda: checks.counts[PASSED] >= 3)
            await until(lambda: connections >= 3)  # who serves one connection at a time is not kept from it
            await until(lambda: told)
            assert told == [{name_of(here): True}]
            checks.close()
            await until(lambda: len(wheel) == 0)

    run(main)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "again", "result"),
    [
        pytest.param(b"\x16\x03\x01 no HTTP at all\r\n\r\n", b"", FAILED, id="garbage"),
        pytest.param(b"", b"H", FAILED, id="a head, byte by byte"),
        pytest.param(HEAD, b"x-more: of it\r\n" * 1000, FAILED, id="a head without end"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50, b"", FAILED, id="hints without end"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"", FAILED, id="another protocol"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\nhalf", None, FAILED, id="half a body"),
        pytest.param(HEAD + b"Content-Length: 9\r\n\r\nhalf", b"", PASSED, id="a body that stands still"),
        pytest.param(CHUNKED, b"1\r\nx\r\n", PASSED, id="a body, byte by byte"),
        pytest.param(CHUNKED, b"4000\r\n" + b"x" * 16384 + b"\r\n", PASSED, id="a body without end"),
        pytest.param((HEAD + b"Content-Length: 0\r\n\r\n") * 2, b"", PASSED, id="two answers"),
    ],
)
def test_whatever_is_answered_a_check_ends_in_time_and_reads_little(
    said: bytes, again: bytes | None, result: str
) -> None:
    sent = 0

    async def bad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        while again is not None:
            writer.write(again)
            sent += len(again)
            await asyncio.sleep(0.005)
        writer.close()

    async def main() -> None:
        async with serving(bad) as port:
            wheel = Wheel.of(asyncio.get_running_loop())
            checks = Checks(wheel, lambda source, seconds: upstream.Endpoint(source, Limits(), wheel, seconds))
            here = EndpointSpec(uid="one", address="127.0.0.1", port=port)
            asked = CheckSpec(name=REVIEWS, http=HTTP, interval=0.3, timeout=0.3, endpoints=(here,))
            checks.follow(ChecksSpec(checks=(asked,)))
            await until(lambda: sum(checks.counts.values()))
            assert checks.counts[result]
            [check] = checks.checks.values()
            assert len(check.why) < 200
            checks.close()
            await until(lambda: len(wheel) == 0)

    run(main)
    assert sent < 4_000_000, "of bodies 64 KB are read, and what the kernel holds"


# ── over mTLS, through the sidecar of who is asked ────────────────────────────────────────────────────────────────────


async def well(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell")


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\r\n")
    await reader.read()


@pytest.mark.parametrize(
    ("app", "http", "result"),
    [
        pytest.param(well, HTTP, PASSED, id="HTTP"),
        pytest.param(None, HTTP, FAILED, id="HTTP, nobody there"),
        pytest.param(silent, None, PASSED, id="TCP, waiting"),
        pytest.param(banner, None, PASSED, id="TCP, speaking first"),
        pytest.param(None, None, FAILED, id="TCP, nobody there"),
    ],
)
def test_through_a_sidecar(folders: Path, app: Any, http: HttpCheckSpec | None, result: str) -> None:
    async def main() -> None:
        async with serving(app or silent) as taken:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))  # and nobody listens
                port = taken if app is not None else free.getsockname()[1]
                protocol = "HTTP" if http is not None else "TCP"
                async with proxies(port, keys(folders / "web"), keys(folders / "reviews"), protocol=protocol) as both:
                    outside, inside = both
                    fleet = outside.proxy.fleet
                    checks = Checks(fleet.wheel, fleet.make)
                    pod = EndpointSpec(uid="pod", address="127.0.0.1", port=inside.listener.port, identity=REVIEWS_ID)
                    checks.follow(spec(pod, http=http, interval=0.3))
                    await until(lambda: sum(checks.counts.values()) >= 2)
                    assert checks.counts == {PASSED: 0, FAILED: 0, NOTHING: 0, result: sum(checks.counts.values())}
                    if app is well:
                        assert inside.keyring.counted["server", "ok"] == 1, "a kept connection"
                        [check] = checks.checks.values()
                        await until(lambda: check.endpoint.idle)
                        assert 6 < check.endpoint.idle[0].idle_seconds < Limits().idle_seconds, "from check to check"
                    checks.close()
                    await until(lambda: not inside.listener.connections)

    run(main)


def test_a_prober_without_a_file_to_spare_does_not_call_everybody_unwell() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> None:
        async with serving(silent) as port:
            wheel = Wheel.of(asyncio.get_running_loop())
            checks = Checks(wheel, lambda source, seconds: upstream.Endpoint(source, Limits(), wheel, seconds))
            checks.follow(spec(EndpointSpec(uid="one", address="127.0.0.1", port=port), http=None, interval=0.05))
            await until(lambda: checks.counts[PASSED] >= 2)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limit[1]))  # what is open stays so, and nothing follows
            try:
                await until(lambda: checks.counts[NOTHING] >= 2)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            [check] = checks.checks.values()
            assert (checks.counts[FAILED], checks.verdicts(), check.why) == (0, {}, "Too many open files")
            checks.close()

    run(main)
