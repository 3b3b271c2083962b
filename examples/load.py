"""A small load generator and what its results must look like. Used by `demo.py` and the live tests.

Open loop: requests start at a steady rate, whatever the answers do, on connections that are kept and used again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from typing import NamedTuple

VERSION = b'"reviews", "version": "'  # what stands before the version in the shop's answers


class Sample(NamedTuple):
    """One request: when it started, how long it took, what came back. Status 0: nothing did, `version` says why."""

    started: float
    seconds: float
    status: int
    version: str


class Load:
    """Requests at `rate` a second to a host behind the way in."""

    def __init__(self, port: int, host: str, path: str = "/", rate: float = 80.0, kept: int = 1_000_000) -> None:
        self.samples: deque[Sample] = deque(maxlen=kept)
        self.started = 0
        self._port = port
        self._head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: demo\r\n\r\n".encode()
        self._rate = rate
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float = math.inf) -> None:
        """Sends until the time is over and all answers are there."""
        begin = time.monotonic()
        number = 0
        while (due := begin + number / self._rate) < begin + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._request())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            number += 1
        await asyncio.gather(*self._running)

    def close(self) -> None:
        """Ends what still runs and closes the kept connections."""
        for task in self._running:
            task.cancel()
        for _, writer in self._idle:
            writer.transport.abort()

    async def _request(self) -> None:
        self.started += 1
        started = time.monotonic()
        try:
            status, body = await asyncio.wait_for(self._exchange(), 10)
            found = body.partition(VERSION)[2][:2].decode()
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as fault:
            status, found = 0, repr(fault)
        self.samples.append(Sample(started, time.monotonic() - started, status, found))

    async def _exchange(self) -> tuple[int, bytes]:
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(self._head)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
        except BaseException:
            writer.transport.abort()
            raise
        if b"connection: close" in head:
            writer.transport.abort()
        else:
            self._idle.append((reader, writer))
        return int(head.split(None, 2)[1]), body


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def counts(samples: list[Sample]) -> Counter[str]:
    """Answers per version."""
    return Counter(sample.version for sample in samples if sample.status == 200)


def bounds(total: int, share: float, chance: float = 1e-6) -> tuple[int, int]:
    """The fewest and the most of `total` that an honest split with this share gives, but for one time in 1/chance.

    Exact: the tails of the binomial law, half of the chance on either side.
    """
    if share in (0.0, 1.0) or total == 0:
        return (round(total * share),) * 2
    low = high = 0
    below = 0.0
    for successes in range(total + 1):
        below += _binomial(total, successes, share)
        if below <= chance / 2:
            low = successes + 1
        if below <= 1 - chance / 2:
            high = successes + 1
    return low, min(high, total)


def _binomial(total: int, successes: int, share: float) -> float:
    ways = math.lgamma(total + 1) - math.lgamma(successes + 1) - math.lgamma(total - successes + 1)
    return math.exp(ways + successes * math.log(share) + (total - successes) * math.log1p(-share))
