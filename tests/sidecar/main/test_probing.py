"""A probe is about the application, not about the proxy that would answer in its place; and nobody can ask too much."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from sidewinder_sidecar.admin import Page
from sidewinder_sidecar.main import probing
from sidewinder_sidecar.snapshot.probes import HttpProbe, Probe, TcpProbe, Unusable, encode

T = TypeVar("T")


class Application:
    """Answers with `status` once `release` is set; counts."""

    def __init__(self) -> None:
        self.status = 200
        self.asked = 0
        self.port = 0
        self.release = asyncio.Event()
        self.release.set()
        self.reached = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        self.reached.set()
        await self.release.wait()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 6\r\n\r\nsecret" % self.status)
        writer.close()


def with_application(test: Callable[[Application], Awaitable[T]]) -> T:
    async def whole() -> T:
        application = Application()
        server = await asyncio.start_server(application.serve, "127.0.0.1", 0)
        application.port = server.sockets[0].getsockname()[1]
        try:
            return await test(application)
        finally:
            application.release.set()
            server.close()

    return asyncio.run(whole())


def one(probe: Probe) -> probing.Probing:
    return probing.Probing("web/readiness", "127.0.0.1", probe)


def text(page: Page) -> str:
    return "".join(page.body)


def test_only_the_pods_own_probes_have_a_page() -> None:
    assert probing.pages("", "") == {}
    given = encode({"web/readiness": HttpProbe(port=80), "db/startup": TcpProbe(port=5432)})
    assert set(probing.pages("127.0.0.1", given)) == {("GET", "/probes/web/readiness"), ("GET", "/probes/db/startup")}
    with pytest.raises(Unusable):
        probing.pages("127.0.0.1", "{")


def test_callers_learn_the_status_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "FRESH_SECONDS", 0.0)

    async def ask(application: Application) -> list[Page]:
        probe, pages = one(HttpProbe(port=application.port)), []
        for application.status in (200, 503):
            pages.append(await probe.page())
        return pages

    passed, failed = with_application(ask)
    assert (passed.status, failed.status) == (200, 503)
    assert "answered with status 503" in text(failed)
    assert "secret" not in text(passed) + text(failed)


def test_whoever_comes_meanwhile_shares_the_answer_and_too_many_get_none() -> None:
    async def ask(application: Application) -> tuple[int, list[int]]:
        application.release.clear()
        probe = one(HttpProbe(port=application.port, seconds=60))
        first = asyncio.ensure_future(probe.page())
        await application.reached.wait()
        others = [asyncio.ensure_future(probe.page()) for _ in range(probing.MOST_JOINED + 1)]
        turned_away = await others.pop()
        assert "enough ask already" in text(turned_away)
        application.release.set()
        pages = [turned_away, await first, *[await other for other in others]]
        return application.asked, [page.status for page in pages]

    asked, statuses = with_application(ask)
    assert asked == 1
    assert statuses == [503, *[200] * (probing.MOST_JOINED + 1)]


def test_who_leaves_takes_nobodys_answer_away() -> None:
    async def ask(application: Application) -> int:
        application.release.clear()
        probe = one(HttpProbe(port=application.port, seconds=60))
        first = asyncio.ensure_future(probe.page())
        await application.reached.wait()
        second = asyncio.ensure_future(probe.page())
        first.cancel()
        await asyncio.wait([first])
        application.release.set()
        return (await second).status

    assert with_application(ask) == 200


def test_an_answer_is_good_for_a_moment_and_then_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(application: Application) -> list[int]:
        probe, counts = one(HttpProbe(port=application.port)), []
        for fresh in (60.0, 60.0, 0.0):
            monkeypatch.setattr(probing, "FRESH_SECONDS", fresh)
            await probe.page()
            counts.append(application.asked)
        return counts

    assert with_application(ask) == [1, 1, 2]


def test_the_log_has_each_reason_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(probing, "FRESH_SECONDS", 0.0)

    async def ask(application: Application) -> None:
        probe = one(HttpProbe(port=application.port))
        for application.status in (200, 200, 500, 500, 503, 204):
            await probe.page()

    with caplog.at_level(logging.INFO, "sidewinder.probes"):
        with_application(ask)
    told = [(record.levelname, record.getMessage().rpartition(" ")[2]) for record in caplog.records]
    assert told == [("INFO", "passed"), ("WARNING", "500"), ("WARNING", "503"), ("INFO", "passed")]


def test_a_connection_that_nobody_takes_is_told() -> None:
    async def ask(application: Application) -> tuple[Page, Page]:
        page = await one(TcpProbe(port=application.port)).page()
        server = await asyncio.start_server(application.serve, "127.0.0.1", 0)
        gone: int = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return page, await one(TcpProbe(port=gone)).page()

    passed, failed = with_application(ask)
    assert (passed.status, failed.status) == (200, 503)
    assert "refused" in text(failed)
