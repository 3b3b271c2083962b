"""Open-loop load whose every answer is checked: requests start at a steady rate, whatever becomes of the others.

Used by the chaos run. A passed answer is a 200 that an echo gave to this very request, with this request's own number
and all of its body (`judge`, of the cluster's load client): an answer that is whole and wrong is a failure like any.
A kept connection that the other end has closed while it was idle is tried once more and counted as `stale`, as every
client does it (RFC 9110, 9.2.2); nothing else is ever tried again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from tests.cluster.apps import http1
from tests.cluster.apps.load import Job, judge

PATIENCE = 10.0  # seconds for an answer: far above all that the sidecar itself allows a request


class Reader(asyncio.StreamReader):
    """Knows how much has come: who has had part of an answer was not merely late for a connection."""

    fed = 0

    def feed_data(self, data: bytes) -> None:
        self.fed += len(data)
        super().feed_data(data)


async def connect(host: str, port: int) -> tuple[Reader, asyncio.StreamWriter]:
    """As asyncio's, with such a reader."""
    loop = asyncio.get_running_loop()
    reader = Reader(limit=http1.HEAD_LIMIT, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, host, port)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class Sample(NamedTuple):
    """One request: when it began, how long it took, what was wrong ("" for nothing)."""

    began: float
    seconds: float
    wrong: str


class Load:
    """`start` and `stop` belong to one loop; `samples` may be read at any time."""

    def __init__(
        self,
        port: int,
        rate: float,
        *,
        method: str = "GET",
        body_bytes: int = 0,
        host: str = "",
        path: str = "/",
        echo: bool = True,
    ) -> None:
        self.rate = rate
        self.samples: list[Sample] = []
        self.stale = 0
        self.late = 0.0  # seconds that a request began too late at the most: the machine had no time for it
        place = f"{host or '127.0.0.1'}:{port}"
        self._job = Job(f"http://{place}{path}", method=method, body_bytes=body_bytes, echo=echo)
        self._address = ("127.0.0.1", port)
        self._idle: list[tuple[Reader, asyncio.StreamWriter]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._pacing: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()

    def start(self) -> None:
        """Send from now on."""
        self._pacing = asyncio.create_task(self._pace())

    async def reach(self, count: int) -> None:
        """Returns once so many have been answered, one way or the other."""
        while len(self.samples) < count:
            self._arrived.clear()
            await self._arrived.wait()

    async def stop(self) -> None:
        """Send nothing more; returns when all answers are there."""
        assert self._pacing is not None
        self._pacing.cancel()
        await asyncio.gather(self._pacing, return_exceptions=True)
        await asyncio.gather(*self._running)
        for _, writer in self._idle:
            writer.transport.abort()

    async def _pace(self) -> None:
        began, number = time.monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, began + number / self.rate - time.monotonic()))
            self.late = max(self.late, time.monotonic() - began - number / self.rate)
            task = asyncio.create_task(self._request(number))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            number += 1

    async def _request(self, number: int) -> None:
        began = time.monotonic()
        try:
            wrong = await asyncio.wait_for(self._exchange(number), PATIENCE)
        except TimeoutError:
            wrong = "no answer"
        except (OSError, http1.Damaged, http1.Ended, asyncio.IncompleteReadError) as fault:
            wrong = type(fault).__name__
        self.samples.append(Sample(began, time.monotonic() - began, wrong))
        self._arrived.set()

    async def _exchange(self, number: int) -> str:
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or writer.is_closing()):
                had = reader.fed
                try:
                    return await self._ask(number, reader, writer)
                except (http1.Ended, ConnectionError):
                    if reader.fed > had:
                        raise
                self.stale += 1
                break
            writer.transport.abort()
        return await self._ask(number, *await connect(*self._address))

    async def _ask(self, number: int, reader: Reader, writer: asyncio.StreamWriter) -> str:
        try:
            writer.write(self._job.encode(number))
            answer = await http1.read_response(reader, self._job.method)
        except BaseException:
            writer.transport.abort()
            raise
        if answer.stays_open():
            self._idle.append((reader, writer))
        else:
            writer.transport.abort()
        why = answer.header("proxy-status").rpartition(";")[2].strip()
        wrong, _ = judge(self._job, number, answer)
        return f"{wrong} {why}".strip() if wrong else ""


def percentile(samples: Iterable[Sample], share: float = 0.99) -> float:
    """The seconds that this share of the samples does not exceed; 0 of none."""
    ordered = sorted(sample.seconds for sample in samples)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0.0
